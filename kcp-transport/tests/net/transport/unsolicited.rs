//! Packets of peers a listener does not know, or no longer, in virtual time.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::error::ConnectionError;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::testing::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::flood::{Beginning, flood, listen, visit};
use super::memory::{Fault, Host, Network, Way};

#[tokio::test(start_paused = true)]
async fn honest_peers_get_in_while_forged_openings_flood_the_listener() {
    let network = Network::default();
    let (host, _listener) = listen(&network);
    let server = host.addr();
    let mut rng = Rng::new(2);
    // All room for the unproven is taken.
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

fn bind(host: &Arc<Host>) -> KcpListener {
    let (security, config) = (Security::Plaintext, Config::default());
    KcpListener::from_transport(host.clone(), &security, &config).expect("in range")
}

async fn connect(network: &Network, server: SocketAddr) -> KcpStream {
    let (security, config) = (Security::Plaintext, Config::default());
    KcpStream::connect_transport(network.host(), server, &security, &config)
        .await
        .expect("connects")
}

async fn say(from: &mut KcpStream, to: &mut KcpStream, what: &[u8]) {
    from.write_all(what).await.expect("writes");
    from.flush().await.expect("flushes");
    let mut heard = vec![0; what.len()];
    to.read_exact(&mut heard).await.expect("reads");
    assert_eq!(heard, what);
}

/// The server's process is gone without a word, and another takes its place.
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
    assert!(ghost.is_err(), "accepted what nobody opened");
    assert_eq!(listener.stats().passive_opens, 0);
}

#[tokio::test(start_paused = true)]
async fn writer_learns_of_a_restarted_server_at_its_first_retransmission() {
    let network = Network::default();
    let host = network.host();
    let (addr, listener) = (host.addr(), bind(&host));
    let mut client = connect(&network, addr).await;
    let (mut server, _) = listener.accept().await.expect("accepts");
    say(&mut client, &mut server, b"request").await;
    let (_host, listener) = restart(&network, &host);
    let restarted = Instant::now();
    client.write_all(b"another").await.expect("is queued");
    client.flush().await.expect("is sent");
    let error = client.read_u8().await.expect_err("the server forgot it");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert!(
        // Eight questions are asked before it is believed.
        restarted.elapsed() < Duration::from_millis(2500),
        "{:?}",
        restarted.elapsed()
    );
    assert_no_ghost(&listener).await;
}

#[tokio::test(start_paused = true)]
async fn reader_learns_of_a_restarted_server_at_its_next_keepalive() {
    for answered in [false, true] {
        let network = Network::default();
        let host = network.host();
        let (addr, listener) = (host.addr(), bind(&host));
        let mut client = connect(&network, addr).await;
        let (mut server, _) = listener.accept().await.expect("accepts");
        say(&mut client, &mut server, b"request").await;
        if answered {
            say(&mut server, &mut client, b"answer").await;
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

/// It has sent nothing that the new process could be seen to have forgotten. Its probes say so, and
/// get no answer there: any would keep it waiting for ever.
#[tokio::test(start_paused = true)]
async fn who_has_only_ever_read_learns_of_a_restarted_server_at_the_idle_time_out() {
    let network = Network::default();
    let host = network.host();
    let (addr, listener) = (host.addr(), bind(&host));
    let mut client = connect(&network, addr).await;
    let (mut server, _) = listener.accept().await.expect("accepts");
    say(&mut server, &mut client, b"news").await;
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
    say(&mut client, &mut server, b"request").await;
    say(&mut server, &mut client, b"answer").await;
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
        say(&mut client, &mut server, b"request").await;
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

/// Everything a client ever sent arrives again, late and in any order, after its session was
/// closed or its server was restarted.
#[tokio::test(start_paused = true)]
async fn ten_thousand_closes_and_restarts_leave_no_ghost() {
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
            say(&mut client, &mut server, b"request").await;
            if rng.chance(0.5) {
                say(&mut server, &mut client, b"answer").await;
            }
        }
        let mut late = host.take_history();
        if rng.chance(0.5) {
            (host, listener) = restart(&network, &host);
            // What begins a session begins one, also the second time: nobody can tell.
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

/// Whether a datagram is one in which nothing was sent or received before.
fn begins(datagram: &[u8]) -> bool {
    datagram[12..20] == [0; 8] && matches!(datagram[4], 81 | 83)
}
