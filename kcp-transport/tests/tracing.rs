//! The trace events of a session.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use kcp_transport::config::Config;
use kcp_transport::crypto::{AeadKey, Overhead};
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session};
use kcp_transport::time::Time;
use kcp_transport::wire::ConversationId;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes down each event up to a level.
#[derive(Clone)]
struct Notebook {
    lines: Arc<Mutex<Vec<String>>>,
    level: Level,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("strings take everything");
    }
}

impl Subscriber for Notebook {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.lines.lock().expect("not poisoned").push(line.0);
    }
}

/// Returns what `work` traced up to `level`.
fn traced(level: Level, work: impl FnOnce()) -> Vec<String> {
    let notebook = Notebook {
        lines: Arc::default(),
        level,
    };
    let lines = Arc::clone(&notebook.lines);
    tracing::subscriber::with_default(notebook, work);
    let lines = lines.lock().expect("not poisoned");
    lines.clone()
}

/// Connects two sessions and sends data; returns the events up to `level`.
fn trace(level: Level) -> Vec<String> {
    traced(level, || {
        let config = Config::default();
        let layout = config
            .layout(Overhead { front: 0, back: 0 })
            .expect("has room");
        let now = Time::ZERO;
        let conversation = ConversationId::new(7);
        let mut client = Session::new(&config, layout, conversation, Role::Connect, 0, now);
        let mut server = Session::new(&config, layout, conversation, Role::Accept, 0, now);
        let mut exchange = |client: &mut Session| {
            for _ in 0..2 {
                carry(now, client, &mut server);
                carry(now, &mut server, client);
            }
        };
        exchange(&mut client);
        client.write(now, b"word");
        exchange(&mut client);
        client.shutdown(now);
    })
}

fn carry(now: Time, from: &mut Session, to: &mut Session) {
    let mut batch = TransmitBatch::new(
        Config::default()
            .layout(Overhead { front: 0, back: 0 })
            .expect("has room"),
        8,
    );
    while from.poll_transmit(now, &mut batch) {}
    for datagram in batch.datagrams() {
        to.handle_datagram(now, datagram);
    }
}

#[test]
fn commands_states_and_datagrams_are_traced_with_their_fields() {
    let lines = trace(Level::TRACE);
    for expected in [
        "DEBUG message=session changes state conv=7 from=Connecting to=Established",
        "DEBUG message=session changes state conv=7 from=Established to=Draining",
        "TRACE message=probe out conv=7 sn=0 frg=0 una=0 wnd=1024 ts=0 len=0 window=32",
        "TRACE message=update in conv=7 sn=0 frg=0 una=0 wnd=1024 ts=0 len=0",
        "TRACE message=push out conv=7 sn=0 frg=0 una=0 wnd=1024 ts=0 len=4 window=1024",
        "TRACE message=push in conv=7 sn=0 frg=0 una=0 wnd=1024 ts=0 len=4",
        "TRACE message=ack in conv=7 sn=0 frg=0 una=1 wnd=1023 ts=0 len=0",
        "TRACE message=datagram out conv=7 len=28",
        "TRACE message=datagram in conv=7 len=28",
    ] {
        assert!(
            lines.iter().any(|line| line == expected),
            "{expected:?} is not in {lines:#?}"
        );
    }
}

#[test]
fn only_changes_of_state_are_seen_at_debug() {
    let lines = trace(Level::DEBUG);
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| line.contains("changes state")));
}

#[test]
fn key_that_should_be_changed_is_logged_once() {
    let lines = traced(Level::TRACE, || {
        let key = AeadKey::aes_128_gcm(&[1; 16]).expect("16 bytes");
        for packets in [AeadKey::SOFT_LIMIT - 1, 1, 1, AeadKey::SOFT_LIMIT] {
            key.count_sealed(packets);
        }
    });
    assert_eq!(
        lines,
        ["WARN message=key should be changed cipher=\"aes-128-gcm\" packets=4294967296"]
    );
}
