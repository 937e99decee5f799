//! Peers that change their address.

use std::net::SocketAddr;
use std::time::Duration;

use kcp_transport::config::{Config, Extensions, ListenerConfig};
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::wire::{
    Command, ConversationId, Frame, FrameWriter, SegmentHeader, Segments, Timestamp, Token,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::Setup;
use super::memory::{Host, Network};

/// The `index`th address a client has.
fn elsewhere(index: u32) -> SocketAddr {
    let [.., a, b] = (index / 60_000).to_be_bytes();
    let port = u16::try_from(1024 + index % 60_000).expect("is small");
    ([11, 0, a, b], port).into()
}

async fn exchange(from: &mut KcpStream, to: &mut KcpStream, what: &[u8]) {
    from.write_all(what).await.expect("writes");
    from.flush().await.expect("flushes");
    let mut heard = vec![0; what.len()];
    to.read_exact(&mut heard).await.expect("reads");
    assert!(heard == what, "other bytes");
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_moves_lose_no_byte() {
    let mut setup = Setup::new(&Config::default()).await;
    setup.client_host.forget_history();
    setup.server_host.forget_history();
    exchange(&mut setup.client, &mut setup.server, b"hello").await;
    for index in 0..10_000_u32 {
        setup.client_host.move_to(elsewhere(index));
        let request = index.to_le_bytes().repeat(1 + index as usize % 50);
        exchange(&mut setup.client, &mut setup.server, &request).await;
        exchange(&mut setup.server, &mut setup.client, &request).await;
    }
    let stats = setup.listener.stats();
    assert_eq!((stats.moved, stats.passive_opens), (10_000, 1), "{stats}");
    assert_eq!(setup.server.peer_addr().expect("known"), elsewhere(9_999));
}

#[tokio::test(start_paused = true)]
async fn move_in_the_middle_of_a_transfer_costs_a_moment() {
    let mut setup = Setup::new(&Config::default()).await;
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let expected = data.clone();
    let (mut client, host) = (setup.client, setup.client_host);
    let start = tokio::time::Instant::now();
    let writing = tokio::spawn(async move {
        client.write_all(&data).await?;
        client.shutdown().await
    });
    let moving = tokio::spawn(async move {
        for index in 0..20 {
            sleep(Duration::from_millis(3)).await;
            host.move_to(elsewhere(index));
        }
    });
    let mut received = Vec::new();
    setup
        .server
        .read_to_end(&mut received)
        .await
        .expect("reads");
    assert!(received == expected, "other bytes");
    writing.await.expect("no panic").expect("writes");
    moving.await.expect("no panic");
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn keepalive_shows_an_idle_server_the_new_address_of_its_client() {
    let mut setup = Setup::new(&Config::default()).await;
    exchange(&mut setup.client, &mut setup.server, b"hello").await;
    setup.client_host.move_to(elsewhere(1));
    sleep(Duration::from_secs(25)).await;
    assert_eq!(setup.listener.stats().moved, 1);
    exchange(&mut setup.server, &mut setup.client, b"news").await;
}

#[tokio::test(start_paused = true)]
async fn without_migration_a_moved_peer_is_an_error_within_the_time_outs() {
    for extensions in [Extensions::Off, Extensions::On] {
        let config = Config::builder().extensions(extensions);
        let mut setup = Setup::new(&config.build().expect("in range")).await;
        exchange(&mut setup.client, &mut setup.server, b"hello").await;
        // Something has come back, so that forgetting shows.
        exchange(&mut setup.server, &mut setup.client, b"hello").await;
        setup.client_host.move_to(elsewhere(1));
        setup.client.write_all(b"anyone?").await.expect("is queued");
        let lost = timeout(Duration::from_secs(31), setup.client.read_u8()).await;
        let error = lost
            .expect("within the user time-out")
            .expect_err("is gone");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
        assert_eq!(setup.listener.stats().moved, 0);
    }
}

/// A conversation without a cipher, and an attacker that knows its id but receives none of it.
#[tokio::test(start_paused = true)]
async fn guessed_conversation_id_moves_no_session() {
    let Setup {
        mut client,
        mut server,
        listener,
        client_host,
        server_host,
        network,
        ..
    } = in_clear().await;
    exchange(&mut client, &mut server, b"hello").await;

    let attacker = network.host();
    let update = |payload: &[u8]| {
        let header = SegmentHeader {
            conversation: client.conversation(),
            command: Command::WindowUpdate,
            fragments_left: 0,
            window: 0,
            timestamp: Timestamp::default(),
            sequence: 0,
            unacknowledged: 1,
            payload_len: u32::try_from(payload.len()).expect("is short"),
        };
        let mut bytes = vec![0; 24];
        header.encode(&mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    };
    server_host.inject(attacker.addr(), &update(&[]));
    sleep(Duration::from_millis(10)).await;
    let challenges: Vec<u64> = attacker
        .history()
        .iter()
        .flat_map(|datagram| {
            assert!(datagram.len() <= 3 * 24, "amplified");
            let segments: Vec<_> = Segments::new(datagram).map_while(Result::ok).collect();
            segments
                .iter()
                .flat_map(|(_, data)| kcp_transport::wire::Frames::new(data))
                .filter_map(|frame| match frame {
                    Ok(Frame::PathChallenge(data)) => Some(data),
                    _ => None,
                })
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(challenges.len(), 1, "the attacker is challenged");
    for tag in [1, 2, 3, u64::MAX] {
        let mut writer = FrameWriter::new(100);
        writer.push(&Frame::PathResponse {
            tag: Token::new(tag),
            data: challenges[0],
        });
        server_host.inject(attacker.addr(), &update(writer.payload()));
    }
    sleep(Duration::from_millis(10)).await;
    assert_eq!(listener.stats().moved, 0);
    assert_eq!(server.peer_addr().expect("known"), client_host.addr());
    exchange(&mut client, &mut server, b"still").await;
    exchange(&mut server, &mut client, b"here").await;
}

#[tokio::test(start_paused = true)]
async fn clients_with_one_conversation_id_move_independently() {
    let network = Network::default();
    let server_host = network.host();
    let security = Security::Plaintext;
    let listener = KcpListener::builder(&security)
        .on_transport(server_host.clone())
        .expect("in range");
    let mut pairs = Vec::new();
    for _ in 0..4 {
        let host = network.host();
        let addr = server_host.addr();
        let (client, accepted) = tokio::join!(
            KcpStream::builder(&security)
                .conversation(ConversationId::new(7))
                .transport(host.clone())
                .connect(addr),
            listener.accept(),
        );
        let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
        exchange(&mut client, &mut server, b"hello").await;
        pairs.push((host, client, server));
    }
    for (index, (host, client, server)) in (0..).zip(&mut pairs) {
        host.move_to(elsewhere(index));
        exchange(client, server, &[index as u8; 1000]).await;
        exchange(server, client, &[index as u8; 1000]).await;
        assert_eq!(server.peer_addr().expect("known"), elsewhere(index));
    }
    assert_eq!(listener.stats().passive_opens, 4);
}

/// A listener that challenges every peer, and clients that all use one conversation id.
#[tokio::test(start_paused = true)]
async fn clients_with_one_conversation_id_and_validated_addresses_connect() {
    let network = Network::default();
    let server_host = network.host();
    let security = Security::Plaintext;
    let distrustful = ListenerConfig::builder().max_unvalidated(0).build();
    let listener = KcpListener::builder(&security)
        .listener_config(&distrustful.expect("in range"))
        .on_transport(server_host.clone())
        .expect("in range");
    let mut pairs = Vec::new();
    for index in 0..3 {
        let (host, addr) = (network.host(), server_host.addr());
        let (client, accepted) = tokio::join!(
            KcpStream::builder(&security)
                .conversation(ConversationId::new(7))
                .transport(host)
                .connect(addr),
            timeout(Duration::from_secs(10), listener.accept()),
        );
        let accepted = accepted.unwrap_or_else(|_| panic!("client {index} is shut out"));
        let (mut client, mut server) = (client.expect("connects"), accepted.expect("accepts").0);
        exchange(&mut client, &mut server, b"hello").await;
        pairs.push((client, server));
    }
    for (client, server) in &mut pairs {
        exchange(client, server, b"still").await;
        exchange(server, client, b"here").await;
    }
    assert_eq!(listener.stats().moved, 0);
}

/// The answer to a challenge is good for a while, and may come in twice.
#[tokio::test(start_paused = true)]
async fn migration_that_is_validated_twice_counts_once() {
    let Setup {
        mut client,
        mut server,
        listener,
        client_host,
        server_host,
        ..
    } = in_clear().await;
    exchange(&mut client, &mut server, b"hello").await;
    for index in 1..3 {
        client_host.move_to(elsewhere(index));
        exchange(&mut client, &mut server, b"moved").await;
    }
    assert_eq!(listener.stats().moved, 2);
    let proofs: Vec<_> = server_host
        .take_history()
        .into_iter()
        .filter(|(from, datagram)| {
            *from == elsewhere(1) && kcp_transport::session::path_response(datagram).is_some()
        })
        .collect();
    for (from, datagram) in proofs.iter().chain(&proofs) {
        server_host.inject(*from, datagram);
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(server.peer_addr().expect("known"), elsewhere(1));
    assert_eq!(listener.stats().moved, 3);
}

/// A listener in clear, which takes every copy of a packet for a new one, and one connection.
async fn in_clear() -> Setup {
    let network = Network::default();
    let (client_host, server_host) = (network.host(), network.host());
    let (security, config) = (Security::Plaintext, Config::default());
    let listener = KcpListener::builder(&security)
        .config(&config)
        .on_transport(server_host.clone())
        .expect("in range");
    let addr = server_host.addr();
    let (client, accepted) = tokio::join!(
        KcpStream::builder(&security)
            .config(&config)
            .transport(client_host.clone())
            .connect(addr),
        listener.accept(),
    );
    Setup {
        client: client.expect("connects"),
        server: accepted.expect("accepts").0,
        listener,
        client_host,
        server_host,
        network,
    }
}

/// Lets all that came before come again.
async fn repeat(to: &Host, history: &[(SocketAddr, Vec<u8>)]) {
    for (from, datagram) in history {
        to.inject(*from, datagram);
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn late_packets_on_the_old_path_open_no_session() {
    let mut setup = in_clear().await;
    let (home, away) = (setup.client_host.addr(), elsewhere(1));
    exchange(&mut setup.client, &mut setup.server, b"the beginning").await;
    exchange(&mut setup.server, &mut setup.client, b"an answer").await;
    let history = setup.server_host.take_history();
    for (turn, addr) in [away, home, away].into_iter().enumerate() {
        setup.client_host.move_to(addr);
        exchange(&mut setup.client, &mut setup.server, b"from elsewhere").await;
        repeat(&setup.server_host, &history).await;
        exchange(&mut setup.client, &mut setup.server, b"still there").await;
        exchange(&mut setup.server, &mut setup.client, b"so are we").await;
        let stats = setup.listener.stats();
        assert_eq!(stats.moved, 1 + turn as u64, "{stats}");
        assert_eq!(stats.passive_opens, 1, "{stats}");
        assert_eq!(setup.server.peer_addr().expect("known"), addr);
    }
}

#[tokio::test(start_paused = true)]
async fn data_that_is_repeated_late_on_the_old_path_is_known_to_have_arrived() {
    let mut setup = in_clear().await;
    let home = setup.client_host.addr();
    exchange(&mut setup.client, &mut setup.server, b"the beginning").await;
    exchange(&mut setup.server, &mut setup.client, b"an answer").await;
    setup.server_host.take_history();
    exchange(&mut setup.client, &mut setup.server, b"more").await;
    setup.client_host.move_to(elsewhere(1));
    exchange(&mut setup.client, &mut setup.server, b"and the end").await;
    let data = setup.server_host.take_history().into_iter();
    let data = data.map(|(_, datagram)| (home, datagram));
    let data: Vec<_> = data.filter(|(_, it)| it[4] == PUSH).collect();
    assert!(data.len() >= 2);
    let (mut client, mut server) = (setup.client, setup.server);
    let (one, other) = tokio::join!(client.shutdown(), server.shutdown());
    one.expect("drains");
    other.expect("drains");
    drop((client, server));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(setup.listener.stats().connections, 0);
    let old_path = setup.network.host_at(home);
    repeat(&setup.server_host, &data).await;
    let answers = old_path.history();
    let una = |answer: &Vec<u8>| SegmentHeader::decode(answer).map(|it| it.0.unacknowledged);
    let una: Vec<_> = answers.iter().map_while(|it| una(it).ok()).collect();
    assert_eq!(una, vec![3; data.len()]);
    assert_eq!(setup.listener.stats().passive_opens, 1);
}

/// Where a segment's header has its command, data has this.
const PUSH: u8 = 81;
