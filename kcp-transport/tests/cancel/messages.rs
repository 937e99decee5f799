//! Messages, and datagrams beside them.

use std::io;
use std::time::Duration;

use kcp_transport::config::{Config, Mode};
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpMessageStream, KcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::{Case, paused, real, sweep};
use crate::{SEEDS, pair, pattern, small};

/// The message of that number.
fn numbered(number: u32) -> Vec<u8> {
    let mut message = number.to_le_bytes().to_vec();
    message.extend(pattern(2_000));
    message
}

async fn both(seed: u64) -> (KcpMessageStream, KcpMessageStream) {
    let config = small().to_builder().mode(Mode::Message).build();
    let pair = pair(seed, &config.expect("in range")).await;
    // Accepted sessions outlive their listener.
    (pair.client.into_messages(), pair.server.into_messages())
}

/// Sends messages until no more are taken. Returns how many were.
macro_rules! fill {
    ($sender:expr) => {{
        let mut next = 0;
        let patience = Duration::from_secs(2);
        while let Ok(sent) = timeout(patience, $sender.send(&numbered(next))).await {
            sent.expect("sends");
            next += 1;
        }
        next
    }};
}

/// Receives messages in order up to a number, and nothing after that.
fn expect_until(mut stream: KcpMessageStream, end: u32) -> JoinHandle<KcpMessageStream> {
    tokio::spawn(async move {
        sleep(Duration::from_millis(20)).await;
        let mut message = Vec::new();
        for number in 0..end {
            stream.recv(&mut message).await.expect("receives");
            assert!(message == numbered(number), "not message {number}");
        }
        let more = timeout(Duration::from_secs(2), stream.recv(&mut message)).await;
        assert!(!matches!(more, Ok(Ok(_))), "more than was sent");
        stream
    })
}

macro_rules! send_that_is_dropped_sends_nothing {
    ($name:literal, $sender:ident, $make:expr) => {
        sweep($name, SEEDS, paused, async |case: Case| {
            let (client, server) = both(case.seed).await;
            let (_rest, mut $sender) = $make(client);
            let next = fill!($sender);
            let receiving = expect_until(server, next + 3);
            let sent = case.drive($sender.send(&numbered(next))).await;
            let done = sent.is_some();
            let first = next + u32::from(done);
            sent.map_or(Ok(()), |sent| sent).expect("sends");
            for number in first..next + 3 {
                $sender.send(&numbered(number)).await.expect("sends");
            }
            receiving.await.expect("no panic");
            done
        });
    };
}

#[test]
fn send_that_is_dropped_sends_nothing() {
    send_that_is_dropped_sends_nothing!("KcpMessageStream::send", stream, |stream| ((), stream));
    send_that_is_dropped_sends_nothing!(
        "MessageSender::send",
        sender,
        KcpMessageStream::into_split
    );
}

macro_rules! recv_that_is_dropped_loses_nothing {
    ($name:literal, $receiver:ident, $make:expr) => {
        sweep($name, SEEDS, paused, async |case: Case| {
            let (client, server) = both(case.seed).await;
            let ($receiver, _rest) = $make(server);
            let mut $receiver = $receiver;
            let sending = tokio::spawn(async move {
                let mut client = client;
                for number in 0..4 {
                    sleep(Duration::from_millis(3)).await;
                    client.send(&numbered(number)).await.expect("sends");
                }
                client
            });
            let mut message = b"before".to_vec();
            let received = case.drive($receiver.recv(&mut message)).await;
            let done = received.is_some();
            if let Some(len) = received {
                assert_eq!(len.expect("receives"), message.len());
                assert!(message == numbered(0));
            } else {
                assert_eq!(message, b"before");
            }
            for number in u32::from(done)..4 {
                $receiver.recv(&mut message).await.expect("receives");
                assert!(message == numbered(number), "not message {number}");
            }
            sending.await.expect("no panic");
            done
        });
    };
}

#[test]
fn recv_that_is_dropped_loses_nothing() {
    recv_that_is_dropped_loses_nothing!("KcpMessageStream::recv", stream, |stream| (stream, ()));
    recv_that_is_dropped_loses_nothing!(
        "MessageReceiver::recv",
        receiver,
        KcpMessageStream::into_split
    );
}

macro_rules! shutdown_that_is_dropped_goes_on {
    ($name:literal, $sender:ident, $make:expr) => {
        sweep($name, SEEDS, paused, async |case: Case| {
            let (client, server) = both(case.seed).await;
            let (_rest, mut $sender) = $make(client);
            for number in 0..3 {
                $sender.send(&numbered(number)).await.expect("sends");
            }
            let down = case.drive($sender.shutdown()).await;
            let done = down.is_some();
            down.map_or(Ok(()), |down| down).expect("drains");
            if case.polls > 0 {
                let late = $sender.send(b"x").await.expect_err("shut down");
                assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
            }
            let receiving = expect_until(server, 3);
            $sender.shutdown().await.expect("drains");
            receiving.await.expect("no panic");
            done
        });
    };
}

#[test]
fn shutdown_of_messages_that_is_dropped_goes_on() {
    shutdown_that_is_dropped_goes_on!("KcpMessageStream::shutdown", stream, |stream| ((), stream));
    shutdown_that_is_dropped_goes_on!(
        "MessageSender::shutdown",
        sender,
        KcpMessageStream::into_split
    );
}

#[test]
fn connect_for_messages_that_is_dropped_leaves_nothing() {
    for (name, with) in [
        ("KcpMessageStream::connect", false),
        ("ClientBuilder::connect_messages", true),
    ] {
        sweep(name, 2, real, async |case: Case| {
            let config = Config::builder()
                .linger(Duration::from_millis(100))
                .build()
                .expect("in range");
            let listener = KcpListener::bind("127.0.0.1:0", &Security::Plaintext).await;
            let listener = listener.expect("binds");
            let addr = listener.local_addr().expect("bound");
            let security = Security::Plaintext;
            let connected = if with {
                let connecting = KcpStream::builder(&security).config(&config);
                case.drive(connecting.connect_messages(addr)).await
            } else {
                case.drive(KcpMessageStream::connect(addr, &security)).await
            };
            let done = connected.is_some();
            let again = KcpStream::builder(&security)
                .config(&config)
                .connect_messages(addr)
                .await;
            let mut again = again.expect("connects");
            again.send(b"hello").await.expect("sends");
            loop {
                // The first may have been there for a moment.
                let mut server = listener.accept().await.expect("accepts").0.into_messages();
                if server.info().peer_addr() == again.info().local_addr().expect("bound") {
                    let mut message = Vec::new();
                    server.recv(&mut message).await.expect("receives");
                    assert_eq!(message, b"hello");
                    return done;
                }
            }
        });
    }
}

#[test]
fn datagram_is_not_lost_with_the_future_that_waited_for_it() {
    for (name, by_handle) in [
        ("KcpStream::recv_datagram", false),
        ("Datagrams::recv", true),
    ] {
        // Datagrams are not repeated: only the seed without loss can count them.
        sweep(name, 1, paused, async |case: Case| {
            let ratio = FecRatio::new(3, 1).expect("in range");
            let config = Config::builder().fec(ratio).build().expect("in range");
            let pair = pair(case.seed, &config).await;
            let sender = pair.client.datagrams();
            let sending = tokio::spawn(async move {
                for number in 0..4 {
                    sleep(Duration::from_millis(3)).await;
                    sender.send(&[number]).expect("sends");
                }
            });
            let (stream, handle) = (&pair.server, pair.server.datagrams());
            let received = if by_handle {
                case.drive(handle.recv()).await
            } else {
                case.drive(stream.recv_datagram()).await
            };
            assert_eq!(case.alarm.kept(), 0, "a dropped future keeps its waker");
            let done = received.is_some();
            if let Some(received) = received {
                assert_eq!(received.expect("receives"), [0]);
            }
            for number in u8::from(done)..4 {
                assert_eq!(handle.recv().await.expect("receives"), [number]);
            }
            sending.await.expect("no panic");
            done
        });
    }
}
