//! Connecting: addresses of every spelling, several of one host, sockets of the user's.

mod refusals;

use std::io;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kcp_transport::config::Config;
#[cfg(target_os = "linux")]
use kcp_transport::config::ListenerConfig;
use kcp_transport::crypto::Security;
use kcp_transport::error::{ConnectError, ConnectionError};
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpMessageStream, KcpStream};
use kcp_transport::wire::ConversationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::transport::memory::Network;
#[cfg(target_os = "linux")]
use crate::transport::memory::{Fault, Way};
use refusals::refusal;

pub(crate) const CLEAR: &Security = &Security::Plaintext;

/// A listener that echoes, on an address of its own.
async fn echo(addr: &str) -> SocketAddr {
    let listener = KcpListener::bind(addr, CLEAR).await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.into_split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    addr
}

async fn check(stream: &mut KcpStream) {
    stream.write_all(b"hello").await.expect("writes");
    stream.flush().await.expect("flushes");
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.expect("reads");
    assert_eq!(&heard, b"hello");
}

#[tokio::test(start_paused = true)]
async fn silent_first_address_costs_its_head_start() {
    let network = Network::default();
    let [server, own, silent] = [network.host(), network.host(), network.host()];
    let listener = KcpListener::builder(CLEAR).on_transport(server.clone());
    let listener = listener.expect("in range");
    let addresses = [silent.addr(), server.addr()];
    let start = Instant::now();
    let connecting = KcpStream::builder(CLEAR).transport(own);
    let (client, accepted) = tokio::join!(connecting.connect(&addresses[..]), listener.accept());
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_millis(300), "{elapsed:?}");
    let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
    client.write_all(b"hello").await.expect("writes");
    client.flush().await.expect("flushes");
    server.read_exact(&mut [0; 5]).await.expect("reads");
}

#[tokio::test(start_paused = true)]
async fn time_out_bounds_all_addresses_together_and_each_is_listed() {
    let network = Network::default();
    let own = network.host();
    let silent: Vec<_> = (0..3).map(|_| network.host()).collect();
    let addresses: Vec<_> = silent.iter().map(|it| it.addr()).collect();
    let start = Instant::now();
    let connecting = KcpStream::builder(CLEAR).transport(own);
    let error = connecting
        .connect(&addresses[..])
        .await
        .expect_err("silence");
    let (elapsed, limit) = (start.elapsed(), Config::default().connect_timeout());
    assert!(
        elapsed.abs_diff(limit) < Duration::from_millis(10),
        "{elapsed:?}"
    );
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let inner = ConnectError::from_io(&error).expect("says what was tried");
    let tried: Vec<_> = inner.attempts().iter().map(|it| it.addr()).collect();
    assert_eq!(tried, addresses);
    for attempt in inner.attempts() {
        let reason = ConnectionError::from_io(attempt.error());
        assert_eq!(reason, Some(&ConnectionError::ConnectTimeout));
    }
}

#[tokio::test]
async fn silent_and_refusing_sockets_do_not_keep_the_third_from_connecting() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let refusing = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let addresses = [
        refusing.local_addr().expect("bound"),
        silent.local_addr().expect("bound"),
        echo("127.0.0.1:0").await,
    ];
    drop(refusing);
    let config = Config::builder().connect_timeout(Duration::from_secs(60));
    let config = config.build().expect("in range");
    let connecting = KcpStream::builder(CLEAR).config(&config);
    let connected =
        tokio::time::timeout(Duration::from_secs(20), connecting.connect(&addresses[..])).await;
    let mut stream = connected
        .expect("long before the time-out")
        .expect("connects");
    assert_eq!(stream.peer_addr().expect("known"), addresses[2]);
    check(&mut stream).await;
}

#[tokio::test]
async fn names_are_resolved_by_all_that_connect_or_bind() {
    let listener = KcpListener::bind("localhost:0", CLEAR)
        .await
        .expect("binds");
    let port = listener.local_addr().expect("bound").port();
    let name = format!("localhost:{port}");
    let accepting = tokio::spawn(async move {
        let mut accepted = Vec::new();
        while accepted.len() < 4 {
            accepted.push(listener.accept().await.expect("accepts").0);
        }
        accepted
    });
    let endpoint = KcpEndpoint::bind("localhost:0", CLEAR)
        .await
        .expect("binds");
    KcpStream::connect(&name, CLEAR).await.expect("connects");
    KcpMessageStream::connect(&name, CLEAR)
        .await
        .expect("connects");
    endpoint
        .connect(("localhost", port))
        .await
        .expect("connects");
    let lazy = KcpStream::builder(CLEAR).connect_lazy(&name).await;
    lazy.expect("opens").write_all(b"x").await.expect("writes");
    accepting.await.expect("four have connected");
}

#[tokio::test]
async fn every_spelling_of_an_address_connects() {
    let v4 = echo("127.0.0.1:0").await.port();
    let v6 = echo("[::1]:0").await.port();
    let labelled = SocketAddrV6::new("::1".parse().expect("an address"), v6, 7, 0);
    let scoped = SocketAddrV6::new("::1".parse().expect("an address"), v6, 0, 1);
    let mut spelled: Vec<SocketAddr> = vec![labelled.into(), scoped.into()];
    for text in ["0.0.0.0", "[::ffff:0.0.0.0]", "[::ffff:127.0.0.1]"] {
        spelled.push(format!("{text}:{v4}").parse().expect("an address"));
    }
    spelled.push(format!("[::]:{v6}").parse().expect("an address"));
    let endpoint = KcpEndpoint::bind("[::]:0", CLEAR).await.expect("binds");
    for addr in spelled {
        let mut stream = KcpStream::connect(addr, CLEAR).await.expect("connects");
        check(&mut stream).await;
        let mut stream = endpoint.connect(addr).await.expect("connects");
        check(&mut stream).await;
    }
}

#[tokio::test]
async fn client_sends_from_the_address_or_the_socket_it_was_given() {
    let server = echo("127.0.0.1:0").await;
    let mut free = KcpStream::builder(CLEAR)
        .local_addr(([127, 0, 0, 1], 0).into())
        .connect(server)
        .await
        .expect("connects");
    check(&mut free).await;
    let own = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let addr = own.local_addr().expect("bound");
    let mut stream = KcpStream::builder(CLEAR).socket(own).connect(server).await;
    let stream = stream.as_mut().expect("connects");
    assert_eq!(stream.local_addr().expect("known"), addr);
    check(stream).await;
    let moved = stream.rebind().expect_err("the socket is not ours");
    assert_eq!(moved.kind(), io::ErrorKind::Unsupported);
}

#[tokio::test]
async fn several_addresses_are_tried_from_one_socket_of_ones_own() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let addresses = [
        silent.local_addr().expect("bound"),
        echo("127.0.0.1:0").await,
    ];
    let own = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let local = own.local_addr().expect("bound");
    let connecting = KcpStream::builder(CLEAR)
        .conversation(ConversationId::new(77))
        .socket(own);
    let stream = connecting.connect(&addresses[..]).await;
    let mut stream = stream.expect("connects");
    assert_eq!(stream.local_addr().expect("known"), local);
    assert_eq!(stream.conversation(), ConversationId::new(77));
    check(&mut stream).await;
}

#[tokio::test]
async fn hook_sees_each_socket_before_it_is_bound() {
    let server = echo("127.0.0.1:0").await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    let stream = KcpStream::builder(CLEAR)
        .prepare_socket(move |socket| {
            // Windows gives a socket that is not bound no address.
            assert!(socket.local_addr().map_or(true, |addr| addr.port() == 0));
            counter.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .connect(server)
        .await;
    let mut stream = stream.expect("connects");
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    check(&mut stream).await;
    stream.rebind().expect("moves");
    assert_eq!(seen.load(Ordering::Relaxed), 2);
    check(&mut stream).await;
}

#[tokio::test]
async fn error_of_the_hook_is_that_of_connecting_and_binding() {
    let refuse = |_: &UdpSocket| Err(io::Error::new(io::ErrorKind::PermissionDenied, "not mine"));
    let connecting = KcpStream::builder(CLEAR).prepare_socket(refuse);
    let (kind, text) = refusal(connecting.connect("127.0.0.1:9")).await;
    assert_eq!(kind, io::ErrorKind::PermissionDenied);
    assert!(text.contains("127.0.0.1:9: not mine"), "{text}");
    let binding = KcpListener::builder(CLEAR).prepare_socket(refuse);
    let (kind, text) = refusal(binding.bind("127.0.0.1:0")).await;
    assert_eq!(kind, io::ErrorKind::PermissionDenied);
    assert!(text.contains("127.0.0.1:0: not mine"), "{text}");
}

#[tokio::test]
async fn endpoint_refuses_a_conversation() {
    let builder = KcpEndpoint::builder(CLEAR).conversation(ConversationId::new(7));
    let (kind, text) = refusal(builder.bind("127.0.0.1:0")).await;
    assert_eq!(kind, io::ErrorKind::InvalidInput);
    assert!(text.contains("conversation id"), "{text}");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn port_is_taken_once_unless_it_is_shared() {
    let config = |shards, share| {
        let config = ListenerConfig::builder().shards(shards).share_port(share);
        config.build().expect("in range")
    };
    let bind = |shards, share, addr| {
        let builder = KcpListener::builder(CLEAR).listener_config(&config(shards, share));
        builder.bind(addr)
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    for shards in [1, 2] {
        let first = bind(shards, false, any).await.expect("binds");
        let taken = first.local_addr().expect("bound");
        for others in [1, 2] {
            let second = bind(others, false, taken).await;
            let error = second.expect_err("the port is taken");
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{shards}, {others}");
            assert!(error.to_string().contains(&taken.to_string()), "{error}");
        }
    }
    let first = bind(1, true, any).await.expect("binds");
    let shared = first.local_addr().expect("bound");
    bind(2, true, shared).await.expect("shares the port");
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn peer_without_a_route_is_reported_at_once_with_the_error_of_the_system() {
    const ENETUNREACH: i32 = 101;
    let network = Network::default();
    let [own, peer] = [network.host(), network.host()];
    own.set_fault(Way::Send, Fault::Errno(ENETUNREACH));
    let start = Instant::now();
    let connecting = KcpStream::builder(CLEAR).transport(own);
    let error = connecting.connect(peer.addr()).await.expect_err("no route");
    assert!(start.elapsed() < Duration::from_millis(100));
    assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
    let Some(ConnectionError::Unreachable(reason)) = ConnectionError::from_io(&error) else {
        panic!("{error}");
    };
    assert_eq!(reason.code(), Some(ENETUNREACH));
    let system = io::Error::from_raw_os_error(ENETUNREACH).to_string();
    assert_eq!(error.to_string().matches(&system).count(), 1, "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn time_out_names_the_error_that_kept_every_datagram_from_being_sent() {
    const EPERM: i32 = 1;
    let network = Network::default();
    let [own, peer, other] = [network.host(), network.host(), network.host()];
    own.set_fault(Way::Send, Fault::Errno(EPERM));
    let connecting = KcpStream::builder(CLEAR).transport(own);
    let error = connecting
        .connect(peer.addr())
        .await
        .expect_err("nothing leaves");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    // A connection that stood ends so too, unless something is sent at last.
    let listener = KcpListener::builder(CLEAR).on_transport(peer.clone());
    let listener = listener.expect("in range");
    let connecting = KcpStream::builder(CLEAR).transport(other.clone());
    let (client, _accepted) = tokio::join!(connecting.connect(peer.addr()), listener.accept());
    let mut client = client.expect("connects");
    other.set_fault(Way::Send, Fault::Errno(EPERM));
    client.write_all(b"lost").await.expect("is queued");
    client.flush().await.expect("is tried");
    let error = client.read_u8().await.expect_err("ends");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn time_out_of_a_silent_peer_is_not_blamed_on_an_error_that_passed() {
    const EPERM: i32 = 1;
    let network = Network::default();
    let [own, silent] = [network.host(), network.host()];
    own.set_fault(Way::Send, Fault::Errno(EPERM));
    let healing = Arc::clone(&own);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        healing.set_fault(Way::Send, Fault::None);
    });
    let connecting = KcpStream::builder(CLEAR).transport(own);
    let error = connecting
        .connect(silent.addr())
        .await
        .expect_err("silence");
    let reason = ConnectionError::from_io(&error);
    assert_eq!(reason, Some(&ConnectionError::ConnectTimeout));
}

/// A relay in front of the server closes its socket without a word, as a process that is killed does.
#[tokio::test]
async fn client_learns_of_a_killed_server_in_two_seconds() {
    let server = echo("127.0.0.1:0").await;
    let relay = tokio::net::UdpSocket::bind("127.0.0.1:0").await;
    let relay = relay.expect("binds");
    let addr = relay.local_addr().expect("bound");
    let relaying = tokio::spawn(async move {
        let (mut buffer, mut client) = ([0; 2000], server);
        while let Ok((len, from)) = relay.recv_from(&mut buffer).await {
            if from != server {
                client = from;
            }
            let to = if from == server { client } else { server };
            let _ = relay.send_to(&buffer[..len], to).await;
        }
    });
    let mut client = KcpStream::connect(addr, CLEAR).await.expect("connects");
    check(&mut client).await;
    relaying.abort();
    let _ = relaying.await;
    let killed = Instant::now();
    client.write_all(b"call").await.expect("writes");
    client.flush().await.expect("flushes");
    let error = client.read(&mut [0; 5]).await.expect_err("is gone");
    assert_eq!(
        ConnectionError::from_io(&error),
        Some(&ConnectionError::PeerGone)
    );
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let waited = killed.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
}
