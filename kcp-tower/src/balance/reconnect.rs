//! Connecting again, with pauses.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::task::AbortHandle;
use tower::retry::backoff::{Backoff, ExponentialBackoffMaker, MakeBackoff};
use tower::util::rng::HasherRng;
use tower_service::Service;
use tracing::debug;

use super::select::Seeded;
use super::sync::lock;
use crate::BoxError;

/// A connector that fails at once while its host is unreachable.
///
/// When a connection fails, a task tries again until one succeeds: after 100 ms and then after twice
/// the previous pause, up to 10 s, plus up to half of the pause at random. The connection of a
/// successful try is closed again. Until then connecting fails at once with the last error, and
/// [`unreachable`](Self::unreachable) returns its text.
///
/// Must be used within a tokio runtime. The task ends with the last clone.
#[derive(Clone)]
pub struct Reconnect<C> {
    connector: C,
    state: Arc<State>,
}

struct State {
    /// The last error, while the host is unreachable.
    error: Mutex<Option<Failed>>,
    prober: Mutex<Option<AbortHandle>>,
    seed: Option<u64>,
}

#[derive(Clone)]
struct Failed {
    kind: io::ErrorKind,
    text: String,
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(prober) = lock(&self.prober).take() {
            prober.abort();
        }
    }
}

impl<C> Reconnect<C> {
    /// Wraps a connector for one destination.
    pub fn new(connector: C) -> Self {
        Self::with(connector, None)
    }

    /// As [`Reconnect::new`], with pauses that are the same each time, for tests.
    pub fn seeded(connector: C, seed: u64) -> Self {
        Self::with(connector, Some(seed))
    }

    fn with(connector: C, seed: Option<u64>) -> Self {
        let state = Arc::new(State {
            error: Mutex::default(),
            prober: Mutex::default(),
            seed,
        });
        Self { connector, state }
    }

    /// The last error, while no connection can be made.
    #[must_use]
    pub fn unreachable(&self) -> Option<String> {
        lock(&self.state.error).as_ref().map(|it| it.text.clone())
    }
}

impl<C> Service<Uri> for Reconnect<C>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Send,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    type Response = C::Response;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<C::Response>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = self.connector.poll_ready(cx);
        ready.map_err(io_error)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        if let Some(failed) = lock(&self.state.error).clone() {
            return Box::pin(std::future::ready(Err(failed.into())));
        }
        let connecting = self.connector.call(uri.clone());
        let (connector, state) = (self.connector.clone(), Arc::clone(&self.state));
        Box::pin(async move {
            connecting.await.map_err(|error| {
                let error = io_error(error);
                state.failed(&error);
                probe_in_background(connector, &state, uri);
                error
            })
        })
    }
}

impl State {
    fn failed(&self, error: &io::Error) {
        *lock(&self.error) = Some(Failed {
            kind: error.kind(),
            text: error.to_string(),
        });
    }
}

/// Starts the task that connects again, unless it runs already.
fn probe_in_background<C>(connector: C, state: &Arc<State>, uri: Uri)
where
    C: Service<Uri> + Send + Sync + 'static,
    C::Response: Send,
    C::Error: Into<BoxError>,
    C::Future: Send,
{
    let mut prober = lock(&state.prober);
    if prober.as_ref().is_some_and(|it| !it.is_finished()) {
        return;
    }
    let weak = Arc::downgrade(state);
    let rng = HasherRng::with_hasher(state.seed.map_or_else(Seeded::random, Seeded));
    let probing = async move {
        // The limits are constants in the right order.
        let Ok(mut pauses) = ExponentialBackoffMaker::new(FIRST, LONGEST, JITTER, rng) else {
            return;
        };
        let (mut pauses, mut connector) = (pauses.make_backoff(), connector);
        loop {
            pauses.next_backoff().await;
            let connected = connect(&mut connector, uri.clone()).await;
            let Some(state) = weak.upgrade() else { return };
            match connected {
                Ok(_) => {
                    debug!(%uri, "reached again");
                    *lock(&state.error) = None;
                    return;
                }
                Err(error) => state.failed(&error),
            }
        }
    };
    *prober = Some(tokio::spawn(probing).abort_handle());
}

async fn connect<C>(connector: &mut C, uri: Uri) -> io::Result<C::Response>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
{
    let ready = std::future::poll_fn(|cx| connector.poll_ready(cx)).await;
    ready.map_err(io_error)?;
    connector.call(uri).await.map_err(io_error)
}

/// Keeps an I/O error as it is, so that its kind is not lost.
fn io_error(error: impl Into<BoxError>) -> io::Error {
    match error.into().downcast::<io::Error>() {
        Ok(error) => *error,
        Err(error) => io::Error::other(error),
    }
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        Self::new(failed.kind, failed.text)
    }
}

impl<C> fmt::Debug for Reconnect<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnect")
            .field("unreachable", &self.unreachable())
            .finish_non_exhaustive()
    }
}

const FIRST: Duration = Duration::from_millis(100);

const LONGEST: Duration = Duration::from_secs(10);

/// Clients that lost a server at the same time reconnect at different times.
const JITTER: f64 = 0.5;
