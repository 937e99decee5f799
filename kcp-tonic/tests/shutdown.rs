//! How `serve` ends.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod support;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use futures_util::StreamExt;
use kcp_tonic::KcpIncoming;
use kcp_tower::KcpStream;
use kcp_tower::kcp_transport::error::{ConnectionError, ResetCode};
use support::helloworld::greeter_server::GreeterServer;
use support::{Hello, Setup, hello, loopback};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// Far longer than the time-outs here, far shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

fn start(incoming: KcpIncoming, greeter: Hello, drain_timeout: Option<Duration>) -> Server {
    let addr = incoming.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = incoming
        .server_builder()
        .add_service(GreeterServer::new(greeter));
    let server = kcp_tonic::serve(incoming, router)
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() })
        .drain_timeout(drain_timeout);
    Server {
        addr,
        stop,
        task: tokio::spawn(server.into_future()),
    }
}

#[tokio::test]
async fn call_in_flight_finishes_after_the_signal() {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let server = start(incoming, Hello::default(), None);
    let mut client = setup.client(server.addr).await;
    let (greetings, sent) = tokio::sync::mpsc::channel(1);
    let replies = client.bidi_hello(ReceiverStream::new(sent)).await;
    let mut replies = replies.unwrap().into_inner();
    greetings.send(hello("before")).await.unwrap();
    replies.next().await.unwrap().unwrap();
    server.stop.send(()).unwrap();

    for word in ["during", "still"] {
        greetings.send(hello(word)).await.unwrap();
        assert_eq!(replies.next().await.unwrap().unwrap().message, word);
    }
    let late = KcpStream::connect(server.addr, &setup.security).await;
    let reason = ConnectionError::from_io(late.as_ref().unwrap_err());
    let refused = ConnectionError::Rejected(ResetCode::GOING_AWAY);
    assert_eq!(reason, Some(&refused));
    assert!(!server.task.is_finished());
    drop(greetings);
    assert!(replies.next().await.is_none());
    timeout(PATIENCE, server.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    UdpSocket::bind(server.addr).unwrap();
    drop(client);
}

#[tokio::test]
async fn drain_timeout_ends_calls_that_do_not_finish() {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let greeter = Hello::default();
    let server = start(incoming, greeter.clone(), Some(Duration::from_millis(50)));
    let mut client = setup.client(server.addr).await;
    let call = tokio::spawn(async move { client.say_hello(hello("wait")).await });
    greeter.waiting.notified().await;
    server.stop.send(()).unwrap();
    let end = timeout(PATIENCE, server.task).await;
    end.expect("the server must end").unwrap().unwrap();
    UdpSocket::bind(server.addr).unwrap();
    let status = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn dropping_the_server_ends_its_connections() {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let greeter = Hello::default();
    let server = start(incoming, greeter.clone(), None);
    let mut client = setup.client(server.addr).await;
    let call = tokio::spawn(async move { client.say_hello(hello("wait")).await });
    greeter.waiting.notified().await;
    server.task.abort();
    let status = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn peer_that_never_sends_anything_holds_up_no_shutdown() {
    let setup = Setup::plaintext();
    let listening = setup.listening();
    let listening = listening.first_byte_timeout(Duration::from_millis(50));
    let incoming = listening.bind(loopback()).await.unwrap();
    let server = start(incoming, Hello::default(), None);
    let silent = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect(server.addr);
    let mut silent = silent.await.unwrap();
    // The server's settings: it has the connection.
    silent.read_u8().await.unwrap();
    server.stop.send(()).unwrap();
    timeout(PATIENCE, server.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, silent.read_to_end(&mut rest)).await;
    end.unwrap().unwrap();
}
