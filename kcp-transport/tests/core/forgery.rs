//! Sessions that receive forged datagrams.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::session::State;
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Rng, Side};
use kcp_transport::wire::{Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    Rng::new(seed).fill(&mut data);
    data
}

fn encode(header: SegmentHeader, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; SEGMENT_HEADER_LEN];
    header.encode(&mut bytes);
    bytes.extend_from_slice(data);
    bytes
}

/// The conversation of the pair with this seed.
fn conversation(seed: u64) -> ConversationId {
    ConversationId::new(Rng::new(seed).next_u32())
}

/// A datagram of which one thing cannot be true, all else being drawn.
fn forged(rng: &mut Rng, conversation: ConversationId) -> Vec<u8> {
    let len = rng.below(100) as usize;
    let data = bytes(rng.next_u64(), len);
    let mut header = SegmentHeader {
        conversation,
        command: [Command::Push, Command::Ack, Command::WindowUpdate][rng.below(3) as usize],
        fragments_left: rng.next_u32() as u8,
        window: rng.next_u32() as u16,
        timestamp: Timestamp::from_wire(rng.next_u32()),
        sequence: rng.next_u32(),
        unacknowledged: rng.next_u32(),
        payload_len: len as u32,
    };
    match rng.below(4) {
        // Far beyond all that is sent in these tests.
        0 => header.unacknowledged = 1_000_000 + rng.below(1 << 30) as u32,
        1 => header.payload_len += 1 + rng.below(1 << 31) as u32,
        2 => header.conversation = ConversationId::new(!conversation.get() ^ rng.next_u32() >> 1),
        _ => {
            let mut unknown = encode(header, &data);
            unknown[4] = rng.below(81) as u8;
            return unknown;
        }
    }
    encode(header, &data)
}

#[test]
fn forged_datagrams_change_no_byte_of_what_a_session_sends() {
    let mut forgeries = 0;
    for seed in 0..100 {
        let config = PairConfig {
            link: LinkConfig {
                loss: 0.05,
                reorder: 0.1,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        };
        let run = |attacked: bool, forgeries: &mut u64| {
            let mut rng = Rng::new(seed + 1000);
            let mut pair = Pair::new(seed, &config);
            let data = bytes(seed, 100_000);
            let mut unsent = &data[..];
            let mut received = Vec::new();
            let mut buffer = [0; 4096];
            while received.len() < data.len() {
                let now = pair.now();
                if pair.client.session.state() == State::Established {
                    let taken = pair.client.session.write(now, unsent);
                    unsent = &unsent[taken..];
                    for _ in 0..if attacked { rng.below(8) } else { 0 } {
                        let side = [Side::Client, Side::Server][rng.below(2) as usize];
                        let datagram = forged(&mut rng, conversation(seed));
                        pair.peer(side).session.handle_datagram(now, &datagram);
                        *forgeries += 1;
                    }
                }
                assert!(pair.step());
                let now = pair.now();
                let read = pair.server.session.read(now, &mut buffer);
                received.extend_from_slice(&buffer[..read]);
            }
            assert!(received == data);
            (pair.now(), pair.trace())
        };
        let quiet = run(false, &mut forgeries);
        assert_eq!(quiet, run(true, &mut forgeries), "seed {seed}");
    }
    assert!(forgeries > 10_000, "{forgeries}");
}

#[test]
fn forged_una_of_the_past_does_not_pass_for_a_restarted_peer() {
    for seed in 0..20 {
        let config = PairConfig {
            link: LinkConfig {
                loss: 0.05,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        };
        let mut pair = Pair::new(seed, &config);
        pair.transfer(&bytes(seed, 50_000)).expect("arrives");
        pair.run_for(Duration::from_secs(1));
        let forged = encode(
            SegmentHeader {
                conversation: conversation(seed),
                command: Command::WindowUpdate,
                fragments_left: 0,
                window: 0,
                timestamp: Timestamp::default(),
                sequence: 0,
                unacknowledged: 0,
                payload_len: 0,
            },
            &[],
        );
        for _ in 0..600 {
            let now = pair.now();
            pair.client.session.handle_datagram(now, &forged);
            pair.run_for(Duration::from_millis(100));
        }
        assert_eq!(
            pair.client.session.state(),
            State::Established,
            "seed {seed}"
        );
    }
}

#[test]
fn forged_window_does_not_let_a_full_peer_pass_for_one_that_is_gone() {
    let limit = Duration::from_secs(20);
    let server = Config::builder().windows(128, 8).build().expect("in range");
    let client = Config::builder().user_timeout(limit).build();
    let config = PairConfig {
        client: client.expect("in range"),
        server,
        ..PairConfig::default()
    };
    let mut pair = Pair::new(1, &config);
    pair.run_until(limit, |pair| {
        pair.client.session.state() == State::Established
    });
    let now = pair.now();
    pair.client.session.write(now, &bytes(1, 300_000));
    // Full, and no reader takes anything.
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.client.session.stats().remote_window, 0);
    assert_eq!(pair.client.session.stats().in_flight, 0);
    let sent = pair.client.session.stats().data_segments_sent;
    let forged = SegmentHeader {
        conversation: conversation(1),
        command: Command::WindowUpdate,
        fragments_left: 0,
        window: 200,
        timestamp: Timestamp::default(),
        sequence: 0,
        unacknowledged: sent as u32,
        payload_len: 0,
    };
    let now = pair.now();
    let forged = encode(forged, &[]);
    pair.client.session.handle_datagram(now, &forged);
    pair.run_for(limit * 3);
    assert!(
        pair.client.session.stats().data_segments_sent > sent,
        "believed"
    );
    assert_eq!(pair.client.session.state(), State::Established);
    let mut read = Vec::new();
    while read.len() < 300_000 {
        assert!(pair.step());
        assert_eq!(pair.client.session.state(), State::Established);
        let now = pair.now();
        let mut buffer = [0; 4096];
        let len = pair.server.session.read(now, &mut buffer);
        read.extend_from_slice(&buffer[..len]);
    }
    assert!(read == bytes(1, 300_000));
}
