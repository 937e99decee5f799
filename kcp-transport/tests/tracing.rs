//! The trace events of a session.

#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use kcp_transport::config::Config;
use kcp_transport::crypto::{AeadKey, Overhead, Security};
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session};
use kcp_transport::time::Time;
use kcp_transport::wire::ConversationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Writes down each event up to a level, and each new span.
#[derive(Clone)]
struct Notebook {
    lines: Arc<Mutex<Vec<String>>>,
    level: Level,
    spans: Arc<Mutex<Spans>>,
}

/// Names and fields of all spans, and those that are entered.
#[derive(Default)]
struct Spans {
    all: Vec<String>,
    entered: Vec<usize>,
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

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut line = Line(attributes.metadata().name().to_string());
        attributes.record(&mut line);
        let opened = format!("SPAN {}", line.0);
        self.lines.lock().expect("not poisoned").push(opened);
        let mut spans = self.spans.lock().expect("not poisoned");
        spans.all.push(line.0);
        Id::from_u64(spans.all.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, id: &Id) {
        let mut spans = self.spans.lock().expect("not poisoned");
        spans.entered.push(id.into_u64() as usize - 1);
    }

    fn exit(&self, _: &Id) {
        self.spans.lock().expect("not poisoned").entered.pop();
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        let spans = self.spans.lock().expect("not poisoned");
        for &entered in &spans.entered {
            line.0 += &format!(" in {}", spans.all[entered]);
        }
        self.lines.lock().expect("not poisoned").push(line.0);
    }
}

/// Returns what `work` traced up to `level`.
fn traced(level: Level, work: impl FnOnce()) -> Vec<String> {
    let notebook = Notebook {
        lines: Arc::default(),
        level,
        spans: Arc::default(),
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
        "DEBUG message=session changes state conversation=00000007 from=Connecting to=Established",
        "DEBUG message=session changes state conversation=00000007 from=Established to=Draining",
        "TRACE message=probe out conversation=00000007 sn=0 frg=0 una=0 wnd=1024 ts=0 len=0 window=32",
        "TRACE message=update in conversation=00000007 sn=0 frg=0 una=0 wnd=1024 ts=0 len=0",
        "TRACE message=push out conversation=00000007 sn=0 frg=0 una=0 wnd=1024 ts=0 len=4 window=1024",
        "TRACE message=push in conversation=00000007 sn=0 frg=0 una=0 wnd=1024 ts=0 len=4",
        "TRACE message=ack in conversation=00000007 sn=0 frg=0 una=1 wnd=1024 ts=0 len=0",
        "TRACE message=datagram out conversation=00000007 len=28",
        "TRACE message=datagram in conversation=00000007 len=28",
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

/// Runs `work` on this thread alone, and returns what it traced up to `level`.
fn traced_in_runtime(level: Level, work: impl Future<Output = ()>) -> Vec<String> {
    traced(level, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("starts").block_on(work);
    })
}

async fn listen(security: &Security) -> (KcpListener, SocketAddr) {
    let listener = KcpListener::bind("127.0.0.1:0", security);
    let listener = listener.await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}

#[test]
fn connection_has_one_span_which_names_its_side_its_peer_and_its_conversation() {
    let mut ends = Vec::new();
    let lines = traced_in_runtime(Level::TRACE, async {
        let (listener, addr) = listen(&Security::Plaintext).await;
        let (client, server) = tokio::join!(
            KcpStream::connect(addr, &Security::Plaintext),
            listener.accept()
        );
        let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
        client.write_all(b"word").await.expect("writes");
        client.flush().await.expect("flushes");
        server.read_exact(&mut [0; 4]).await.expect("reads");
        ends = vec![
            ("client", addr, client.conversation()),
            (
                "server",
                client.local_addr().expect("bound"),
                server.conversation(),
            ),
        ];
        let (mine, others) = tokio::join!(client.shutdown(), server.shutdown());
        mine.expect("drains");
        others.expect("drains");
    });
    let spans: Vec<String> = ends
        .iter()
        .map(|(side, peer, conversation)| {
            format!("connection side=\"{side}\" peer={peer} conversation={conversation}")
        })
        .collect();
    let opened: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("SPAN "))
        .collect();
    assert_eq!(opened, spans.iter().map(String::as_str).collect());
    let count = lines
        .iter()
        .filter(|line| line.starts_with("SPAN "))
        .count();
    assert_eq!(count, spans.len(), "one for each connection");
    for expected in [
        "session changes state",
        "push out",
        "push in",
        "session opened",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{expected}"
        );
    }
    // The first datagram of the client is laid out after the connection is made.
    let outside = lines
        .iter()
        .filter(|line| line.contains("conversation=") && !line.starts_with("SPAN "));
    let outside: Vec<&String> = outside
        .filter(|line| !spans.iter().any(|it| line.ends_with(&format!(" in {it}"))))
        .collect();
    assert!(outside.is_empty(), "{outside:#?} not in {spans:#?}");
}

#[test]
fn datagrams_that_do_not_authenticate_are_warned_of_once_in_a_while() {
    let lines = traced_in_runtime(Level::WARN, async {
        let key = AeadKey::aes_128_gcm(&[1; 16]).expect("16 bytes");
        let (listener, addr) = listen(&Security::Aead(key)).await;
        let stranger = std::net::UdpSocket::bind("127.0.0.1:0").expect("binds");
        for _ in 0..20 {
            stranger.send_to(&[7; 100], addr).expect("is sent");
        }
        while listener.stats().unauthentic < 20 {
            tokio::task::yield_now().await;
        }
    });
    let [line] = &lines[..] else {
        panic!("{lines:#?}");
    };
    assert!(line.starts_with("WARN message=datagrams do not authenticate"));
    assert!(
        line.contains("peer=127.0.0.1:") && line.contains("dropped=1"),
        "{line}"
    );
}
