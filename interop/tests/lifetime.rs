//! Connections to kcp-go peers that are killed, restarted or reached from another address.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kcp_examples::relay::{Relay, RelayConfig};
use kcp_interop::case::{CallKind, Case, Direction, Fec, Payload, Peer};
use kcp_interop::data;
use kcp_interop::go::Programs;
use kcp_interop::grpc::proto::EchoRequest;
use kcp_interop::grpc::proto::echo_client::EchoClient;
use kcp_interop::process::PeerServer;
use kcp_tonic::KcpChannel;
use kcp_transport::config::Config;
use kcp_transport::error::ConnectionError;
use kcp_transport::net::KcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use support::nat::Nat;

const CASE: Case = Case {
    cipher: "aes-128-gcm",
    fec: Fec::both(Some((10, 3))),
    ..Case::new(Peer::KcpGo, Direction::RustToPeer)
};

#[tokio::test]
async fn stream_to_a_killed_server_times_out() {
    let Some(programs) = support::peers("a stream to a killed kcp-go") else {
        return;
    };
    let server = start(programs, "echo-server", None).await;
    let mut stream = connect(server.addr()).await;
    round_trip(&mut stream).await.expect("echoes");
    server.kill().await.expect("dies");

    let error = first_error(stream).await;
    assert_eq!(error, ConnectionError::PeerUnresponsive);
}

#[tokio::test]
async fn call_to_a_killed_server_fails() {
    let Some(programs) = support::peers("a call to a killed grpc-go") else {
        return;
    };
    let case = Case {
        payload: Payload::Grpc(CallKind::Bidi),
        ..CASE
    };
    let server = start(programs, "grpc-server", None).await;
    let channel = KcpChannel::builder(&case.security().expect("known"))
        .config(&short_user_timeout())
        .connect(format!("kcp://{}", server.addr()))
        .await
        .expect("connects");

    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let request = || EchoRequest {
        message: "ping".to_owned(),
    };
    sender.send(request()).await.expect("there is room");
    let mut replies = EchoClient::new(channel)
        .bidirectional_streaming_echo(ReceiverStream::new(requests))
        .await
        .expect("answers")
        .into_inner();
    replies.message().await.expect("no error").expect("a reply");
    server.kill().await.expect("dies");

    sender.send(request()).await.expect("there is room");
    let ended = timeout(LIMIT, replies.message()).await.expect("in time");
    let status = ended.expect_err("the server is gone");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("user time-out"), "{status:?}");
}

#[tokio::test]
async fn restarted_server_ends_old_connections_and_accepts_new_ones() {
    let Some(programs) = support::peers("a restarted kcp-go") else {
        return;
    };
    let server = start(programs, "echo-server", None).await;
    let addr = server.addr();
    let mut old = connect(addr).await;
    for _ in 0..10 {
        round_trip(&mut old).await.expect("echoes");
    }
    server.kill().await.expect("dies");
    let server = start(programs, "echo-server", Some(addr)).await;
    assert_eq!(server.addr(), addr);

    let mut new = connect(addr).await;
    round_trip(&mut new).await.expect("the new one echoes");
    let error = first_error(old).await;
    let expected = [
        ConnectionError::PeerRestarted,
        ConnectionError::PeerUnresponsive,
    ];
    assert!(expected.contains(&error), "{error:?}");
    round_trip(&mut new)
        .await
        .expect("the new one still echoes");
}

#[tokio::test]
async fn shutdown_returns_after_the_server_has_acknowledged_everything() {
    let Some(programs) = support::peers("shutdown against kcp-go") else {
        return;
    };
    let server = start(programs, "echo-server", None).await;
    let config = RelayConfig {
        loss: 0.2,
        delay: Duration::from_millis(5),
        ..RelayConfig::default()
    };
    let relay = Relay::start(server.addr(), config).expect("a socket");
    let mut stream = connect(relay.local_addr()).await;
    let data = data::bytes(1, 100_000);
    stream.write_all(&data).await.expect("there is room");
    stream.shutdown().await.expect("all is acknowledged");

    let stats = stream.info().stats();
    assert_eq!((stats.in_flight, stats.queued), (0, 0));
    // The echo proves that everything has arrived. Reading continues after a shutdown.
    let mut received = vec![0; data.len()];
    let reading = stream.read_exact(&mut received);
    timeout(LIMIT, reading)
        .await
        .expect("in time")
        .expect("reads");
    assert!(received == data);
}

#[tokio::test]
async fn stream_to_kcp_go_from_a_changed_address_ends_with_an_error() {
    let Some(programs) = support::peers("a changed address") else {
        return;
    };
    let server = start(programs, "echo-server", None).await;
    let nat = Nat::to(server.addr()).await;
    let mut stream = connect(nat.addr()).await;
    for _ in 0..10 {
        round_trip(&mut stream).await.expect("echoes");
    }
    nat.rebind();

    // kcp-go accepts a new session from the new address, without the state of the old one.
    let started = Instant::now();
    let error = first_error(stream).await;
    let clear = [
        ConnectionError::PeerRestarted,
        ConnectionError::PeerUnresponsive,
    ];
    assert!(clear.contains(&error), "{error:?}");
    let kind = std::io::Error::from(error).kind();
    let clear = [
        std::io::ErrorKind::ConnectionReset,
        std::io::ErrorKind::TimedOut,
    ];
    assert!(clear.contains(&kind), "{kind:?}");
    println!("{error:?} after {:?}", started.elapsed());
    // The path itself works.
    let mut new = connect(nat.addr()).await;
    round_trip(&mut new).await.expect("echoes");
}

#[tokio::test]
async fn channel_to_grpc_go_reconnects_from_a_changed_address() {
    let Some(programs) = support::peers("a channel from a changed address") else {
        return;
    };
    let case = Case {
        payload: Payload::Grpc(CallKind::Unary),
        ..CASE
    };
    let server = start(programs, "grpc-server", None).await;
    let nat = Nat::to(server.addr()).await;
    let channel = KcpChannel::builder(&case.security().expect("known"))
        .config(&short_user_timeout())
        .connect(format!("kcp://{}", nat.addr()))
        .await
        .expect("connects");
    let mut client = EchoClient::new(channel);
    let request = || EchoRequest {
        message: "ping".to_owned(),
    };
    client.unary_echo(request()).await.expect("answers");
    nat.rebind();

    // The failed call is not repeated, because it was sent and may have been executed.
    let lost = timeout(LIMIT, client.unary_echo(request())).await;
    let status = lost.expect("in time").expect_err("its session is gone");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let next = timeout(LIMIT, client.unary_echo(request())).await;
    let reply = next.expect("in time").expect("reconnects").into_inner();
    assert_eq!(reply.message, "ping");
}

/// A server with the options of [`CASE`], on a given port or a free one.
async fn start(programs: &Programs, command: &str, addr: Option<SocketAddr>) -> PeerServer {
    let mut args = CASE.peer_args(command);
    if let Some(addr) = addr {
        args.extend(["--listen".to_owned(), addr.to_string()]);
    }
    PeerServer::start(programs.of(CASE.peer), &args)
        .await
        .expect("starts")
}

async fn connect(addr: SocketAddr) -> KcpStream {
    let security = CASE.security().expect("known");
    KcpStream::builder(&security)
        .config(&short_user_timeout())
        .connect(addr)
        .await
        .expect("connects")
}

/// The configuration of the case with a user time-out of one second.
fn short_user_timeout() -> Config {
    let config = CASE.config().expect("in range").to_builder();
    let config = config.user_timeout(Duration::from_secs(1)).build();
    config.expect("in range")
}

async fn round_trip(stream: &mut KcpStream) -> std::io::Result<()> {
    stream.write_all(b"are you there").await?;
    stream.flush().await?;
    let mut answer = [0; 13];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, b"are you there");
    Ok(())
}

/// Makes round trips until one fails, and returns the error.
async fn first_error(mut stream: KcpStream) -> ConnectionError {
    let failing = async {
        loop {
            if let Err(error) = round_trip(&mut stream).await {
                return error;
            }
        }
    };
    let error = timeout(LIMIT, failing).await.expect("in time");
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    *source.unwrap_or_else(|| panic!("{error:?} is not a ConnectionError"))
}

/// Time limit of a step: the user time-out, and room for a busy machine.
const LIMIT: Duration = Duration::from_secs(5);
