//! Futures of the connector, the listener and the server that are dropped at any point.
#![allow(clippy::unwrap_used)]

#[path = "../../kcp-transport/tests/cancel/harness.rs"]
#[allow(dead_code, reason = "shared with the transport's tests")]
mod harness;
mod support;

use std::future::{IntoFuture, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::serve::Listener;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use kcp_tower::{KcpConnector, KcpIncoming, KcpIo, KcpStream, Name, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tower::{Service, service_fn};

use harness::{Alarm, Case, real, sweep};
use support::{Setup, loopback, pattern, serve_fn};

async fn bound() -> (KcpIncoming, SocketAddr) {
    Setup::plaintext().incoming().await
}

/// The next connection of that client; one that was given up may have come first.
async fn accept_from(incoming: &mut KcpIncoming, client: &KcpIo) -> KcpIo {
    let wanted = client.info().conversation();
    loop {
        let server = incoming.next().await.unwrap().unwrap();
        if server.info().conversation() == wanted {
            return server;
        }
    }
}

async fn check_echo(client: &mut KcpIo, server: &mut KcpIo) {
    let mut received = [0; 5];
    client.write_all(b"hello").await.unwrap();
    client.flush().await.unwrap();
    server.read_exact(&mut received).await.unwrap();
    server.write_all(&received).await.unwrap();
    server.flush().await.unwrap();
    client.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"hello");
}

#[test]
fn bind_that_is_dropped_binds_nothing() {
    for (name, built) in [
        ("kcp_tower::KcpIncoming::bind", false),
        ("kcp_tower::KcpIncomingBuilder::bind", true),
    ] {
        sweep(name, 1, real, async |case: Case| {
            let security = Security::Plaintext;
            let incoming = if built {
                let binding = KcpIncoming::builder(&security).bind(loopback());
                case.drive(binding).await
            } else {
                case.drive(KcpIncoming::bind(loopback(), &security)).await
            };
            let alive = Handle::current().metrics().num_alive_tasks();
            assert_eq!(alive, usize::from(incoming.is_some()));
            assert!(case.polls == 0 || incoming.is_some(), "bind has waited");
            incoming.is_some()
        });
    }
}

#[test]
fn connector_call_that_is_dropped_leaves_nothing_and_can_be_repeated() {
    for by_name in [false, true] {
        sweep("KcpConnector::call", 2, real, async |case: Case| {
            let (mut incoming, addr) = bound().await;
            let resolver = service_fn(move |_: Name| async move {
                sleep(Duration::from_millis(1)).await;
                Ok::<_, std::io::Error>(std::iter::once(addr))
            });
            let connecting = KcpConnector::builder(&Security::Plaintext).resolver(resolver);
            let mut connector = connecting.build().unwrap();
            let uri: Uri = format!("http://a.example:{}", addr.port()).parse().unwrap();
            let connected = if by_name {
                case.drive(connector.call(uri.clone())).await
            } else {
                case.drive(connector.call(addr)).await
            };
            let done = connected.is_some();
            drop(connected.map(Result::unwrap));
            let again = if by_name {
                connector.call(uri).await
            } else {
                connector.call(addr).await
            };
            let mut again = again.unwrap();
            let mut server = accept_from(&mut incoming, &again).await;
            check_echo(&mut again, &mut server).await;
            done
        });
    }
}

#[test]
fn accept_that_is_dropped_loses_no_connection() {
    for (name, axum) in [
        ("kcp_tower::KcpIncoming::poll_next", false),
        ("kcp_tower::KcpIncoming::accept", true),
    ] {
        sweep(name, 2, real, async |case: Case| {
            let (mut incoming, addr) = bound().await;
            let connecting = tokio::spawn(async move {
                sleep(Duration::from_millis(3)).await;
                KcpStream::connect(addr, &Security::Plaintext).await
            });
            let accepted = if axum {
                let accepted = case.drive(Listener::accept(&mut incoming)).await;
                accepted.map(|(server, _)| server)
            } else {
                let accepted = case.drive(incoming.next()).await;
                accepted.map(|accepted| accepted.unwrap().unwrap())
            };
            let done = accepted.is_some();
            let mut server = match accepted {
                Some(server) => server,
                None => incoming.next().await.unwrap().unwrap(),
            };
            let mut client = KcpIo::new(connecting.await.unwrap().unwrap());
            check_echo(&mut client, &mut server).await;
            // No task waits any more but the one that polled last.
            drop(incoming);
            done
        });
    }
}

#[test]
fn read_that_is_dropped_loses_nothing() {
    sweep("KcpIo::read", 2, real, async |case: Case| {
        let (mut incoming, addr) = bound().await;
        let connected = KcpStream::connect(addr, &Security::Plaintext).await;
        let mut client = KcpIo::new(connected.unwrap());
        let mut server = accept_from(&mut incoming, &client).await;
        let data = pattern(5_000);
        let sent = data.clone();
        let writing = tokio::spawn(async move {
            for piece in sent.chunks(1_000) {
                sleep(Duration::from_millis(1)).await;
                client.write_all(piece).await.unwrap();
                client.flush().await.unwrap();
            }
            client
        });
        let mut received = vec![0; data.len()];
        let read = case.drive(server.read(&mut received[..100])).await;
        let done = read.is_some();
        let read = read.map_or(0, Result::unwrap);
        server.read_exact(&mut received[read..]).await.unwrap();
        assert!(received == data, "lost or doubled a byte");
        writing.await.unwrap();
        done
    });
}

#[test]
fn server_that_is_dropped_closes_everything_and_can_be_replaced() {
    sweep("Serving::poll", 1, real, async |case: Case| {
        let (incoming, addr) = bound().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = serve_fn(incoming, async |_: Request<_>| {
            Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
        });
        let serving = server
            .with_graceful_shutdown(async {
                let _ = stopped.await;
            })
            .into_future();
        let asking = tokio::spawn(async move {
            let client = Setup::plaintext().client(true);
            let uri = format!("http://{addr}/").parse().unwrap();
            let answer = timeout(Duration::from_millis(300), client.get(uri)).await;
            let answered = match answer {
                Ok(Ok(response)) => response.into_body().collect().await.is_ok(),
                _ => false,
            };
            let _ = stop.send(());
            answered
        });
        let served = case.drive(serving).await;
        let done = served.is_some();
        if let Some(served) = served {
            served.unwrap();
            assert!(asking.await.unwrap(), "stopped before it answered");
        } else {
            // Its client learns by a time-out.
            asking.abort();
        }
        // Another one serves.
        let (incoming, addr) = bound().await;
        let again = tokio::spawn(
            serve_fn(incoming, async |_: Request<_>| {
                Ok(Response::new(Full::new(Bytes::from_static(b"again"))))
            })
            .into_future(),
        );
        let uri = format!("http://{addr}/").parse().unwrap();
        let response = Setup::plaintext().client(true).get(uri).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "again");
        again.abort();
        let _ = again.await;
        done
    });
}

#[test]
fn connector_without_a_runtime_fails_and_does_not_panic() {
    for uri in ["http://127.0.0.1:9", "http://a.example:9"] {
        let mut connector = KcpConnector::new(&Security::Plaintext);
        let mut connecting = pin!(connector.call(Uri::from_static(uri)));
        let polled = connecting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(_))), "{uri}");
    }
}

#[test]
fn connections_beyond_the_end_of_their_runtime_fail_and_do_not_panic() {
    let runtime = real();
    let (mut client, mut server, mut incoming) = runtime.block_on(async {
        let (mut incoming, addr) = bound().await;
        let connected = KcpStream::connect(addr, &Security::Plaintext).await;
        let client = KcpIo::new(connected.unwrap());
        // Its first byte never comes: the limit on that is a timer of the runtime.
        let server = accept_from(&mut incoming, &client).await;
        (client, server, incoming)
    });
    drop(runtime);
    let alarm = std::sync::Arc::<Alarm>::default();
    for io in [&mut client, &mut server] {
        let mut buffer = [0; 8];
        let Poll::Ready(read) = alarm.poll(&mut pin!(io.read(&mut buffer))) else {
            panic!("waits for a runtime that is gone");
        };
        read.unwrap_err();
        let Poll::Ready(written) = alarm.poll(&mut pin!(io.write(b"x"))) else {
            panic!("waits for a runtime that is gone");
        };
        written.unwrap_err();
        assert!(alarm.poll(&mut pin!(io.flush())).is_ready());
        assert!(alarm.poll(&mut pin!(io.shutdown())).is_ready());
    }
    let mut accepting = pin!(poll_fn(|cx| incoming.poll_accept(cx)));
    assert!(matches!(
        alarm.poll(&mut accepting),
        Poll::Ready(Some(Err(_)))
    ));
}
