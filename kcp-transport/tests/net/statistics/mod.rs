//! Statistics of endpoints, mostly over real sockets on loopback.

#[path = "../../cancel/network.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod network;

mod counters;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use kcp_transport::config::{Config, Extensions, ListenerConfig};
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use network::Network;

#[tokio::test]
async fn endpoint_counts_its_connections_and_adds_them_up() {
    let security = Security::from_password("aes-128-gcm", "test", b"kcp-go").expect("known name");
    let config = Config::default();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = KcpListener::builder(&security)
        .config(&config)
        .bind(any)
        .await
        .expect("binds");
    let addr = listener.local_addr().expect("bound");
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let (client, server) = tokio::join!(
            KcpStream::builder(&security).config(&config).connect(addr),
            listener.accept()
        );
        let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
        client.write_all(&[1; 1000]).await.expect("writes");
        client.flush().await.expect("flushes");
        server.read_exact(&mut [0; 1000]).await.expect("reads");
        pairs.push((client, server));
    }
    let stats = listener.stats();
    assert_eq!((stats.passive_opens, stats.active_opens), (3, 0));
    assert_eq!((stats.connections, stats.max_connections), (3, 3));
    assert!(stats.wire_bytes_received >= 3000);
    assert_eq!(listener.totals().bytes_read, 3000);

    let (client, server) = pairs.pop().expect("three");
    let own = client.info().endpoint_stats();
    assert_eq!((own.active_opens, own.passive_opens), (1, 0));
    let (sent, received) = (client.stats(), server.stats());
    assert!(received.wire_bytes_received > 1000);
    assert!(sent.wire_bytes_sent >= received.wire_bytes_received);
    assert_eq!(sent.bytes_written, 1000);
    let end = server.datagrams();
    drop((client, server));
    // An abandoned session stays until its peer has been silent for three seconds.
    let ended = tokio::time::timeout(Duration::from_secs(20), end.recv()).await;
    ended.expect("ends").expect_err("has ended");
    let stats = listener.stats();
    assert_eq!((stats.connections, stats.max_connections), (2, 3));
    let totals = listener.totals();
    assert_eq!(totals.bytes_read, 3000, "what ended still counts");
    assert!(totals.to_string().contains("bytes_read "), "{totals}");
}

#[tokio::test]
async fn work_of_the_task_of_a_socket_is_counted() {
    let security = Security::from_password("aes-128-gcm", "test", b"kcp-go").expect("known name");
    let began = Instant::now();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = KcpListener::bind(any, &security).await.expect("binds");
    let addr = listener.local_addr().expect("bound");
    let (client, server) = tokio::join!(KcpStream::connect(addr, &security), listener.accept());
    let (mut client, (mut server, _)) = (client.expect("connects"), server.expect("accepts"));
    let (sent, mut received) = (vec![1; 1_000_000], vec![0; 1_000_000]);
    let sending = async { client.write_all(&sent).await };
    let (written, read) = tokio::join!(sending, server.read_exact(&mut received));
    written.and(read.map(|_| ())).expect("is whole");
    for stats in [listener.stats(), client.info().endpoint_stats()] {
        let most = began.elapsed().as_micros();
        assert!((1..most).contains(&stats.busy_micros.into()), "{stats}");
    }
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_backlog_are_counted_and_come_later() {
    for extensions in [Extensions::Off, Extensions::On] {
        let config = Config::builder()
            .connect_timeout(Duration::from_secs(20))
            .extensions(extensions);
        beyond_the_backlog(config.build().expect("in range")).await;
    }
}

async fn beyond_the_backlog(config: Config) {
    let short = ListenerConfig::builder().backlog(1).build();
    let network = Network::new(1, 0.0, Duration::from_millis(5));
    let host = network.host();
    let listener = KcpListener::builder(&Security::Plaintext)
        .listener_config(&short.expect("in range"))
        .config(&config)
        .on_transport(host.clone());
    let listener = listener.expect("in range");
    let connect = || {
        let (network, config, addr) = (network.clone(), config.clone(), host.addr());
        async move {
            let host = network.host();
            KcpStream::builder(&Security::Plaintext)
                .config(&config)
                .transport(host)
                .connect(addr)
                .await
        }
    };
    let _first = connect().await.expect("connects");
    let second = tokio::spawn(connect());
    // Virtual time passes only once all other tasks wait.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(listener.stats().backlog_full > 0);
    assert_eq!(listener.stats().passive_opens, 1);
    listener.accept().await.expect("accepts");
    second.await.expect("no panic").expect("connects");
    assert_eq!(listener.stats().passive_opens, 2);
}

// Windows cannot set it on IPv6 sockets; see docs/platforms.md.
#[cfg(unix)]
#[tokio::test]
async fn code_point_and_buffer_size_are_set_on_v4_and_v6_sockets() {
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let socket = std::net::UdpSocket::bind(addr).expect("binds");
        let same = socket2::Socket::from(socket.try_clone().expect("clones"));
        let config = Config::builder()
            .dscp(46)
            .socket_buffer(64 * 1024)
            .build()
            .expect("in range");
        let _listener = KcpListener::builder(&Security::Plaintext)
            .config(&config)
            .on_socket(socket)
            .expect("starts");
        let class = if addr.starts_with('[') {
            same.tclass_v6()
        } else {
            same.tos_v4()
        };
        assert_eq!(class.expect("asks"), 46 << 2, "{addr}: above the ECN bits");
        // Linux reports twice the requested size, to account for its own use.
        for size in [same.recv_buffer_size(), same.send_buffer_size()] {
            let size = size.expect("asks");
            assert!((64 * 1024..=128 * 1024).contains(&size), "{addr}: {size}");
        }
    }
}
