//! Streams and listeners over real sockets on loopback.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcp_transport::config::{Config, ConfigBuilder, Extensions};
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) fn cipher(name: &str) -> Security {
    Security::from_password(name, "test", b"kcp-go").expect("known name")
}

pub(crate) fn quick() -> ConfigBuilder {
    Config::builder()
        .connect_timeout(Duration::from_millis(500))
        .user_timeout(Duration::from_millis(500))
        .idle_timeout(Duration::from_secs(5))
        .keepalive(Duration::from_millis(100))
}

async fn pair(security: &Security, config: &Config) -> (KcpStream, KcpStream, KcpListener) {
    let listener = KcpListener::builder(security)
        .config(config)
        .bind(LOOPBACK)
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(
        KcpStream::builder(security).config(config).connect(addr),
        listener.accept()
    );
    (
        client.expect("connects"),
        server.expect("accepts").0,
        listener,
    )
}

async fn echo(mut stream: KcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return stream.shutdown().await;
        }
        stream.write_all(&buffer[..read]).await?;
        stream.flush().await?;
    }
}

async fn check_echo(stream: KcpStream, len: usize) -> KcpStream {
    let data: Vec<u8> = (0..len)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect();
    let (mut reader, mut writer) = stream.into_split();
    let expected = data.clone();
    let writing = tokio::spawn(async move {
        writer.write_all(&data).await.expect("writes");
        writer.flush().await.expect("flushes");
        writer
    });
    let mut received = vec![0; len];
    reader.read_exact(&mut received).await.expect("reads");
    assert!(received == expected, "echo differs");
    reader
        .reunite(writing.await.expect("no panic"))
        .expect("same stream")
}

#[tokio::test]
async fn every_cipher_echoes_with_and_without_fec() {
    for name in Security::NAMES {
        for fec in [None, Some(FecRatio::new(3, 2).expect("in range"))] {
            let config = Config::builder().fec(fec).build().expect("in range");
            let (client, server, _listener) = pair(&cipher(name), &config).await;
            let server = tokio::spawn(echo(server));
            check_echo(client, 300_000).await;
            server.abort();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_share_a_listener() {
    let security = cipher("aes-128-gcm");
    let config = Config::default();
    let listener = KcpListener::builder(&security)
        .config(&config)
        .bind(LOOPBACK)
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(echo(stream));
        }
    });
    let clients = (0..50).map(|index| {
        let (security, config) = (security.clone(), config.clone());
        tokio::spawn(async move {
            let stream = KcpStream::builder(&security)
                .config(&config)
                .connect(addr)
                .await
                .expect("connects");
            check_echo(stream, 1000 * (index + 1)).await;
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("no panic");
    }
}

#[tokio::test]
async fn server_may_send_first() {
    let (mut client, mut server, _listener) = pair(&cipher("null"), &Config::default()).await;
    server.write_all(b"welcome").await.expect("writes");
    server.flush().await.expect("flushes");
    let mut greeting = [0; 7];
    client.read_exact(&mut greeting).await.expect("reads");
    assert_eq!(&greeting, b"welcome");
}

#[tokio::test]
async fn unflushed_write_leaves_all_the_same() {
    let (mut client, mut server, _listener) = pair(&cipher("null"), &Config::default()).await;
    client.write_all(b"x").await.expect("writes");
    let mut byte = [0];
    server.read_exact(&mut byte).await.expect("reads");
    assert_eq!(&byte, b"x");
}

#[tokio::test]
async fn reader_and_writer_that_never_wait_let_others_run() {
    let (mut client, mut server, _listener) = pair(&cipher("null"), &Config::default()).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&turns);
    tokio::spawn(async move {
        loop {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    // Far less than the buffers hold: no write and no read has anything to wait for.
    for _ in 0..20_000 {
        client.write_all(b"x").await.expect("writes");
    }
    assert!(turns.load(Ordering::Relaxed) > 50);
    client.flush().await.expect("flushes");
    while server.info().stats().unread < 10 {
        tokio::task::yield_now().await;
    }
    turns.store(0, Ordering::Relaxed);
    for _ in 0..10_000 {
        server.read_exact(&mut [0]).await.expect("reads");
    }
    assert!(turns.load(Ordering::Relaxed) > 50);
}

#[tokio::test]
async fn addresses_and_conversation_agree_on_both_sides() {
    let (client, server, listener) = pair(&cipher("null"), &Config::default()).await;
    assert_eq!(client.conversation(), server.conversation());
    let addr = listener.local_addr().expect("bound");
    assert_eq!(client.peer_addr().expect("known"), addr);
    assert_eq!(server.local_addr().expect("known"), addr);
    assert_eq!(
        client.local_addr().expect("known"),
        server.peer_addr().expect("known")
    );
    let info = server.info();
    drop(server);
    assert_eq!(info.peer_addr(), client.local_addr().expect("known"));
}

#[tokio::test]
async fn garbage_is_counted_by_reason_and_changes_nothing() {
    let (client, server, listener) = pair(&cipher("aes-128-gcm"), &Config::default()).await;
    let addr = listener.local_addr().expect("bound");
    let attacker = tokio::net::UdpSocket::bind(LOOPBACK).await.expect("binds");
    for len in [0, 1, 27, 28, 100, 1400] {
        attacker
            .send_to(&vec![0xa5; len], addr)
            .await
            .expect("sends");
    }
    tokio::spawn(echo(server));
    check_echo(client, 10_000).await;
    let stats = listener.stats();
    assert!(stats.too_short >= 2, "{stats:?}");
    assert!(stats.unauthentic >= 3, "{stats:?}");
}

#[tokio::test]
async fn packets_of_another_conversation_close_nothing() {
    let (client, server, listener) = pair(&cipher("null"), &Config::default()).await;
    // Over a relay socket of the client's own address this kills a kcp-go session: a packet of
    // another conversation with sequence number 0, and an out-of-band packet.
    let addr = listener.local_addr().expect("bound");
    let forger = tokio::net::UdpSocket::bind(LOOPBACK).await.expect("binds");
    let mut push = vec![0; 24];
    push[4] = 81;
    for conversation in 0..200_u32 {
        push[..4].copy_from_slice(&conversation.to_le_bytes());
        forger.send_to(&push, addr).await.expect("sends");
        forger
            .send_to(&[0, 0, 0, 0, 0xf3, 0, 6, 0, 1, 2, 3, 4], addr)
            .await
            .expect("sends");
    }
    tokio::spawn(echo(server));
    check_echo(client, 10_000).await;
}

#[test]
fn killed_peer_is_a_timeout_on_read_and_write() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("starts")
    };
    let config = quick().extensions(Extensions::Off).build();
    let config = config.expect("in range");
    let security = cipher("null");
    let (server_runtime, client_runtime) = (runtime(), runtime());
    let (addr, accepted) = server_runtime.block_on(async {
        let listener = KcpListener::builder(&security)
            .config(&config)
            .bind(LOOPBACK)
            .await
            .expect("binds");
        let addr = listener.local_addr().expect("bound");
        let accepted = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("accepts");
            (stream, listener)
        });
        (addr, accepted)
    });
    let mut client = client_runtime
        .block_on(KcpStream::builder(&security).config(&config).connect(addr))
        .expect("connects");
    let kept = server_runtime.block_on(accepted).expect("no panic");
    // Without extensions the client is not told. What it sends is swallowed.
    drop(server_runtime);
    let _silent = std::net::UdpSocket::bind(addr).expect("is free");
    client_runtime.block_on(async {
        client.write_all(&[1; 100]).await.expect("queues");
        let mut buffer = [0; 10];
        let error = client.read(&mut buffer).await.expect_err("peer is gone");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = client.write(&[1]).await.expect_err("peer is gone");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let error = client.shutdown().await.expect_err("peer is gone");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
    drop(kept);
}

#[tokio::test]
async fn dropped_listener_leaves_accepted_sessions_alive() {
    let (client, server, listener) = pair(&cipher("aes"), &Config::default()).await;
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    tokio::spawn(echo(server));
    let client = check_echo(client, 100_000).await;
    let late = KcpStream::connect(addr, &cipher("aes")).await;
    let error = late.expect_err("closed");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    check_echo(client, 1000).await;
}

#[tokio::test]
async fn shutdown_returns_once_everything_is_acknowledged() {
    let (mut client, mut server, _listener) = pair(&cipher("null"), &Config::default()).await;
    let data = vec![7; 500_000];
    let reading = tokio::spawn(async move {
        let mut received = vec![0; 500_000];
        server.read_exact(&mut received).await.expect("reads");
        received
    });
    client.write_all(&data).await.expect("writes");
    client.shutdown().await.expect("drains");
    let stats = client.stats();
    assert_eq!((stats.in_flight, stats.queued), (0, 0));
    assert_eq!(reading.await.expect("no panic"), data);
    let error = client.write(b"more").await.expect_err("shut down");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    client.shutdown().await.expect("twice is fine");
}

#[tokio::test]
async fn dropped_stream_delivers_what_was_written() {
    let (mut client, mut server, _listener) = pair(&cipher("null"), &Config::default()).await;
    let data = vec![9; 200_000];
    client.write_all(&data).await.expect("writes");
    drop(client);
    let mut received = vec![0; 200_000];
    server.read_exact(&mut received).await.expect("reads");
    assert_eq!(received, data);
}

#[tokio::test]
async fn reader_that_never_reads_harms_no_other_session() {
    let config = Config::builder().windows(64, 64).build().expect("in range");
    let security = cipher("null");
    let listener = KcpListener::builder(&security)
        .config(&config)
        .bind(LOOPBACK)
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    let mut stuck = KcpStream::builder(&security)
        .config(&config)
        .connect(addr)
        .await
        .expect("connects");
    let (lazy, _) = listener.accept().await.expect("accepts");
    let mut written = 0;
    let filling = async {
        loop {
            written += stuck.write(&[0; 4096]).await.expect("writes");
        }
    };
    // Nothing of this depends on how long it is: the writer stops when both windows are full.
    let _ = tokio::time::timeout(Duration::from_millis(300), filling).await;
    assert!(written <= 2 * 64 * 1376, "{written} bytes taken");
    let client = KcpStream::builder(&security)
        .config(&config)
        .connect(addr)
        .await
        .expect("connects");
    let (server, _) = listener.accept().await.expect("accepts");
    tokio::spawn(echo(server));
    check_echo(client, 1_000_000).await;
    drop(lazy);
}

#[tokio::test]
async fn listener_takes_over_a_socket() {
    let socket = tokio::net::UdpSocket::bind(LOOPBACK).await.expect("binds");
    let socket = socket.into_std().expect("converts");
    let security = cipher("null");
    let config = Config::default();
    let listener = KcpListener::builder(&security)
        .config(&config)
        .on_socket(socket)
        .expect("adopts");
    let addr = listener.local_addr().expect("bound");
    let client = KcpStream::builder(&security)
        .config(&config)
        .connect(addr)
        .await
        .expect("connects");
    let (server, _) = listener.accept().await.expect("accepts");
    tokio::spawn(echo(server));
    check_echo(client, 1000).await;
}

#[tokio::test]
async fn dual_stack_listener_takes_both_families() {
    let security = cipher("null");
    let any: SocketAddr = "[::]:0".parse().expect("address");
    let Ok(listener) = KcpListener::bind(any, &security).await else {
        return; // A machine without IPv6.
    };
    let port = listener.local_addr().expect("bound").port();
    for host in ["127.0.0.1", "::1"] {
        let addr = SocketAddr::new(host.parse().expect("address"), port);
        let client = KcpStream::connect(addr, &security).await.expect("connects");
        let (server, _) = listener.accept().await.expect("accepts");
        let server = tokio::spawn(echo(server));
        check_echo(client, 5000).await;
        server.abort();
    }
}
