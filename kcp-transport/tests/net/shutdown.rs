//! How listeners and endpoints end, and what their peers are told.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use kcp_transport::config::{Config, Extensions, ListenerConfig};
use kcp_transport::crypto::Security;
use kcp_transport::error::{ConnectionError, ResetCode};
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};
use kcp_transport::wire::{
    Command, ConversationId, Frame, FrameWriter, Frames, Hello, SegmentHeader, Segments, Timestamp,
    Token,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const SECURITY: Security = Security::Plaintext;

/// Far longer than anything here takes, and shorter than each time-out of a connection.
const PATIENCE: Duration = Duration::from_secs(8);

async fn listen() -> (KcpListener, SocketAddr) {
    let listener = KcpListener::bind("127.0.0.1:0", &SECURITY).await;
    let listener = listener.expect("binds");
    let addr = listener.local_addr().expect("bound");
    (listener, addr)
}

/// A client and the server's stream, with data exchanged in both directions.
async fn connected(listener: &KcpListener) -> (KcpStream, KcpStream) {
    let addr = listener.local_addr().expect("bound");
    let mut client = KcpStream::connect(addr, &SECURITY).await.expect("connects");
    let (mut server, _) = listener.accept().await.expect("accepts");
    check(&mut client, &mut server).await;
    (client, server)
}

async fn check(client: &mut KcpStream, server: &mut KcpStream) {
    pass(client, server).await;
    pass(server, client).await;
}

async fn pass(from: &mut KcpStream, to: &mut KcpStream) {
    from.write_all(b"word").await.expect("writes");
    from.flush().await.expect("flushes");
    to.read_exact(&mut [0; 4]).await.expect("reads");
}

async fn reason_of_end(stream: &mut KcpStream) -> ConnectionError {
    let end = timeout(PATIENCE, stream.read_u8()).await;
    let error = end.expect("is told").expect_err("has ended");
    *ConnectionError::from_io(&error).expect("has a reason")
}

async fn reason_of_refusal(addr: SocketAddr, config: &Config) -> ConnectionError {
    let connecting = KcpStream::builder(&SECURITY).config(config).connect(addr);
    let refused = timeout(PATIENCE, connecting).await;
    let error = refused.expect("is told").expect_err("is refused");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    *ConnectionError::from_io(&error).expect("has a reason")
}

const GOING_AWAY: ConnectionError = ConnectionError::Reset(ResetCode::GOING_AWAY);
const REFUSED: ConnectionError = ConnectionError::Rejected(ResetCode::GOING_AWAY);

#[tokio::test]
async fn listener_that_shuts_down_refuses_new_connections_and_lets_others_end() {
    let (listener, addr) = listen().await;
    let (mut client, mut server) = connected(&listener).await;
    let shutdown = listener.shutdown(Duration::MAX);
    let mut shutdown = std::pin::pin!(shutdown);
    assert!(timeout(Duration::ZERO, &mut shutdown).await.is_err());

    assert_eq!(reason_of_refusal(addr, &Config::default()).await, REFUSED);
    let accepted = listener.accept().await.expect_err("is closed");
    assert_eq!(accepted.kind(), io::ErrorKind::NotConnected);
    assert_eq!(listener.stats().refused, 1);
    check(&mut client, &mut server).await;
    assert!(timeout(Duration::ZERO, &mut shutdown).await.is_err());

    drop(server);
    assert_eq!(client.read(&mut [0]).await.expect("ends in order"), 0);
    drop(client);
    timeout(PATIENCE, shutdown).await.expect("is idle");
    UdpSocket::bind(addr).expect("is free");
}

#[tokio::test]
async fn lazy_connection_to_a_listener_that_shuts_down_is_refused_too() {
    let (listener, addr) = listen().await;
    let (_client, _server) = connected(&listener).await;
    listener.stop_accepting();
    let mut late = KcpStream::builder(&SECURITY)
        .connect_lazy(addr)
        .await
        .expect("opens");
    late.write_all(b"hello?").await.expect("writes");
    late.flush().await.expect("flushes");
    assert_eq!(reason_of_end(&mut late).await, REFUSED);
}

#[tokio::test]
async fn connections_left_after_the_drain_are_reset_and_the_port_is_free() {
    let (listener, addr) = listen().await;
    let (mut client, mut server) = connected(&listener).await;
    let info = server.info();
    let shutdown = listener.shutdown(Duration::from_millis(20));
    timeout(PATIENCE, shutdown).await.expect("ends");
    // The stream and its handle are still there.
    UdpSocket::bind(addr).expect("is free");
    assert_eq!(info.local_addr(), Some(addr));
    assert_eq!(reason_of_end(&mut client).await, GOING_AWAY);
    let own = reason_of_end(&mut server).await;
    assert_eq!(own, ConnectionError::EndpointClosed);
    assert!(GOING_AWAY.to_string().contains("the peer is shutting down"));
}

#[tokio::test]
async fn close_ends_accepted_and_waiting_connections_with_its_code() {
    let (listener, addr) = listen().await;
    let (mut client, mut server) = connected(&listener).await;
    let mut waiting = KcpStream::connect(addr, &SECURITY).await.expect("connects");
    let code = ResetCode::new(42).expect("in range");
    listener.close(code);
    assert_eq!(
        reason_of_end(&mut client).await,
        ConnectionError::Reset(code)
    );
    assert_eq!(reason_of_end(&mut waiting).await, GOING_AWAY);
    let own = reason_of_end(&mut server).await;
    assert_eq!(own, ConnectionError::EndpointClosed);
    timeout(PATIENCE, listener.wait_idle()).await.expect("idle");
    UdpSocket::bind(addr).expect("is free");
}

/// Other systems have no listeners with several sockets.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[tokio::test]
async fn listener_with_several_sockets_frees_its_port() {
    let shards = ListenerConfig::builder().shards(3).build();
    let builder = KcpListener::builder(&SECURITY).listener_config(&shards.expect("in range"));
    let listener = builder.bind("127.0.0.1:0").await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let mut pairs = Vec::new();
    for _ in 0..8 {
        pairs.push(connected(&listener).await);
    }
    let shutdown = listener.shutdown(Duration::ZERO);
    timeout(PATIENCE, shutdown).await.expect("ends");
    UdpSocket::bind(addr).expect("is free");
    for (client, _) in &mut pairs {
        assert_eq!(reason_of_end(client).await, GOING_AWAY);
    }
}

#[tokio::test]
async fn endpoint_that_closes_resets_its_connections_and_connects_no_more() {
    let (listener, addr) = listen().await;
    let endpoint = KcpEndpoint::bind("127.0.0.1:0", &SECURITY).await;
    let endpoint = endpoint.expect("binds");
    let local = endpoint.local_addr().expect("bound");
    let mut client = endpoint.connect(addr).await.expect("connects");
    let (mut server, _) = listener.accept().await.expect("accepts");
    check(&mut client, &mut server).await;
    let code = ResetCode::new(7).expect("in range");
    endpoint.close(code);
    assert_eq!(
        reason_of_end(&mut server).await,
        ConnectionError::Reset(code)
    );
    let again = endpoint.connect(addr).await.expect_err("is closed");
    assert_eq!(again.kind(), io::ErrorKind::NotConnected, "{again}");
    timeout(PATIENCE, endpoint.wait_idle()).await.expect("idle");
    UdpSocket::bind(local).expect("is free");
}

#[tokio::test]
async fn endpoint_that_shuts_down_delivers_what_was_written() {
    let (listener, addr) = listen().await;
    let endpoint = KcpEndpoint::bind("127.0.0.1:0", &SECURITY).await;
    let endpoint = endpoint.expect("binds");
    let mut client = endpoint.connect(addr).await.expect("connects");
    client.write_all(&[7; 200_000]).await.expect("writes");
    drop(client);
    let reading = async {
        let (mut server, _) = listener.accept().await.expect("accepts");
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.expect("ends in order");
        all.len()
    };
    let ((), read) = tokio::join!(endpoint.shutdown(PATIENCE), reading);
    assert_eq!(read, 200_000);
}

#[tokio::test]
async fn listener_without_connections_is_idle_and_closes_at_once() {
    let (listener, addr) = listen().await;
    listener.wait_idle().await;
    UdpSocket::bind(addr).expect_err("still listens");
    listener.shutdown(PATIENCE).await;
    UdpSocket::bind(addr).expect("is free");
    // Again changes nothing.
    listener.close(ResetCode::GOING_AWAY);
    listener.shutdown(PATIENCE).await;
}

#[test]
fn runtime_that_ends_resets_its_connections() {
    let runtime = || tokio::runtime::Runtime::new().expect("starts");
    let (client_side, server_side) = (runtime(), runtime());
    let (listener, addr) = server_side.block_on(listen());
    let connecting = client_side.spawn(KcpStream::connect(addr, &SECURITY));
    let (mut server, _) = server_side.block_on(listener.accept()).expect("accepts");
    let mut client = client_side.block_on(connecting).expect("no panic");
    let client = client.as_mut().expect("connects");
    // Both sides know each other's extensions.
    client_side.block_on(async { client.write_all(b"x").await.expect("writes") });
    server_side.block_on(async { server.read_u8().await.expect("reads") });
    server_side.shutdown_background();
    assert_eq!(client_side.block_on(reason_of_end(client)), GOING_AWAY);
}

#[tokio::test]
async fn peer_without_extensions_delays_no_shutdown() {
    let plain = Config::builder().extensions(Extensions::Off).build();
    let (listener, addr) = listen().await;
    let connecting = KcpStream::builder(&SECURITY).config(&plain.expect("in range"));
    let mut client = connecting.connect(addr).await.expect("connects");
    client.write_all(b"word").await.expect("writes");
    let (mut server, _) = listener.accept().await.expect("accepts");
    server.read_exact(&mut [0; 4]).await.expect("reads");
    drop(server);
    // Without the hurry it would stay for three seconds.
    let shutdown = listener.shutdown(Duration::MAX);
    let quick = Duration::from_secs(2);
    timeout(quick, shutdown).await.expect("is idle");
    UdpSocket::bind(addr).expect("is free");
}

#[tokio::test]
async fn full_backlog_is_the_reason_if_connecting_takes_too_long() {
    let short = ListenerConfig::builder().backlog(1).build();
    let listener = KcpListener::builder(&SECURITY)
        .listener_config(&short.expect("in range"))
        .bind("127.0.0.1:0")
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    let _waits = KcpStream::connect(addr, &SECURITY).await.expect("connects");
    let impatient = Config::builder().connect_timeout(Duration::from_millis(200));
    let reason = reason_of_refusal(addr, &impatient.build().expect("in range")).await;
    assert_eq!(reason, ConnectionError::Rejected(ResetCode::BACKLOG_FULL));
    assert!(listener.stats().refused > 0);
    // Room is made in time.
    let late = tokio::spawn(KcpStream::connect(addr, &SECURITY));
    listener.accept().await.expect("accepts");
    late.await.expect("no panic").expect("connects");
}

#[tokio::test]
async fn refusals_are_shorter_than_what_they_answer_and_limited() {
    const OPENINGS: usize = 6000;
    let (listener, addr) = listen().await;
    let (_client, _server) = connected(&listener).await;
    listener.stop_accepting();
    let hello = opening(Token::new(99));
    let (mut answers, mut bytes) = (0, 0);
    let start = Instant::now();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0")
        .await
        .expect("binds");
    for _ in 0..OPENINGS {
        socket.send_to(&hello, addr).await.expect("sends");
        let mut answer = [0; 1500];
        while let Ok(len) = socket.try_recv(&mut answer) {
            (answers, bytes) = (answers + 1, bytes + len);
            assert!(len <= hello.len(), "{len} bytes");
            assert_eq!(reset_in(&answer[..len]), Some((Token::new(99), GOING)));
        }
        tokio::task::yield_now().await;
    }
    // 2000 at once, and as many a second.
    let most = 5000 + 2000 * start.elapsed().as_secs();
    assert!((1..=most).contains(&answers), "{answers} answers");
    assert!(bytes < OPENINGS * hello.len());
}

const GOING: u32 = ResetCode::GOING_AWAY.get();

/// The first packet of a peer that connects.
fn opening(token: Token) -> Vec<u8> {
    let mut frames = FrameWriter::new(128);
    assert!(frames.push(&Frame::Hello(Hello::new(token))));
    let header = |command, payload_len| SegmentHeader {
        conversation: ConversationId::new(5),
        command,
        fragments_left: 0,
        window: 32,
        timestamp: Timestamp::default(),
        sequence: 0,
        unacknowledged: 0,
        payload_len,
    };
    let len = u32::try_from(frames.payload().len()).expect("is short");
    let mut packet = vec![0; 48];
    header(Command::WindowProbe, 0).encode(&mut packet);
    header(Command::WindowUpdate, len).encode(&mut packet[24..]);
    packet.extend_from_slice(frames.payload());
    packet
}

fn reset_in(packet: &[u8]) -> Option<(Token, u32)> {
    let mut segments = Segments::new(packet);
    let (_, payload) = segments.next()?.expect("is whole");
    match Frames::new(payload).next()?.expect("is whole") {
        Frame::Reset { tag, code } => Some((tag, code)),
        _ => None,
    }
}
