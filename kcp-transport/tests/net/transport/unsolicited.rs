//! Packets of peers without a session at the listener, or without one any more, in virtual time.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::{Config, ListenerConfig};
use kcp_transport::crypto::Security;
use kcp_transport::error::ConnectionError;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};
use kcp_transport::testing::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::flood::{Beginning, flood, listen, visit};
use super::memory::{Fault, Host, Network, Way};

#[tokio::test(start_paused = true)]
async fn genuine_peers_connect_while_forged_openings_flood_the_listener() {
    let network = Network::default();
    let (host, _listener) = listen(&network);
    let server = host.addr();
    let mut rng = Rng::new(2);
    // The limit of unvalidated sessions is reached.
    flood(Arc::clone(&host), &mut rng, 20_000).await;
    let mut visits = JoinSet::new();
    for index in 0..500 {
        flood(Arc::clone(&host), &mut rng, 1000).await;
        let network = network.clone();
        let begin = [Beginning::Probe, Beginning::Data][index % 2];
        visits.spawn(async move {
            let visit = visit(&network, server, begin);
            timeout(Duration::from_secs(3), visit)
                .await
                .is_ok_and(|it| it.is_ok())
        });
    }
    flood(Arc::clone(&host), &mut rng, 150_000).await;
    let results = visits.join_all().await;
    let well = results.iter().filter(|&&well| well).count();
    assert!(
        well * 100 >= results.len() * 99,
        "{well} of {}",
        results.len()
    );
}

/// Answering such a datagram fails with an error that also stands for missing segmentation offload.
#[tokio::test(start_paused = true)]
async fn datagrams_from_addresses_that_cannot_be_answered_are_dropped_and_counted() {
    let network = Network::default();
    let (host, listener) = listen(&network);
    let opening = opening_of(&network).await;
    let sources = [
        "10.9.9.9:0",
        "0.0.0.0:9",
        "224.0.0.1:9",
        "255.255.255.255:9",
        "[::]:9",
        "[ff02::1]:9",
    ];
    for source in sources {
        host.inject(source.parse().expect("an address"), &opening);
    }
    sleep(Duration::from_secs(1)).await;
    let stats = listener.stats();
    assert_eq!(stats.unanswerable, sources.len() as u64);
    assert_eq!((stats.datagrams_received, stats.passive_opens), (6, 0));
    assert_eq!(host.calls(Way::Send), 0);
}

/// The first datagram of a client.
async fn opening_of(network: &Network) -> Vec<u8> {
    let (client, server) = (network.host(), network.host());
    let endpoint = KcpEndpoint::builder(&Security::Plaintext)
        .transport(client)
        .endpoint();
    let endpoint = endpoint.expect("in range");
    let mut stream = endpoint.connect_lazy(server.addr()).await.expect("opens");
    stream.write_all(b"first").await.expect("writes");
    stream.flush().await.expect("flushes");
    server.history().swap_remove(0)
}

/// As behind a NAT or a load balancer.
#[tokio::test(start_paused = true)]
async fn five_thousand_connections_open_from_one_address_without_a_wait() {
    let network = Network::default();
    let (host, listener) = listen(&network);
    let server = host.addr();
    let clients = network.host();
    clients.forget_history();
    let endpoint = KcpEndpoint::builder(&Security::Plaintext)
        .transport(clients)
        .endpoint();
    let endpoint = Arc::new(endpoint.expect("in range"));
    let mut open = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..80 {
        let started = Instant::now();
        let mut burst = JoinSet::new();
        for _ in 0..64 {
            let endpoint = Arc::clone(&endpoint);
            burst.spawn(async move { endpoint.connect(server).await });
        }
        for stream in burst.join_all().await {
            open.push(stream.expect("connects"));
        }
        longest = longest.max(started.elapsed());
    }
    // Connecting is done at the first answer, which may be a challenge; an echo takes a session.
    let started = Instant::now();
    let mut greeting = [0; 5];
    let last = open.last_mut().expect("connected");
    last.read_exact(&mut greeting).await.expect("is greeted");
    longest = longest.max(started.elapsed());
    let stats = listener.stats();
    assert!(longest < Duration::from_millis(40), "{longest:?}\n{stats}");
    assert_eq!((stats.over_rate, stats.connections), (0, open.len()));
}

/// A stock peer repeats a first packet that was dropped after 200 ms.
#[tokio::test(start_paused = true)]
async fn first_packets_are_kept_while_their_sender_is_challenged() {
    for request in [4, 5000] {
        let network = Network::default();
        let (host, client) = (network.host(), network.host());
        let config = ListenerConfig::builder().max_unvalidated(0).build();
        let (config, security) = (config.expect("in range"), Security::Plaintext);
        let listener = KcpListener::builder(&security)
            .listener_config(&config)
            .on_transport(host.clone());
        let listener = listener.expect("in range");
        let endpoint = KcpEndpoint::builder(&security).transport(client).endpoint();
        let endpoint = endpoint.expect("in range");
        let started = Instant::now();
        let mut stream = endpoint.connect_lazy(host.addr()).await.expect("opens");
        stream.write_all(&vec![1; request]).await.expect("writes");
        stream.flush().await.expect("flushes");
        let (mut server, _) = listener.accept().await.expect("accepts");
        server
            .read_exact(&mut vec![0; request])
            .await
            .expect("reads");
        let took = started.elapsed();
        assert_eq!(listener.stats().addresses_challenged, 1);
        assert!(took < Duration::from_millis(20), "{took:?}");
    }
}

fn bind(host: &Arc<Host>) -> KcpListener {
    let (security, config) = (Security::Plaintext, Config::default());
    KcpListener::builder(&security)
        .config(&config)
        .on_transport(host.clone())
        .expect("in range")
}

async fn connect(network: &Network, server: SocketAddr) -> KcpStream {
    let (security, config) = (Security::Plaintext, Config::default());
    KcpStream::builder(&security)
        .config(&config)
        .transport(network.host())
        .connect(server)
        .await
        .expect("connects")
}

async fn send(from: &mut KcpStream, to: &mut KcpStream, what: &[u8]) {
    from.write_all(what).await.expect("writes");
    from.flush().await.expect("flushes");
    let mut received = vec![0; what.len()];
    to.read_exact(&mut received).await.expect("reads");
    assert_eq!(received, what);
}

/// Ends the process of the server without closing sessions, and starts another at the same address.
fn restart(network: &Network, host: &Host) -> (Arc<Host>, KcpListener) {
    for way in [Way::Receive, Way::Send] {
        host.set_fault(way, Fault::Poll(io::ErrorKind::BrokenPipe));
    }
    let host = network.host_at(host.addr());
    let listener = bind(&host);
    (host, listener)
}

async fn assert_no_ghost(listener: &KcpListener) {
    let ghost = timeout(Duration::from_secs(100), listener.accept()).await;
    assert!(ghost.is_err(), "accepted a session that no peer opened");
    assert_eq!(listener.stats().passive_opens, 0);
}

#[tokio::test(start_paused = true)]
async fn writer_detects_a_restarted_server_at_its_first_retransmission() {
    let network = Network::default();
    let host = network.host();
    let (addr, listener) = (host.addr(), bind(&host));
    let mut client = connect(&network, addr).await;
    let (mut server, _) = listener.accept().await.expect("accepts");
    send(&mut client, &mut server, b"request").await;
    let (_host, listener) = restart(&network, &host);
    let restarted = Instant::now();
    client.write_all(b"another").await.expect("is queued");
    client.flush().await.expect("is sent");
    let error = client.read_u8().await.expect_err("the server forgot it");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(
        // The client sends eight probes before it accepts the answer.
        restarted.elapsed() < Duration::from_millis(2500),
        "{:?}",
        restarted.elapsed()
    );
    assert_no_ghost(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn reader_detects_a_restarted_server_at_its_next_keepalive() {
    for answered in [false, true] {
        let network = Network::default();
        let host = network.host();
        let (addr, listener) = (host.addr(), bind(&host));
        let mut client = connect(&network, addr).await;
        let (mut server, _) = listener.accept().await.expect("accepts");
        send(&mut client, &mut server, b"request").await;
        if answered {
            send(&mut server, &mut client, b"answer").await;
        }
        let (_host, listener) = restart(&network, &host);
        let restarted = Instant::now();
        let error = client.read_u8().await.expect_err("the server forgot it");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(
            restarted.elapsed() < Duration::from_millis(22_500),
            "{:?}",
            restarted.elapsed()
        );
        assert_no_ghost(&listener).await;
    }
}

/// The client has sent no data for the new process to miss. Its probes carry that, and are not
/// answered: any answer would keep the session open for ever.
#[tokio::test(start_paused = true)]
async fn peer_that_has_only_read_detects_a_restarted_server_at_the_idle_time_out() {
    let network = Network::default();
    let host = network.host();
    let (addr, listener) = (host.addr(), bind(&host));
    let mut client = connect(&network, addr).await;
    let (mut server, _) = listener.accept().await.expect("accepts");
    send(&mut server, &mut client, b"news").await;
    let (_host, listener) = restart(&network, &host);
    let restarted = Instant::now();
    let error = client.read_u8().await.expect_err("the server forgot it");
    let took = restarted.elapsed();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    let source = error.get_ref().and_then(|it| it.downcast_ref());
    assert_eq!(source, Some(&ConnectionError::IdleTimeout));
    let idle = Config::default().idle_timeout().expect("is on");
    assert!(
        (idle - Duration::from_secs(1)..idle + Duration::from_secs(1)).contains(&took),
        "{took:?}"
    );
    assert_no_ghost(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn pooled_connection_that_its_server_closed_ends_at_the_next_keepalive() {
    let network = Network::default();
    let host = network.host();
    let (addr, listener) = (host.addr(), bind(&host));
    let mut client = connect(&network, addr).await;
    let (mut server, _) = listener.accept().await.expect("accepts");
    send(&mut client, &mut server, b"request").await;
    send(&mut server, &mut client, b"answer").await;
    drop(server);
    let closed = Instant::now();
    client.read_u8().await.expect_err("the server closed it");
    assert!(
        closed.elapsed() < Duration::from_secs(25),
        "{:?}",
        closed.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn both_sides_closing_at_a_time_loses_nothing_and_fails_neither() {
    let network = Network::default();
    let host = network.host();
    let (addr, listener) = (host.addr(), bind(&host));
    for round in 0..200_u64 {
        let mut client = connect(&network, addr).await;
        let (mut server, _) = listener.accept().await.expect("accepts");
        send(&mut client, &mut server, b"request").await;
        client.write_all(b"last words").await.expect("writes");
        server.write_all(b"and mine").await.expect("writes");
        let both = tokio::join!(
            async {
                sleep(Duration::from_millis(round % 7)).await;
                client.shutdown().await
            },
            server.shutdown(),
        );
        both.0.expect("drains");
        both.1.expect("drains");
        let (mut here, mut there) = ([0; 8], [0; 10]);
        client.read_exact(&mut here).await.expect("arrived");
        server.read_exact(&mut there).await.expect("arrived");
    }
}

/// All packets of a client arrive again, late and in any order, after its session was closed or its
/// server was restarted.
#[tokio::test(start_paused = true)]
async fn ten_thousand_closes_and_restarts_leave_no_session() {
    let network = Network::default();
    let mut rng = Rng::new(7);
    let mut host = network.host();
    let addr = host.addr();
    let mut listener = bind(&host);
    let mut ghosts = 0;
    for cycle in 0..10_000 {
        host.take_history();
        let mut client = connect(&network, addr).await;
        let (mut server, _) = listener.accept().await.expect("accepts");
        for _ in 0..=rng.below(3) {
            send(&mut client, &mut server, b"request").await;
            if rng.chance(0.5) {
                send(&mut server, &mut client, b"answer").await;
            }
        }
        let mut late = host.take_history();
        if rng.chance(0.5) {
            (host, listener) = restart(&network, &host);
            // A repeated first packet opens a session again: a listener cannot tell the two apart.
            late.retain(|(_, datagram)| !begins(datagram));
        } else {
            drop(server);
            sleep(Duration::from_secs(20)).await;
        }
        drop(client);
        for _ in 0..late.len() {
            let (from, datagram) = &late[rng.below(late.len() as u64) as usize];
            host.inject(*from, datagram);
        }
        let ghost = timeout(Duration::from_millis(50), listener.accept()).await;
        ghosts += u32::from(ghost.is_ok());
        assert_eq!(ghosts, 0, "in cycle {cycle}");
    }
}

/// Whether a datagram is the first of a conversation: nothing was sent or received before.
fn begins(datagram: &[u8]) -> bool {
    datagram[12..20] == [0; 8] && matches!(datagram[4], 81 | 83)
}
