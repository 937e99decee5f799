//! An attacker without the key that sees and sends all packets, and keys that change.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kcp_transport::config::ListenerConfig;
use kcp_transport::crypto::{AeadKey, KeyRing};
use kcp_transport::error::ConnectionError;
use kcp_transport::net::{KcpEndpoint, KcpListener, KcpStream};

use super::*;

/// Two endpoints and a connection between them.
struct Duo {
    client: KcpEndpoint,
    listener: KcpListener,
    streams: (KcpStream, KcpStream),
    hosts: [Arc<Host>; 2],
}

impl Duo {
    async fn new(securities: [&Security; 2]) -> Self {
        let network = Network::default();
        let hosts = [network.host(), network.host()];
        let [here, there] = hosts.clone();
        let config = patient();
        let client = KcpEndpoint::builder(securities[0])
            .config(&config)
            .transport(here)
            .endpoint()
            .expect("in range");
        let listener = KcpListener::builder(securities[1])
            .config(&config)
            .on_transport(there)
            .expect("in range");
        let (connected, accepted) =
            tokio::join!(client.connect(hosts[1].addr()), listener.accept());
        let streams = (connected.expect("connects"), accepted.expect("accepts").0);
        Self {
            client,
            listener,
            streams,
            hosts,
        }
    }

    async fn exchange(&mut self, len: usize) {
        let (client, server) = &mut self.streams;
        exchange(client, server, &pattern(len)).await;
    }

    /// Lets datagrams arrive at a host, from an address of the attacker's choice.
    async fn inject(&self, to: usize, from: SocketAddr, datagrams: &[Vec<u8>]) {
        for some in datagrams.chunks(100) {
            some.iter()
                .for_each(|datagram| self.hosts[to].inject(from, datagram));
            sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn replayed_and_reflected_packets_reach_no_session() {
    const EACH: usize = 25_000;
    let mut duo = Duo::new([&security(), &security()]).await;
    duo.exchange(2_000_000).await;
    sleep(Duration::from_secs(1)).await;
    let take = |host: &Arc<Host>| -> Vec<_> {
        let history = host.history();
        history.iter().cycle().take(EACH).cloned().collect()
    };
    let [to_client, to_server] = duo.hosts.each_ref().map(take);
    let addrs = duo.hosts.each_ref().map(|host| host.addr());
    let before = (duo.streams.0.stats(), duo.streams.1.stats());
    for host in &duo.hosts {
        host.set_fault(Way::Receive, Fault::None);
    }
    duo.inject(0, addrs[1], &to_client).await;
    duo.inject(1, addrs[0], &to_server).await;
    duo.inject(0, addrs[1], &to_server).await;
    // From elsewhere, too: a listener answers any address.
    let stranger = ([10, 0, 0, 77], 7).into();
    duo.inject(1, stranger, &to_client).await;
    let (client, server) = (duo.client.stats(), duo.listener.stats());
    for stats in [client, server] {
        assert_eq!(
            (stats.replayed, stats.reflected),
            (EACH as u64, EACH as u64)
        );
    }
    let after = (duo.streams.0.stats(), duo.streams.1.stats());
    assert_eq!(after.0.datagrams_received, before.0.datagrams_received);
    assert_eq!(after.1.datagrams_received, before.1.datagrams_received);
    assert_eq!((client.passive_opens, server.passive_opens), (0, 1));
    duo.exchange(100_000).await;
}

#[tokio::test(start_paused = true)]
async fn replayed_history_opens_no_session_once_its_own_is_forgotten() {
    let mut duo = Duo::new([&security(), &security()]).await;
    duo.exchange(100_000).await;
    let history = duo.hosts[1].history();
    let client = duo.hosts[0].addr();
    let Duo {
        listener,
        streams,
        hosts,
        ..
    } = duo;
    let (mut here, mut there) = streams;
    let (one, other) = tokio::join!(here.shutdown(), there.shutdown());
    one.expect("drains");
    other.expect("drains");
    drop((here, there));
    // Longer than conversations that have ended are remembered.
    sleep(Duration::from_secs(1000)).await;
    for datagram in &history {
        hosts[1].inject(client, datagram);
        sleep(Duration::from_millis(1)).await;
    }
    let accepted = timeout(Duration::from_secs(10), listener.accept()).await;
    assert!(accepted.is_err(), "a ghost");
    assert!(listener.stats().replayed >= history.len() as u64);
    assert_eq!(listener.stats().passive_opens, 1);
}

#[tokio::test(start_paused = true)]
async fn recorded_first_packets_open_no_session_where_every_peer_is_challenged() {
    let mut duo = Duo::new([&security(), &security()]).await;
    duo.exchange(100_000).await;
    // Another listener with that key, as after a restart: its replay filter has seen none of the
    // nonces. A running listener is in the same position for packets that were delayed on their way
    // to it.
    let asked = |limit| async move {
        let network = Network::default();
        let [client, server] = [network.host(), network.host()];
        let config = ListenerConfig::builder().max_unvalidated(limit).build();
        let listener = KcpListener::builder(&security())
            .listener_config(&config.expect("in range"))
            .on_transport(server.clone());
        (client, server, listener.expect("in range"))
    };
    for (limit, opened) in [(256, 1), (0, 0)] {
        let (client, server, listener) = asked(limit).await;
        for datagram in &duo.hosts[1].history() {
            server.inject(client.addr(), datagram);
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(listener.stats().passive_opens, opened);
        if opened == 0 {
            let endpoint = KcpEndpoint::builder(&security())
                .config(&patient())
                .transport(client)
                .endpoint();
            let endpoint = endpoint.expect("in range");
            let (here, there) = tokio::join!(endpoint.connect(server.addr()), listener.accept());
            let (mut here, mut there) = (here.expect("connects"), there.expect("accepts").0);
            exchange(&mut here, &mut there, &pattern(10_000)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn forged_packets_neither_pass_nor_keep_others_from_passing() {
    let mut duo = Duo::new([&security(), &security()]).await;
    duo.exchange(100_000).await;
    let mut forged = duo.hosts[1].history();
    for (index, datagram) in forged.iter_mut().enumerate() {
        // Nonces to come.
        let counter = u32::try_from(index).expect("few") + 1000;
        datagram[8..12].copy_from_slice(&counter.to_be_bytes());
    }
    duo.inject(1, duo.hosts[0].addr(), &forged).await;
    duo.exchange(3_000_000).await;
    let stats = duo.listener.stats();
    assert_eq!(stats.unauthentic, forged.len() as u64);
    assert_eq!((stats.replayed, stats.reflected), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn keys_of_endpoints_change_while_streams_run() {
    let key = |byte| AeadKey::aes_256_gcm(&[byte; 32]).expect("32 bytes");
    let rings = [KeyRing::new(key(0)), KeyRing::new(key(0))];
    let securities = rings.each_ref().map(|ring| Security::Ring(ring.clone()));
    let mut duo = Duo::new([&securities[0], &securities[1]]).await;
    for rotation in 1..=20 {
        for ring in &rings {
            ring.add_receive(key(rotation)).expect("has one");
            duo.exchange(10_000).await;
        }
        for ring in rings.iter().rev() {
            assert!(ring.promote());
            duo.exchange(10_000).await;
        }
        sleep(Duration::from_secs(1)).await;
        assert!(rings.iter().all(KeyRing::retire));
        duo.exchange(10_000).await;
    }
    let old = duo.hosts[1].history();
    duo.inject(1, duo.hosts[0].addr(), &old[..10]).await;
    let stats = duo.listener.stats();
    assert_eq!(stats.unauthentic, 10, "only those under the first key");
    assert_eq!(stats.sealed_under_key as u64, rings[1].send_key().sealed());
}

#[tokio::test(start_paused = true)]
async fn streams_under_an_exhausted_key_fail_with_its_error() {
    let key = AeadKey::aes_128_gcm(&[1; 16]).expect("16 bytes");
    let security = Security::Aead(key.clone());
    let mut duo = Duo::new([&security, &security]).await;
    duo.exchange(10_000).await;
    key.count_sealed(AeadKey::HARD_LIMIT - key.sealed());
    let client = &mut duo.streams.0;
    let mut buffer = [0; 10];
    let writing = async {
        client.write_all(&pattern(100)).await?;
        client.flush().await?;
        client.read(&mut buffer).await
    };
    let error = timeout(Duration::from_secs(1), writing)
        .await
        .expect("says so at once")
        .expect_err("nothing is sent");
    let source = error.get_ref().and_then(|source| source.downcast_ref());
    assert_eq!(source, Some(&ConnectionError::KeyExhausted));
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    assert_eq!(key.sealed(), AeadKey::HARD_LIMIT);
}
