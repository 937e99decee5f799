//! A listener on several transports.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::fec::FecRatio;
use kcp_transport::net::{KcpListener, KcpStream, Transport};
use kcp_transport::wire::{Command, SegmentHeader, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::memory::{Fault, Host, Network, Way};
use super::{exchange, pattern, security};

struct Sharded {
    security: Security,
    network: Network,
    hosts: Vec<Arc<Host>>,
    listener: KcpListener,
}

fn sharded(count: u16) -> Sharded {
    sharded_under(Security::Plaintext, count)
}

fn sharded_under(security: Security, count: u16) -> Sharded {
    let network = Network::default();
    let hosts: Vec<_> = (0..count).map(|_| network.host()).collect();
    let transports = hosts.iter().map(|host| host.clone() as Arc<dyn Transport>);
    let listener = KcpListener::builder(&security).on_transports(transports.collect());
    Sharded {
        security,
        network,
        listener: listener.expect("in range"),
        hosts,
    }
}

impl Sharded {
    async fn connect(&self, shard: usize) -> (Arc<Host>, KcpStream, KcpStream) {
        self.connect_with(shard, &Config::default()).await
    }

    async fn connect_with(
        &self,
        shard: usize,
        config: &Config,
    ) -> (Arc<Host>, KcpStream, KcpStream) {
        let host = self.network.host();
        let server = self.hosts[shard].addr();
        let (client, accepted) = tokio::join!(
            KcpStream::builder(&self.security)
                .config(config)
                .transport(host.clone())
                .connect(server),
            self.listener.accept(),
        );
        (
            host,
            client.expect("connects"),
            accepted.expect("accepts").0,
        )
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_of_all_shards_are_accepted_and_counted_together() {
    let sharded = sharded(4);
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(tasks, 4);
    let mut streams = Vec::new();
    for shard in 0..4 {
        for _ in 0..3 {
            let (_, mut client, mut server) = sharded.connect(shard).await;
            exchange(&mut client, &mut server, &pattern(5000)).await;
            streams.push((client, server));
        }
    }
    let stats = sharded.listener.stats();
    assert_eq!((stats.passive_opens, stats.connections), (12, 12));
    assert_eq!(sharded.listener.totals().bytes_read, 12 * 5000);
    // Those of the clients came, and no other.
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(tasks, 4 + 12);
}

/// As after a migration, or when the system spreads peers anew.
#[tokio::test(start_paused = true)]
async fn datagrams_that_come_in_at_another_shard_reach_their_session() {
    let sharded = sharded(3);
    let (host, mut client, mut server) = sharded.connect(1).await;
    exchange(&mut client, &mut server, &pattern(1000)).await;
    // Everything the client sends goes astray from now on.
    let (owner, other) = (&sharded.hosts[1], &sharded.hosts[2]);
    owner.set_fault(Way::Receive, Fault::Blocked);
    let astray = async {
        loop {
            for (from, datagram) in owner.take_history() {
                other.inject(from, &datagram);
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let data = pattern(50_000);
    tokio::select! {
        () = astray => {}
        () = exchange(&mut client, &mut server, &data) => {}
    }
    let stats = sharded.listener.stats();
    assert!(stats.forwarded > 10, "{stats}");
    assert_eq!(stats.passive_opens, 1);
    drop(host);
}

/// More of them than wait to be handed on, before their owner has its turn.
#[tokio::test(start_paused = true)]
async fn datagrams_that_find_no_room_at_their_owner_are_counted() {
    let sharded = sharded(2);
    let (host, client, _server) = sharded.connect(0).await;
    let update = SegmentHeader {
        conversation: client.conversation(),
        command: Command::WindowUpdate,
        fragments_left: 0,
        window: 32,
        timestamp: Timestamp::default(),
        sequence: 0,
        unacknowledged: 0,
        payload_len: 0,
    };
    let mut datagram = vec![0; 24];
    update.encode(&mut datagram);
    for _ in 0..600 {
        sharded.hosts[1].inject(host.addr(), &datagram);
    }
    sleep(Duration::from_millis(1)).await;
    let stats = sharded.listener.stats();
    assert!(stats.forwarded > 0 && stats.forwards_dropped > 0, "{stats}");
    assert_eq!(stats.forwarded + stats.forwards_dropped, 600);
}

#[tokio::test(start_paused = true)]
async fn late_packets_open_no_session_at_a_shard_their_session_was_never_at() {
    let sharded = sharded(2);
    let (host, mut client, mut server) = sharded.connect(0).await;
    let (owner, other) = (&sharded.hosts[0], &sharded.hosts[1]);
    let data = pattern(1000);
    exchange(&mut client, &mut server, &data).await;
    let history = owner.take_history();
    let behind = ([11, 0, 0, 1], 1).into();
    host.move_to(behind);
    owner.hand_over(other);
    exchange(&mut client, &mut server, &data).await;
    assert_eq!(server.peer_addr().expect("known"), behind);
    // Back at its own socket, from a third address.
    let last = ([11, 0, 0, 2], 2).into();
    host.move_to(last);
    other.hand_over(owner);
    exchange(&mut client, &mut server, &data).await;
    assert_eq!(server.peer_addr().expect("known"), last);
    let late = async |from: &[SocketAddr]| {
        for from in from {
            history.iter().for_each(|(_, it)| other.inject(*from, it));
            sleep(Duration::from_secs(1)).await;
        }
        let stats = sharded.listener.stats();
        assert_eq!((stats.passive_opens, stats.moved), (1, 2), "{stats}");
    };
    late(&[behind]).await;
    exchange(&mut client, &mut server, &data).await;
    let (one, other) = tokio::join!(client.shutdown(), server.shutdown());
    one.expect("drains");
    other.expect("drains");
    drop((client, server));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(sharded.listener.stats().connections, 0);
    late(&[behind, last]).await;
}

#[tokio::test(start_paused = true)]
async fn parity_follows_its_session_behind_another_shard() {
    let sharded = sharded(2);
    let ratio = FecRatio::new(2, 4).expect("in range");
    let config = Config::builder().fec(ratio).build().expect("in range");
    let (host, mut client, mut server) = sharded.connect_with(0, &config).await;
    exchange(&mut client, &mut server, &pattern(10_000)).await;
    host.move_to(([11, 0, 0, 1], 1).into());
    sharded.hosts[0].hand_over(&sharded.hosts[1]);
    exchange(&mut client, &mut server, &pattern(10_000)).await;
    let before = (sharded.listener.stats(), server.stats());
    // One third of each group is enough to rebuild it, and one third comes.
    host.set_fault(Way::Send, Fault::Loss);
    exchange(&mut client, &mut server, &pattern(100_000)).await;
    let (listener, server) = (sharded.listener.stats(), server.stats());
    assert_eq!(listener.passive_opens, 1, "{listener}");
    assert_eq!(listener.stray, before.0.stray, "{listener}");
    let recovered = server.fec_recovered - before.1.fec_recovered;
    assert!(recovered > 30, "{server}");
}

/// The system chooses the shard by the addresses, and the attacker those.
#[tokio::test(start_paused = true)]
async fn packets_of_one_shard_are_replayed_to_no_other() {
    let sharded = sharded_under(security(), 3);
    let (host, mut client, mut server) = sharded.connect(0).await;
    exchange(&mut client, &mut server, &pattern(100_000)).await;
    sleep(Duration::from_secs(1)).await;
    let sent = sharded.hosts[0].take_history();
    let read = sharded.listener.totals().bytes_read;
    let stranger = ([10, 0, 0, 77], 7).into();
    for other in &sharded.hosts[1..] {
        // From the client's address they would be handed on.
        for from in [stranger, host.addr()] {
            sent.iter().for_each(|(_, it)| other.inject(from, it));
            sleep(Duration::from_secs(1)).await;
        }
    }
    let stats = sharded.listener.stats();
    assert_eq!(stats.replayed, 4 * sent.len() as u64, "{stats}");
    assert_eq!((stats.passive_opens, stats.forwarded), (1, 0), "{stats}");
    assert_eq!(sharded.listener.totals().bytes_read, read);
    exchange(&mut client, &mut server, &pattern(1000)).await;
}

#[tokio::test(start_paused = true)]
async fn packets_of_one_shard_are_reflected_to_no_other() {
    let sharded = sharded_under(security(), 2);
    let (host, mut client, mut server) = sharded.connect(0).await;
    exchange(&mut client, &mut server, &pattern(100_000)).await;
    let received = host.take_history();
    for from in [([10, 0, 0, 77], 7).into(), host.addr()] {
        for (_, datagram) in &received {
            sharded.hosts[1].inject(from, datagram);
        }
        sleep(Duration::from_secs(1)).await;
    }
    let stats = sharded.listener.stats();
    assert_eq!(stats.reflected, 2 * received.len() as u64, "{stats}");
    assert_eq!((stats.passive_opens, stats.forwarded), (1, 0), "{stats}");
}

#[tokio::test(start_paused = true)]
async fn packets_that_are_handed_on_pass_the_replay_filter_once() {
    let sharded = sharded_under(security(), 2);
    let (_host, mut client, mut server) = sharded.connect(0).await;
    let (owner, other) = (&sharded.hosts[0], &sharded.hosts[1]);
    exchange(&mut client, &mut server, &pattern(1000)).await;
    sleep(Duration::from_secs(1)).await;
    owner.set_fault(Way::Receive, Fault::Blocked);
    owner.take_history();
    client.write_all(b"astray").await.expect("writes");
    client.flush().await.expect("flushes");
    let (from, datagram) = owner.take_history().remove(0);
    for _ in 0..5 {
        other.inject(from, &datagram);
    }
    let mut received = [0; 6];
    server.read_exact(&mut received).await.expect("reads");
    assert_eq!(&received, b"astray");
    // Those that wait in the owner's queue are the same.
    owner.set_fault(Way::Receive, Fault::None);
    sleep(Duration::from_millis(1)).await;
    let stats = sharded.listener.stats();
    assert_eq!((stats.forwarded, stats.replayed), (1, 5), "{stats}");
}

#[tokio::test(start_paused = true)]
async fn accepting_goes_on_until_the_last_shard_is_gone() {
    let sharded = sharded(2);
    let gone = Fault::Poll(io::ErrorKind::BrokenPipe);
    sharded.hosts[0].set_fault(Way::Receive, gone);
    sleep(Duration::from_millis(10)).await;
    let (_host, mut client, mut server) = sharded.connect(1).await;
    exchange(&mut client, &mut server, &pattern(1000)).await;
    sharded.hosts[1].set_fault(Way::Receive, gone);
    let end = timeout(Duration::from_millis(100), sharded.listener.accept()).await;
    end.expect("is told")
        .expect_err("nothing can come any more");
    server.read_u8().await.expect_err("its socket is gone");
}

#[tokio::test(start_paused = true)]
async fn shards_of_a_dropped_listener_end_together_after_the_last_session() {
    let sharded = sharded(2);
    let (_host, mut client, mut server) = sharded.connect(0).await;
    drop(sharded.listener);
    sleep(Duration::from_secs(1)).await;
    // One socket less, and the system would send the client's datagrams elsewhere.
    assert!(sharded.hosts.iter().all(|host| Arc::strong_count(host) > 2));
    exchange(&mut client, &mut server, &pattern(1000)).await;
    drop((client, server));
    sleep(Duration::from_secs(60)).await;
    // The network's and ours are left.
    assert!(
        sharded
            .hosts
            .iter()
            .all(|host| Arc::strong_count(host) == 2)
    );
}
