//! A listener that is dropped between two steps of its driver.
//!
//! The step is seen by a tracing event. A program of its own with a single test, because tracing
//! caches for the whole process whether an event has a subscriber: if a thread without one
//! reaches the event first, it is disabled for this one too.
#![allow(clippy::disallowed_methods)]

#[path = "cancel/network.rs"]
mod network;

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use network::Network;

/// Drops a listener when a session was opened for it and is not in its queue yet, as another thread
/// may.
struct Dropper(Mutex<Option<KcpListener>>);

/// Whether an event is that of an opened session.
#[derive(Default)]
struct Opened(bool);

impl Visit for Opened {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 |= field.name() == "message" && format!("{value:?}") == "session opened";
    }
}

impl Subscriber for Dropper {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut opened = Opened::default();
        event.record(&mut opened);
        if opened.0 {
            let listener = self.0.lock().expect("no panic under the lock").take();
            assert!(listener.is_some(), "one session is opened");
            drop(listener);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn session_opened_while_its_listener_is_dropped_is_released() {
    let config = Config::default();
    let network = Network::new(0, 0.0, Duration::from_millis(5));
    let host = network.host();
    let addr = host.addr();
    let listener = KcpListener::builder(&Security::Plaintext)
        .config(&config)
        .on_transport(host);
    let listener = listener.expect("in range");
    let _tracing = tracing::subscriber::set_default(Dropper(Mutex::new(Some(listener))));
    let client = KcpStream::builder(&Security::Plaintext)
        .config(&config)
        .transport(network.host())
        .connect(addr)
        .await;
    // The session was opened after the listener was dropped.
    let mut client = client.expect("connects");
    let end = timeout(Duration::from_secs(10), client.read_u8()).await;
    end.expect("the client is told").expect_err("nobody speaks");
    drop(client);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(network.hosts(), 0, "the listener's transport is still used");
}
