//! Streams and listeners over a transport that is no socket, and what its errors do to them.

mod broken;
mod flood;
mod forgery;
pub(crate) mod memory;
mod migration;
mod neighbours;
mod pressure;
mod secrecy;
mod shards;
mod unsolicited;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use memory::{Fault, Host, Network, Way};

/// A connection over a network in memory.
struct Setup {
    client: KcpStream,
    server: KcpStream,
    listener: KcpListener,
    client_host: Arc<Host>,
    server_host: Arc<Host>,
    network: Network,
}

impl Setup {
    async fn new(config: &Config) -> Self {
        let network = Network::default();
        let (client_host, server_host) = (network.host(), network.host());
        let listener = KcpListener::builder(&security())
            .config(config)
            .on_transport(server_host.clone())
            .expect("in range");
        let addr = server_host.addr();
        let security = security();
        let (client, server) = tokio::join!(
            KcpStream::builder(&security)
                .config(config)
                .transport(client_host.clone())
                .connect(addr),
            listener.accept(),
        );
        Self {
            client: client.expect("connects"),
            server: server.expect("accepts").0,
            listener,
            client_host,
            server_host,
            network,
        }
    }

    fn host(&self, side: Side) -> &Arc<Host> {
        match side {
            Side::Client => &self.client_host,
            Side::Server => &self.server_host,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

fn security() -> Security {
    Security::from_password("aes-128-gcm", "test", b"salt").expect("known name")
}

/// Gives up only after far longer than the faults last.
fn patient() -> Config {
    Config::builder()
        .user_timeout(Duration::from_secs(120))
        .idle_timeout(Duration::from_secs(240))
        .build()
        .expect("in range")
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index * 7 + index / 251) as u8)
        .collect()
}

/// Writes and reads `data` in both directions at a time.
async fn exchange(client: &mut KcpStream, server: &mut KcpStream, data: &[u8]) {
    async fn both(stream: &mut KcpStream, data: &[u8]) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut received = vec![0; data.len()];
        let (written, read) = tokio::join!(
            async {
                writer.write_all(data).await?;
                writer.flush().await
            },
            reader.read_exact(&mut received),
        );
        written.expect("writes");
        read.expect("reads");
        assert!(received == data, "received something else");
    }
    tokio::join!(both(client, data), both(server, data));
}

#[tokio::test(start_paused = true)]
async fn streams_run_over_any_transport() {
    let mut setup = Setup::new(&Config::default()).await;
    exchange(&mut setup.client, &mut setup.server, &pattern(3_000_000)).await;
    assert_eq!(
        setup.client.local_addr().expect("known"),
        setup.client_host.addr()
    );
    assert_eq!(
        setup.client.peer_addr().expect("known"),
        setup.server_host.addr()
    );
    setup.client.shutdown().await.expect("drains");
}

#[tokio::test(start_paused = true)]
async fn streams_survive_a_transport_that_loses_most() {
    let mut setup = Setup::new(&patient()).await;
    setup.client_host.set_fault(Way::Send, Fault::Loss);
    exchange(&mut setup.client, &mut setup.server, &pattern(50_000)).await;
}

/// All data has arrived by then, and the rest goes on in the background.
#[tokio::test(start_paused = true)]
async fn shutdown_returns_after_five_unanswered_end_frames() {
    let mut setup = Setup::new(&Config::default()).await;
    exchange(&mut setup.client, &mut setup.server, b"hello").await;
    sleep(Duration::from_secs(1)).await;
    // What is sent to the client goes here from now on.
    let _other = setup.network.host_at(setup.client_host.addr());
    setup.server_host.take_history();
    setup.client.shutdown().await.expect("all has arrived");
    assert_eq!(setup.server_host.history().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn transport_is_dropped_once_its_stream_has_ended() {
    let Setup {
        client,
        client_host,
        ..
    } = Setup::new(&Config::default()).await;
    let before = Arc::strong_count(&client_host);
    drop(client);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(Arc::strong_count(&client_host), before - 1);
}

/// Errors that concern one datagram, or the moment.
#[cfg(target_os = "linux")]
const PASSING: &[(&str, i32)] = &[
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("ENODEV", 19),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EPROTO", 71),
    ("EDESTADDRREQ", 89),
    ("EMSGSIZE", 90),
    ("ENOPROTOOPT", 92),
    ("EOPNOTSUPP", 95),
    ("EAFNOSUPPORT", 97),
    ("EADDRNOTAVAIL", 99),
    ("ENETDOWN", 100),
    ("ENETUNREACH", 101),
    ("ENETRESET", 102),
    ("ECONNABORTED", 103),
    ("ECONNRESET", 104),
    ("ENOBUFS", 105),
    ("EISCONN", 106),
    ("ENOTCONN", 107),
    ("ESHUTDOWN", 108),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
    ("EHOSTDOWN", 112),
    ("EHOSTUNREACH", 113),
    ("EALREADY", 114),
    ("EINPROGRESS", 115),
];

/// Half a minute in which one side of one host only fails, with data to move both ways.
async fn check_survival(side: Side, way: Way, fault: Fault, len: usize) {
    let setup = Setup::new(&patient()).await;
    setup.host(side).set_fault(way, fault);
    let Setup {
        mut client,
        mut server,
        ..
    } = setup;
    let infos = [client.info(), server.info()];
    let info = &infos[usize::from(side == Side::Server)];
    let data = pattern(len);
    let exchanging = tokio::spawn(async move {
        exchange(&mut client, &mut server, &data).await;
        (client, server)
    });
    sleep(Duration::from_secs(30)).await;
    let host = match side {
        Side::Client => &setup.client_host,
        Side::Server => &setup.server_host,
    };
    let (calls, sent) = (host.calls(way), info.stats().datagrams_sent);
    let most = match (way, fault) {
        // 16 pauses a second; two calls show that a transport lies about being ready.
        (Way::Receive, Fault::FalseReadiness) => 2 * 16 * 30,
        (Way::Receive, _) => 16 * 30 + 10,
        // Five calls for one datagram show the same; there are retransmissions and probes.
        (Way::Send, _) => 5 * usize::try_from(sent.min(40 * 30)).expect("few") + 5,
    };
    assert!(calls <= most, "{calls} calls in {side:?} {way:?} {fault:?}");
    host.set_fault(way, Fault::None);
    let (_client, _server) = timeout(Duration::from_secs(70), exchanging)
        .await
        .unwrap_or_else(|_| panic!("stuck after {side:?} {way:?} {fault:?}"))
        .unwrap_or_else(|_| panic!("lost to {side:?} {way:?} {fault:?}"));
    // The listener still accepts.
    let (config, security) = (patient(), security());
    let (another, addr) = (setup.network.host(), setup.server_host.addr());
    let (connected, accepted) = tokio::join!(
        KcpStream::builder(&security)
            .config(&config)
            .transport(another)
            .connect(addr),
        setup.listener.accept(),
    );
    connected.expect("connects");
    accepted.expect("accepts");
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn session_survives_half_a_minute_of_every_error_at_every_call() {
    for &(_, errno) in PASSING {
        for side in [Side::Client, Side::Server] {
            for fault in [Fault::Errno(errno), Fault::BlockedThen(errno)] {
                // Little is sent by the driver, much by the writer.
                for len in [100, 60_000] {
                    check_survival(side, Way::Send, fault, len).await;
                }
                // A client that is refused and receives nothing for a second takes its peer for gone.
                if (side, errno) != (Side::Client, ECONNREFUSED) {
                    check_survival(side, Way::Receive, fault, 1000).await;
                }
            }
        }
    }
}

#[cfg(target_os = "linux")]
const ECONNREFUSED: i32 = 111;

/// An error of the system `times` times at a call, during a transfer.
#[cfg(target_os = "linux")]
async fn check_storm(side: Side, way: Way, errno: i32, times: usize) {
    let mut setup = Setup::new(&patient()).await;
    let host = Arc::clone(setup.host(side));
    host.forget_history();
    host.set_fault(way, Fault::Third(errno));
    let data = pattern(200_000);
    while host.failed(way) < times {
        let transfer = exchange(&mut setup.client, &mut setup.server, &data);
        timeout(Duration::from_secs(60), transfer)
            .await
            .unwrap_or_else(|_| panic!("stuck at errno {errno} in {side:?} {way:?}"));
    }
    // Each call does work, or fails: nothing spins.
    assert!(host.calls(way) <= 3 * host.failed(way) + 3);
    if side == Side::Server {
        // The listener accepts during the errors.
        let (config, security) = (patient(), security());
        let (another, addr) = (setup.network.host(), setup.server_host.addr());
        let (connected, accepted) = tokio::join!(
            KcpStream::builder(&security)
                .config(&config)
                .transport(another)
                .connect(addr),
            setup.listener.accept(),
        );
        connected.expect("connects");
        accepted.expect("accepts");
        let stats = setup.listener.stats();
        let counted = match way {
            Way::Receive => stats.receive_errors,
            Way::Send => stats.send_errors,
        };
        // Each third call that would block is no error to count.
        assert!(
            errno == 11 || counted as usize >= times,
            "{counted} counted"
        );
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn every_error_of_the_system_a_thousand_times_at_every_call_is_survived() {
    // Emulated systems are too slow for a thousand; see docs/platforms.md.
    let times = std::env::var("KCP_TEST_ERRORS").map_or(1000, |it| it.parse().expect("a number"));
    for side in [Side::Client, Side::Server] {
        for way in [Way::Receive, Way::Send] {
            for &(_, errno) in PASSING {
                check_storm(side, way, errno, times).await;
            }
        }
    }
}

/// Each third call would block although something is there, and the one after it does not.
#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn calls_that_would_block_before_and_after_one_that_does_not_are_no_errors() {
    let mut setup = Setup::new(&Config::default()).await;
    setup
        .server_host
        .set_fault(Way::Receive, Fault::Third(EAGAIN));
    for _ in 0..20 {
        exchange(&mut setup.client, &mut setup.server, b"a word").await;
    }
    assert!(setup.server_host.failed(Way::Receive) >= 20);
    assert_eq!(setup.listener.stats().receive_errors, 0);
}

#[tokio::test(start_paused = true)]
async fn transport_that_reports_readiness_wrongly_does_not_spin() {
    for side in [Side::Client, Side::Server] {
        check_survival(side, Way::Receive, Fault::FalseReadiness, 1000).await;
        check_survival(side, Way::Send, Fault::FalseReadiness, 60_000).await;
    }
}

/// A closed transport wakes all tasks that wait on that side.
async fn check_end(side: Side, way: Way, fault: Fault) {
    let context = format!("{side:?} {way:?} {fault:?}");
    let setup = Setup::new(&patient()).await;
    let Setup { client, server, .. } = setup;
    let (stream, peer) = match side {
        Side::Client => (client, server),
        Side::Server => (server, client),
    };
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move { reader.read_u8().await.map(|_| ()) });
    // The peer reads nothing, so the writer waits for room in the end.
    let writing = tokio::spawn(async move { writer.write_all(&pattern(20_000_000)).await });
    let listener = setup.listener;
    let accepting = tokio::spawn(async move { listener.accept().await.map(|_| ()) });
    sleep(Duration::from_secs(1)).await;
    let host = match side {
        Side::Client => &setup.client_host,
        Side::Server => &setup.server_host,
    };
    host.set_fault(way, fault);
    // Something to receive, and to answer.
    let mut peer = peer;
    peer.write_all(b"x").await.expect("writes");
    let mut waiters = vec![("reader", reading), ("writer", writing)];
    match side {
        Side::Client => accepting.abort(),
        Side::Server => waiters.push(("accept", accepting)),
    }
    for (who, waiting) in waiters {
        let result = timeout(Duration::from_millis(100), waiting)
            .await
            .unwrap_or_else(|_| panic!("{who} waits after {context}"))
            .expect("no panic");
        // What came before the end may still be read.
        if who != "reader" || way == Way::Receive {
            result.expect_err("fails");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn closed_transport_wakes_every_waiter_with_an_error() {
    for side in [Side::Client, Side::Server] {
        for way in [Way::Receive, Way::Send] {
            #[cfg(unix)]
            check_end(side, way, Fault::Errno(9)).await;
            #[cfg(target_os = "linux")]
            for errno in [32, 88] {
                check_end(side, way, Fault::Errno(errno)).await;
            }
            if way == Way::Receive {
                check_end(side, way, Fault::Poll(io::ErrorKind::Other)).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn endpoint_of_a_closed_transport_returns_an_error() {
    let network = Network::default();
    let (host, peer) = (network.host(), network.host());
    let endpoint = KcpEndpoint::builder(&security())
        .config(&patient())
        .transport(host.clone())
        .endpoint()
        .expect("in range");
    let connecting = endpoint.connect(peer.addr());
    let closing = async {
        sleep(Duration::from_secs(1)).await;
        host.set_fault(Way::Receive, Fault::Poll(io::ErrorKind::Other));
    };
    let (connected, ()) = tokio::join!(connecting, closing);
    let kind = connected.expect_err("closed").kind();
    assert_eq!(kind, io::ErrorKind::ConnectionAborted);
    let late = timeout(Duration::from_millis(100), endpoint.connect(peer.addr())).await;
    let kind = late.expect("answers").expect_err("closed").kind();
    assert_eq!(kind, io::ErrorKind::Other);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn refused_port_ends_what_never_received_anything() {
    let network = Network::default();
    let host = network.host();
    let nobody = std::net::SocketAddr::from(([10, 0, 0, 99], 1));
    host.set_fault(Way::Receive, Fault::Errno(REFUSED));
    let started = tokio::time::Instant::now();
    let error = KcpStream::builder(&security())
        .transport(host)
        .connect(nobody)
        .await
        .expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[cfg(target_os = "linux")]
const EAGAIN: i32 = 11;

#[cfg(target_os = "linux")]
const REFUSED: i32 = 111;
