//! Connecting again in the background.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Uri;
use tokio::time::Instant;

use super::*;
use crate::balance::Reconnect;

/// Fails a number of times; notes when it was called.
#[derive(Clone, Default)]
struct Connector {
    failures: Arc<AtomicUsize>,
    calls: Arc<Mutex<Vec<Instant>>>,
}

impl Service<Uri> for Connector {
    type Response = ();
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<()>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        lock(&self.calls).push(crate::balance::sync::now());
        let left = self.failures.load(Ordering::Relaxed);
        self.failures
            .store(left.saturating_sub(1), Ordering::Relaxed);
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, format!("{left} left"));
        ready(if left == 0 { Ok(()) } else { Err(refused()) })
    }
}

impl Connector {
    fn failing(times: usize) -> Self {
        let connector = Self::default();
        connector.failures.store(times, Ordering::Relaxed);
        connector
    }

    fn calls(&self) -> usize {
        lock(&self.calls).len()
    }
}

async fn connect(reconnect: &Reconnect<Connector>) -> io::Result<()> {
    let uri = Uri::from_static("http://a.example:9");
    reconnect.clone().oneshot(uri).await
}

#[tokio::test(start_paused = true)]
async fn host_that_was_not_reached_fails_at_once_until_it_is_reached() {
    let connector = Connector::failing(3);
    let reconnect = Reconnect::seeded(connector.clone(), 1);
    assert_eq!(reconnect.unreachable(), None);
    let error = connect(&reconnect).await.unwrap_err();
    assert_eq!(error.to_string(), "3 left");
    assert_eq!(reconnect.unreachable().as_deref(), Some("3 left"));
    let again = connect(&reconnect).await.unwrap_err();
    assert_eq!(again.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(connector.calls(), 1);
    while reconnect.unreachable().is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // It was reached in the background, and this is one more connection.
    assert_eq!(connector.calls(), 4);
    connect(&reconnect).await.unwrap();
    assert_eq!(connector.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_a_limit_with_jitter_that_the_seed_repeats() {
    let pauses = async |seed| {
        let connector = Connector::failing(10);
        let reconnect = Reconnect::seeded(connector.clone(), seed);
        connect(&reconnect).await.unwrap_err();
        while reconnect.unreachable().is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let calls = lock(&connector.calls);
        let pauses = calls.windows(2).map(|it| (it[1] - it[0]).as_millis());
        pauses.collect::<Vec<_>>()
    };
    let first = pauses(1).await;
    for (at, &pause) in first.iter().enumerate() {
        let least = (100 << at).min(10_000);
        let most = (least + least / 2 + 1).min(10_001);
        assert!((least..=most).contains(&pause), "{first:?}");
    }
    assert_eq!(first, pauses(1).await);
    assert_ne!(first, pauses(2).await);
}

#[tokio::test(start_paused = true)]
async fn probing_ends_with_the_last_clone() {
    let connector = Connector::failing(usize::MAX);
    let reconnect = Reconnect::new(connector.clone());
    connect(&reconnect).await.unwrap_err();
    drop(reconnect);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(connector.calls(), 1);
}
