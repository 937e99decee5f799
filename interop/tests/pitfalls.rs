//! Pitfalls of stock kcp-go, and how this implementation avoids them. Each test demonstrates one, and fails if kcp-go
//! changes its behaviour.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use kcp_interop::case::{Case, Direction, Fec, Peer};
use kcp_interop::data;
use kcp_interop::go::Programs;
use kcp_interop::process::{PeerServer, run_client};
use kcp_transport::config::ListenerConfig;
use kcp_transport::net::{KcpListener, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use support::nat::{EmptyPushes, Frames, Nat};

/// Plain KCP, so that the tests can construct datagrams.
const CASE: Case = Case::new(Peer::KcpGo, Direction::RustToPeer);

#[tokio::test]
async fn kcp_go_has_one_session_per_address_and_each_of_our_connections_its_own_socket() {
    let Some(programs) = support::peers("sessions of one address") else {
        return;
    };
    let server = start(programs).await;
    let raw = Raw::to(server.addr()).await;
    raw.push(1, 0, b"one").await;
    timed(raw.until((1, 0))).await;
    // The second conversation replaces the first one of this address for ever.
    raw.push(2, 0, b"two").await;
    timed(raw.until((2, 0))).await;
    raw.push(1, 1, b"more of one").await;
    raw.push(2, 1, b"more of two").await;
    let came = timed(raw.until((2, 1))).await;
    assert!(!came.contains(&(1, 1)), "{came:?}");

    // Two of our connections have two addresses, and do not affect each other.
    let (mut one, mut two) = (connect(server.addr()).await, connect(server.addr()).await);
    for _ in 0..3 {
        round_trip(&mut one).await;
        round_trip(&mut two).await;
    }
}

/// Our servers send empty pushes to challenge a client's address. These carry the sequence number before the
/// first segment, which the peer acknowledges and never delivers. The test checks that no empty push carries a
/// number that the peer has yet to receive.
#[tokio::test]
async fn empty_push_stalls_kcp_gos_reader_and_we_send_none_that_it_would_deliver() {
    let Some(programs) = support::peers("empty pushes") else {
        return;
    };
    let server = start(programs).await;
    let nat = Nat::to(server.addr()).await;
    let raw = Raw::to(nat.addr()).await;
    raw.push(1, 0, b"").await;
    raw.push(1, 1, b"never read").await;
    let silence = timeout(SILENCE, raw.until((1, 1))).await;
    assert!(silence.is_err(), "{silence:?}");
    let seen = EmptyPushes { old: 0, ahead: 1 };
    assert_eq!(nat.empty_pushes_to_server(), seen);

    let nat = Nat::to(server.addr()).await;
    let mut stream = connect(nat.addr()).await;
    for _ in 0..3 {
        stream.write_all(b"").await.expect("nothing to refuse");
        stream.flush().await.expect("nothing to send");
        round_trip(&mut stream).await;
    }
    stream.shutdown().await.expect("drains");
    assert_eq!(nat.empty_pushes_to_server().ahead, 0);

    // With a challenge for every client, and with the default limit.
    for unvalidated in [0, ListenerConfig::default().max_unvalidated()] {
        let config = ListenerConfig::builder()
            .max_unvalidated(unvalidated)
            .build();
        let config = config.expect("in range");
        let (addr, _serving) = serve_with(&config).await;
        let nat = Nat::to(addr).await;
        let mut args = CASE.peer_args("echo-client");
        args.push(format!("--connect={}", nat.addr()));
        let report = run_client::<serde_json::Value>(programs.of(CASE.peer), &args);
        let report = timed(report).await.expect("reports");
        assert_eq!(report["ok"], true, "{report}");
        let pushes = nat.empty_pushes_to_client();
        assert_eq!(pushes.ahead, 0, "max_unvalidated {unvalidated}: {pushes:?}");
        assert!(
            unvalidated > 0 || pushes.old > 0,
            "was not challenged: {pushes:?}"
        );
    }
}

#[tokio::test]
async fn stray_datagram_closes_kcp_gos_session_and_not_ours() {
    let Some(programs) = support::peers("stray datagrams") else {
        return;
    };
    let server = start(programs).await;
    let theirs = Raw::to(server.addr()).await;
    theirs.push(1, 0, b"one").await;
    timed(theirs.until((1, 0))).await;
    // A single datagram of another conversation, which any host can forge.
    theirs.push(9, 0, b"stray").await;
    timed(theirs.until((9, 0))).await;
    theirs.push(1, 1, b"more").await;
    let silence = timeout(SILENCE, theirs.until((1, 1))).await;
    assert!(silence.is_err(), "{silence:?}");

    let (addr, _serving) = serve().await;
    let ours = Raw::to(addr).await;
    ours.push(1, 0, b"one").await;
    timed(ours.until((1, 0))).await;
    ours.push(9, 0, b"stray").await;
    ours.push(1, 1, b"more").await;
    timed(ours.until((1, 1))).await;
}

#[tokio::test]
async fn kcp_gos_close_loses_the_tail_and_our_reader_returns_an_error() {
    let Some(programs) = support::peers("the tail after a close") else {
        return;
    };
    let config = CASE.config().expect("in range").to_builder();
    let config = config
        .windows(32, 32)
        .idle_timeout(Duration::from_secs(1))
        .build();
    let security = CASE.security().expect("known");
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = KcpListener::builder(&security)
        .config(&config.expect("in range"))
        .bind(addr)
        .await
        .expect("a socket");
    let mut args = CASE.peer_args("echo-client");
    let addr = listener.local_addr().expect("bound");
    args.extend([
        format!("--connect={addr}"),
        format!("--bytes={WRITTEN}"),
        format!("--message={FIRST}"),
        "--hang-up".to_owned(),
    ]);
    let client = run_client::<serde_json::Value>(programs.of(CASE.peer), &args);
    let reading = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut first = [0; FIRST];
        stream.read_exact(&mut first).await.expect("something");
        stream.write_all(b"!").await.expect("there is room");
        stream.flush().await.expect("is sent");
        let mut received = Vec::new();
        let result = stream.read_to_end(&mut received).await;
        (received, result)
    };
    let (report, (received, result)) = tokio::join!(client, timed(reading));
    // kcp-go wrote everything without an error, and most of it is lost.
    assert_eq!(report.expect("reports")["ok"], true);
    assert!(received.len() < WRITTEN, "{} bytes came", received.len());
    // The received bytes are correct, and no end of stream is reported.
    assert!(data::bytes(1, WRITTEN).starts_with(&received));
    let error = result.expect_err("the end of the data is lost");
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error:?}");
}

#[tokio::test]
async fn clients_of_every_kind_validate_their_address_when_challenged() {
    let Some(programs) = support::peers("address validation") else {
        return;
    };
    for peer in Peer::ALL {
        // Covered by kcp-go, over which it runs.
        if peer == Peer::GrpcGo {
            continue;
        }
        // kcp-go v5.4 with FEC drops packets without.
        let theirs = (peer == Peer::KcpGo5_4).then_some((10, 3));
        let fec = Fec { ours: None, theirs };
        let case = Case {
            fec,
            ..Case::new(peer, Direction::PeerToRust)
        };
        let config = case.config().expect("in range");
        let validate_all = ListenerConfig::builder().max_unvalidated(0).build();
        let security = case.security().expect("known");
        let listener = KcpListener::builder(&security)
            .config(&config)
            .listener_config(&validate_all.expect("in range"))
            .bind("127.0.0.1:0")
            .await
            .expect("a socket");
        let mut args = case.peer_args("echo-client");
        let addr = listener.local_addr().expect("bound");
        args.extend([
            format!("--connect={addr}"),
            format!("--bytes={FIRST}"),
            format!("--message={FIRST}"),
        ]);
        let client = run_client::<serde_json::Value>(programs.of(peer), &args);
        let echoing = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut data = [0; FIRST];
            stream.read_exact(&mut data).await.expect("something");
            stream.write_all(&data).await.expect("there is room");
            stream.flush().await.expect("is sent");
            stream
        };
        let (report, _stream) = timed(async { tokio::join!(client, echoing) }).await;
        let report = report.expect("reports");
        assert_eq!(report["ok"], true, "{peer:?}: {report}");
        let stats = listener.stats();
        assert!(
            stats.addresses_challenged >= 1 && stats.passive_opens == 1,
            "{stats}"
        );
    }
}

#[tokio::test]
async fn rust_peers_ignore_datagrams_from_foreign_addresses() {
    let Some(programs) = support::peers("datagrams from foreign addresses") else {
        return;
    };
    for peer in Peer::PLAIN {
        let case = Case::new(peer, Direction::PeerToRust);
        let config = case.config().expect("in range");
        let security = case.security().expect("known");
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = KcpListener::builder(&security)
            .config(&config)
            .bind(addr)
            .await
            .expect("a socket");
        let mut args = case.peer_args("echo-client");
        let addr = listener.local_addr().expect("bound");
        args.extend([
            format!("--connect={addr}"),
            format!("--bytes={FIRST}"),
            format!("--message={FIRST}"),
        ]);
        let client = run_client::<serde_json::Value>(programs.of(peer), &args);
        let echoing = async {
            let (mut stream, from) = listener.accept().await.expect("a connection");
            let mut data = [0; FIRST];
            stream.read_exact(&mut data).await.expect("something");
            // Like a retransmission of an earlier session with this port.
            let foreign = Raw::to(from).await;
            foreign.push(9, 1, &[b'?'; SEGMENT]).await;
            stream.write_all(&data).await.expect("there is room");
            stream.flush().await.expect("is sent");
            stream
        };
        let (report, _stream) = timed(async { tokio::join!(client, echoing) }).await;
        let report = report.expect("reports");
        assert_eq!(report["ok"], true, "{peer:?}: {report}");
    }
}

#[tokio::test]
async fn other_servers_receive_a_few_hellos_and_other_clients_none() {
    let Some(programs) = support::peers("hellos") else {
        return;
    };
    let others = Peer::ALL.into_iter();
    let others =
        others.filter(|peer| !matches!(peer, Peer::GrpcGo | Peer::GrpcInterop | Peer::Ours));
    let mut checks: JoinSet<()> = others.map(|peer| check_hellos(programs, peer)).collect();
    while let Some(check) = checks.join_next().await {
        check.expect("the expected number of hellos");
    }
}

async fn check_hellos(programs: &'static Programs, peer: Peer) {
    let case = Case::new(peer, Direction::RustToPeer);
    let args = case.peer_args("echo-server");
    let server = PeerServer::start(programs.of(peer), &args).await;
    let nat = Nat::to(server.as_ref().expect("starts").addr()).await;
    let mut stream = connect(nat.addr()).await;
    round_trip(&mut stream).await;
    // One goes with each probe of a connection that is not answered yet, however many those are.
    let connecting = nat.frames().to_server;
    // Longer than the time in which all hellos are sent.
    for _ in 0..30 {
        round_trip(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let Frames {
        to_server,
        to_client,
    } = nat.frames();
    assert!(connecting >= 1, "{peer:?}");
    assert!(
        to_server <= connecting + 5,
        "{peer:?}: {to_server} after {connecting}"
    );
    assert_eq!(to_client, 0, "{peer:?}");

    let case = Case::new(peer, Direction::PeerToRust);
    let (addr, _serving) = serve().await;
    let nat = Nat::to(addr).await;
    let mut args = case.peer_args("echo-client");
    args.push(format!("--connect={}", nat.addr()));
    let report = run_client::<serde_json::Value>(programs.of(peer), &args);
    let report = timeout(LIMIT, report).await;
    let report = report.unwrap_or_else(|_| panic!("{peer:?} has not finished in time"));
    let report = report.expect("reports");
    assert_eq!(report["ok"], true, "{peer:?}: {report}");
    let silence = Frames {
        to_server: 0,
        to_client: 0,
    };
    assert_eq!(nat.frames(), silence, "{peer:?}");
}

async fn start(programs: &Programs) -> PeerServer {
    let args = CASE.peer_args("echo-server");
    PeerServer::start(programs.of(CASE.peer), &args)
        .await
        .expect("starts")
}

async fn connect(addr: SocketAddr) -> KcpStream {
    let security = CASE.security().expect("known");
    let config = CASE.config().expect("in range");
    KcpStream::builder(&security)
        .config(&config)
        .connect(addr)
        .await
        .expect("connects")
}

/// Our echo server for any number of connections. Dropping the set stops it.
async fn serve() -> (SocketAddr, JoinSet<()>) {
    serve_with(&ListenerConfig::default()).await
}

async fn serve_with(config: &ListenerConfig) -> (SocketAddr, JoinSet<()>) {
    let security = CASE.security().expect("known");
    let listener = KcpListener::builder(&security)
        .config(&CASE.config().expect("in range"))
        .listener_config(config)
        .bind("127.0.0.1:0")
        .await
        .expect("a socket");
    let addr = listener.local_addr().expect("bound");
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut echoing = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            echoing.spawn(async move {
                let mut buffer = [0; 1000];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    (addr, serving)
}

async fn round_trip(stream: &mut KcpStream) {
    timed(async {
        stream.write_all(b"there?").await.expect("there is room");
        stream.flush().await.expect("is sent");
        let mut answer = [0; 6];
        stream.read_exact(&mut answer).await.expect("answers");
        assert_eq!(&answer, b"there?");
    })
    .await;
}

async fn timed<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("in time")
}

/// A socket for constructed segments.
struct Raw(UdpSocket);

impl Raw {
    async fn to(addr: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        socket.connect(addr).await.expect("an address");
        Self(socket)
    }

    async fn push(&self, conversation: u32, sn: u32, data: &[u8]) {
        let mut segment = conversation.to_le_bytes().to_vec();
        segment.extend([PUSH, 0]);
        segment.extend(128_u16.to_le_bytes());
        let len = u32::try_from(data.len()).expect("short");
        // ts, sn, una and length. The una acknowledges the echoes so far.
        for word in [0, sn, sn, len] {
            segment.extend(u32::to_le_bytes(word));
        }
        segment.extend(data);
        self.0.send(&segment).await.expect("is sent");
    }

    /// Waits for the data segment with this conversation and number. Returns all data segments received until then.
    async fn until(&self, awaited: (u32, u32)) -> BTreeSet<(u32, u32)> {
        let mut came = BTreeSet::new();
        let mut datagram = [0; 2000];
        while !came.contains(&awaited) {
            let len = self.0.recv(&mut datagram).await.expect("a socket");
            let mut rest = &datagram[..len];
            while let Some((header, after)) = rest.split_first_chunk::<24>() {
                let word =
                    |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
                let (conversation, sn, len) = (word(0), word(12), word(20));
                if header[4] == PUSH {
                    came.insert((conversation, sn));
                    self.acknowledge(conversation, sn, word(8)).await;
                }
                rest = &after[usize::try_from(len).expect("fits")..];
            }
        }
        came
    }

    async fn acknowledge(&self, conversation: u32, sn: u32, time: u32) {
        let mut segment = conversation.to_le_bytes().to_vec();
        segment.extend([ACK, 0]);
        segment.extend(128_u16.to_le_bytes());
        for word in [time, sn, sn + 1, 0] {
            segment.extend(u32::to_le_bytes(word));
        }
        self.0.send(&segment).await.expect("is sent");
    }
}

const PUSH: u8 = 81;
const ACK: u8 = 82;

/// Bytes of data in a full segment.
const SEGMENT: usize = 1376;

/// Bytes that a server reads before it answers.
const FIRST: usize = 4000;

/// Bytes that the client writes: more than both windows hold.
const WRITTEN: usize = 1 << 20;

/// Time in which no answer must arrive: several times longer than an answer takes.
const SILENCE: Duration = Duration::from_millis(500);

/// Time limit of a step, with room for a busy machine.
const LIMIT: Duration = Duration::from_secs(10);
