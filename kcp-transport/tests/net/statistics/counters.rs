//! What kcp-go counts is counted here, each statistic of its thirty and some more, in virtual time.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use kcp_transport::config::{Config, ListenerConfig};
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::session::State;
use kcp_transport::testing::{LinkConfig, Pair, PairConfig};
use kcp_transport::wire::{Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::transport::memory::{Fault, Network, Way};

#[test]
fn every_counter_of_kcp_go_is_in_the_table() {
    let (fields, header) = theirs();
    assert_eq!((fields.len(), header.len()), (30, 30));
    let table = table();
    let listed: Vec<&str> = table.iter().map(|row| row.theirs[0]).collect();
    let set: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(set, fields.iter().map(String::as_str).collect());
    assert_eq!(listed.len(), set.len(), "a row each");
    for name in &header {
        let printed = |row: &Row| row.theirs.last() == Some(&name.as_str());
        assert!(table.iter().any(printed), "{name} is not in the table");
    }
    for row in &table {
        assert!(!row.ours.is_empty(), "nothing for {:?}", row.theirs);
    }
}

#[tokio::test(start_paused = true)]
async fn every_counter_of_kcp_go_counts_here_and_is_printed() {
    let mut seen = Seen::default();
    cross_a_lossy_path(&mut seen);
    cross_a_path_with_bit_errors(&mut seen);
    disturb_endpoints(&mut seen).await;
    open_too_fast(&mut seen).await;
    let table = table();
    let mapped = table.iter().flat_map(|row| row.ours.iter().copied());
    let others = [
        "EndpointStats::over_rate",
        "EndpointStats::strays_answered",
        "EndpointStats::unanswerable",
    ];
    let silent: Vec<&str> = mapped
        .chain(others)
        .filter(|&name| !seen.0.contains(name))
        .collect();
    assert!(silent.is_empty(), "{silent:?} never counted");
}

/// A row of the table in the documentation of `stats`.
struct Row {
    /// The field in kcp-go, and the name it is printed under if that is another.
    theirs: Vec<&'static str>,
    /// Our type and field, or several.
    ours: Vec<&'static str>,
}

fn table() -> Vec<Row> {
    let lines = include_str!("../../../src/stats/mod.rs").lines();
    let rows = lines.filter_map(|line| line.strip_prefix("//! | "));
    let rows = rows.filter_map(|row| row.split_once(" | "));
    let words = |cell: &'static str| cell.split('`').skip(1).step_by(2);
    rows.filter(|(theirs, _)| theirs.starts_with('`') && *theirs != "`Snmp`")
        .map(|(theirs, ours)| Row {
            theirs: words(theirs).collect(),
            ours: words(ours).filter(|word| word.contains("::")).collect(),
        })
        .collect()
}

/// The fields of kcp-go's `Snmp`, and what its `Header` calls them.
fn theirs() -> (Vec<String>, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../interop/vectors/api.json");
    let text = std::fs::read_to_string(path).expect("is checked in");
    let api: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
    let names = |list: &str, prefix: &str| -> Vec<String> {
        let list = api[list].as_array().expect("a list").iter();
        let names = list.map(|name| name.as_str().expect("a name"));
        let names = names.filter_map(|name| name.strip_prefix(prefix));
        names.map(str::to_owned).collect()
    };
    (names("exported", "field Snmp."), names("header", ""))
}

/// Statistics that were printed with a number other than 0, ever.
#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    fn look(&mut self, kind: &str, stats: impl Display) {
        for line in stats.to_string().lines() {
            let (name, value) = line.split_once(' ').expect("a name and a value");
            if !matches!(value.trim(), "0" | "-") {
                self.0.insert(format!("{kind}::{name}"));
            }
        }
    }

    fn look_at_pair(&mut self, pair: &Pair) {
        for peer in [&pair.client, &pair.server] {
            self.look("Stats", peer.session.stats());
        }
    }
}

fn with_fec() -> Config {
    let ratio = FecRatio::new(4, 1).expect("in range");
    Config::builder().fec(ratio).build().expect("in range")
}

/// Loss and reordering, a slow reader, and datagrams out of band.
fn cross_a_lossy_path(seen: &mut Seen) {
    let mut pair = Pair::new(
        1,
        &PairConfig {
            client: with_fec(),
            server: with_fec(),
            link: LinkConfig {
                loss: 0.1,
                reorder: 0.05,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        },
    );
    let mut buffer = [0; 4000];
    for round in 0..1000 {
        pair.client.session.write(pair.now(), &[1; 3000]);
        if round % 10 == 0 {
            let sent = pair.client.session.send_out_of_band(pair.now(), b"aside");
            sent.expect("short enough");
        }
        seen.look_at_pair(&pair);
        // What is lost before a pause is missed by nobody but its sender.
        let pause = if round % 10 == 0 { 200 } else { 15 };
        pair.run_for(Duration::from_millis(pause));
        seen.look_at_pair(&pair);
        while pair.server.session.poll_out_of_band().is_some() {}
        pair.server.session.read(pair.now(), &mut buffer);
    }
    assert_eq!(pair.client.session.state(), State::Established);
}

/// Without a cipher, a flipped bit is detected by the layer that decodes it.
fn cross_a_path_with_bit_errors(seen: &mut Seen) {
    let mut pair = Pair::new(
        1,
        &PairConfig {
            client: with_fec(),
            server: with_fec(),
            link: LinkConfig {
                loss: 0.05,
                corrupt: 0.05,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        },
    );
    for _ in 0..1000 {
        pair.client.session.write(pair.now(), &[1; 3000]);
        pair.run_for(Duration::from_millis(15));
        seen.look_at_pair(&pair);
        pair.server.session.read(pair.now(), &mut [0; 4000]);
    }
}

/// Two streams, with a cipher and without, and what does not belong to them.
async fn disturb_endpoints(seen: &mut Seen) {
    let sealed = Security::from_password("aes-128-gcm", "test", b"salt").expect("known name");
    for security in [sealed, Security::Plaintext] {
        let (network, config) = (Network::default(), Config::default());
        let (client_host, server_host) = (network.host(), network.host());
        let listener = KcpListener::builder(&security)
            .config(&config)
            .on_transport(server_host.clone())
            .expect("in range");
        let (client, server) = tokio::join!(
            KcpStream::builder(&security)
                .config(&config)
                .transport(client_host.clone())
                .connect(server_host.addr()),
            listener.accept(),
        );
        let (mut client, mut server) = (client.expect("connects"), server.expect("accepts").0);
        server_host.inject(client_host.addr(), &[1; 100]);
        server_host.inject(client_host.addr(), &[1; 3]);
        server_host.inject(unknown_peer(), &late_push());
        server_host.inject(([10, 9, 9, 9], 0).into(), &opening());
        server_host.set_fault(Way::Receive, Fault::Third(EIO));
        for _ in 0..10 {
            client.write_all(&[2; 5000]).await.expect("writes");
            client.flush().await.expect("flushes");
            server.read_exact(&mut [0; 5000]).await.expect("reads");
        }
        seen.look("Stats", client.stats());
        seen.look("Stats", server.stats());
        seen.look("EndpointStats", client.info().endpoint_stats());
        seen.look("EndpointStats", listener.stats());
    }
}

/// More first packets at a time than peers of one network are challenged for.
async fn open_too_fast(seen: &mut Seen) {
    let config = ListenerConfig::builder()
        .max_unvalidated(0)
        .open_rate(NonZeroU32::MIN);
    let config = config.build().expect("in range");
    let network = Network::default();
    let host = network.host();
    let listener = KcpListener::builder(&Security::Plaintext)
        .listener_config(&config)
        .on_transport(host.clone());
    let listener = listener.expect("in range");
    for _ in 0..21_000 {
        host.inject(unknown_peer(), &opening());
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(listener.stats().addresses_challenged, 20_000);
    seen.look("EndpointStats", listener.stats());
}

fn unknown_peer() -> SocketAddr {
    ([10, 9, 9, 9], 4000).into()
}

/// Data in the middle of an unknown conversation.
fn late_push() -> [u8; SEGMENT_HEADER_LEN + 1] {
    push(5, 3)
}

/// The first data of a conversation.
fn opening() -> [u8; SEGMENT_HEADER_LEN + 1] {
    push(0, 0)
}

fn push(sequence: u32, unacknowledged: u32) -> [u8; SEGMENT_HEADER_LEN + 1] {
    let header = SegmentHeader {
        conversation: ConversationId::new(77),
        command: Command::Push,
        fragments_left: 0,
        window: 128,
        timestamp: Timestamp::from_wire(1000),
        sequence,
        unacknowledged,
        payload_len: 1,
    };
    let mut packet = [0; SEGMENT_HEADER_LEN + 1];
    header.encode(&mut packet);
    packet
}

/// An error of the system that does not concern the socket.
const EIO: i32 = 5;
