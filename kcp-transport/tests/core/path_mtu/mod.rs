//! The size of datagrams follows the path.

mod messages;

use std::time::Duration;

use kcp_transport::config::{Config, ConfigBuilder, Extensions, MtuDiscovery};
use kcp_transport::crypto::Security;
use kcp_transport::error::ConnectionError;
use kcp_transport::fec::FecRatio;
use kcp_transport::session::State;
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Side};
use kcp_transport::time::Time;
use kcp_transport::wire::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn config(builder: ConfigBuilder) -> Config {
    builder.build().expect("in range")
}

/// Two sides with the same options, and links that lose what is longer than `mtu`.
fn pair(options: &Config, mtu: usize) -> Pair {
    let config = PairConfig {
        client: options.clone(),
        server: options.clone(),
        security: Security::from_password("aes-128-gcm", "sim", b"kcp-go").expect("known"),
        link: LinkConfig {
            mtu,
            ..LinkConfig::default()
        },
        ..PairConfig::default()
    };
    let mut pair = Pair::new(7, &config);
    let up = pair.run_until(ms(5000), |pair| {
        pair.client.session.state() == State::Established
    });
    assert!(up, "connects");
    pair
}

fn set_mtu(pair: &mut Pair, mtu: usize) {
    for side in [Side::Client, Side::Server] {
        pair.peer(side).link.set_config(LinkConfig {
            mtu,
            ..LinkConfig::default()
        });
    }
}

/// Sends `len` bytes from one side to the other within `time`.
fn send(pair: &mut Pair, from: Side, len: usize, time: Duration) {
    let to = match from {
        Side::Client => Side::Server,
        Side::Server => Side::Client,
    };
    let data: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    let (mut sent, mut received) = (0, Vec::new());
    let end = pair.now() + time;
    while received.len() < len {
        let now = pair.now();
        sent += pair.peer(from).session.write(now, &data[sent..]);
        pair.step();
        let now = pair.now();
        let mut buffer = [0; 4096];
        while let read @ 1.. = pair.peer(to).session.read(now, &mut buffer) {
            received.extend_from_slice(&buffer[..read]);
        }
        assert!(
            pair.now() <= end,
            "{} of {len} bytes after {time:?}; {:?}",
            received.len(),
            pair.peer(from).session.stats()
        );
    }
    assert_eq!(received, data);
}

const SIDES: [Side; 2] = [Side::Client, Side::Server];

#[test]
fn wide_path_is_used_after_a_round_trip() {
    for side in SIDES {
        let mut pair = pair(&Config::default(), 1500);
        // A side that was opened by its peer has to know that the address is true.
        send(&mut pair, Side::Client, 1, ms(200));
        send(&mut pair, Side::Server, 1, ms(200));
        assert_eq!(pair.peer(side).session.path_mtu(), 1200);
        let begun = pair.now();
        send(&mut pair, side, 3000, ms(200));
        pair.run_until(ms(1000), |pair| pair.peer(side).session.path_mtu() > 1200);
        assert_eq!(pair.peer(side).session.path_mtu(), 1400);
        assert!(pair.now() - begun <= ms(41), "{:?}", pair.now() - begun);
        let stats = pair.peer(side).session.stats();
        assert_eq!(stats.path_probes_sent, 1);
        assert_eq!((stats.retransmitted, stats.path_narrowed), (0, 0));
    }
}

#[test]
fn nothing_is_probed_for_small_writes() {
    let mut pair = pair(&Config::default(), 1500);
    for _ in 0..20 {
        send(&mut pair, Side::Client, 900, ms(200));
        send(&mut pair, Side::Server, 900, ms(200));
    }
    for side in SIDES {
        assert_eq!(pair.peer(side).session.stats().path_probes_sent, 0);
    }
}

#[test]
fn largest_datagram_that_passes_is_found_in_two_seconds() {
    for mtu in [1399, 1392, 1372, 1320, 1300, 1252, 1232, 1200] {
        for side in SIDES {
            let mut pair = pair(&Config::default(), mtu);
            // Data passes all the while.
            send(&mut pair, side, 200_000, ms(500));
            pair.run_for(ms(2000));
            let found = pair.peer(side).session.path_mtu();
            assert!(found <= mtu && mtu - found < 24, "{found} of {mtu}");
            send(&mut pair, side, 200_000, ms(500));
            assert_eq!(pair.peer(side).session.stats().retransmitted, 0);
        }
    }
}

#[test]
fn jumbo_frames_are_used_where_they_pass() {
    for (mtu, expected) in [(9000, 9000), (8980, 8972), (1500, 1472), (1460, 1452)] {
        for side in SIDES {
            let mut pair = pair(&config(Config::builder().mtu(9000)), mtu);
            send(&mut pair, side, 200_000, ms(1000));
            pair.run_for(ms(3000));
            let found = pair.peer(side).session.path_mtu();
            assert!((expected..=mtu).contains(&found), "{found} of {mtu}");
            send(&mut pair, side, 200_000, ms(1000));
        }
    }
}

#[test]
fn without_discovery_datagrams_have_the_mtu() {
    let options = Config::builder().mtu_discovery(MtuDiscovery::Off);
    let mut pair = pair(&config(options), 1500);
    assert_eq!(pair.client.session.path_mtu(), 1400);
    send(&mut pair, Side::Client, 100_000, ms(500));
    assert_eq!(pair.client.session.stats().path_probes_sent, 0);
}

#[test]
fn fec_and_plain_kcp_find_the_size_too() {
    let fec = Config::builder().fec(FecRatio::new(4, 2).expect("in range"));
    let plain = Config::builder().extensions(Extensions::Off);
    for options in [config(fec), config(plain)] {
        for side in SIDES {
            let mut pair = pair(&options, 1300);
            send(&mut pair, side, 200_000, ms(1000));
            pair.run_for(ms(2000));
            let found = pair.peer(side).session.path_mtu();
            assert!((1277..=1300).contains(&found), "{found}");
            assert_eq!(pair.peer(side).session.stats().retransmitted, 0);
        }
    }
}

#[test]
fn path_that_becomes_wide_is_found_after_a_minute() {
    let mut pair = pair(&Config::default(), 1300);
    send(&mut pair, Side::Client, 100_000, ms(500));
    pair.run_for(ms(2000));
    set_mtu(&mut pair, 1500);
    send(&mut pair, Side::Client, 100_000, ms(500));
    assert!(pair.client.session.path_mtu() <= 1300);
    pair.run_for(Duration::from_secs(61));
    send(&mut pair, Side::Client, 100_000, ms(500));
    pair.run_for(ms(100));
    assert_eq!(pair.client.session.path_mtu(), 1400);
}

#[test]
fn outage_does_not_make_datagrams_small_for_long() {
    let mut pair = pair(&Config::default(), 1500);
    send(&mut pair, Side::Client, 100_000, ms(500));
    pair.run_for(ms(200));
    let now = pair.now();
    pair.client.session.write(now, &[7; 100_000]);
    pair.client.link.set_cut(true);
    pair.server.link.set_cut(true);
    pair.run_for(ms(5000));
    assert_eq!(pair.client.session.path_mtu(), 1200);
    pair.client.link.set_cut(false);
    pair.server.link.set_cut(false);
    pair.run_for(ms(3000));
    assert_eq!(pair.client.session.path_mtu(), 1400);
    let narrowed = pair.client.session.stats().path_narrowed;
    assert_eq!(narrowed, 1);
}

/// A segment keeps its size, so data that was cut for the wider path waits for it.
#[test]
fn path_that_is_narrow_for_a_while_delivers_everything() {
    for narrow in [1300, 1000, 600] {
        for side in SIDES {
            let mut pair = pair(&Config::default(), 1500);
            send(&mut pair, side, 100_000, ms(500));
            pair.run_for(ms(200));
            assert_eq!(pair.peer(side).session.path_mtu(), 1400);
            set_mtu(&mut pair, narrow);
            let now = pair.now();
            let accepted = pair.peer(side).session.write(now, &[7; 50_000]);
            assert_eq!(accepted, 50_000);
            pair.run_for(ms(10_000));
            let stats = pair.peer(side).session.stats();
            assert!(usize::from(stats.path_mtu) <= narrow.max(1200), "{stats:?}");
            assert!(stats.path_narrowed > 0, "{stats:?}");
            set_mtu(&mut pair, 1500);
            let arrived = pair.run_until(ms(5000), |pair| pair.peer(side).session.is_drained());
            assert!(arrived, "{:?}", pair.peer(side).session.stats());
        }
    }
}

#[test]
fn path_that_stays_narrow_and_loses_fragments_ends_the_session_with_the_size_that_passes() {
    // From the beginning, and during the connection.
    for (first, then, passes) in [(1000, 1000, 960), (1500, 1000, 960), (1500, 1300, 1300)] {
        for side in SIDES {
            let mut pair = pair(&Config::default(), first);
            if first != then {
                send(&mut pair, side, 100_000, ms(500));
                pair.run_for(ms(200));
                set_mtu(&mut pair, then);
            }
            let now = pair.now();
            pair.peer(side).session.write(now, &[7; 20_000]);
            let ended =
                pair.run_until(ms(40_000), |pair| pair.peer(side).session.error().is_some());
            assert!(ended, "{:?}", pair.peer(side).session.stats());
            let error = pair.peer(side).session.error().expect("has ended");
            let ConnectionError::PathTooNarrow(size) = error else {
                panic!("{first} {then}: {error}");
            };
            assert!(usize::from(size) <= passes, "{error}");
            assert!(size >= 508, "{error}");
            assert!(error.to_string().contains("mtu"), "{error}");
        }
    }
}

/// Of a probe, its size is excluded; of a datagram with data, a smaller size is used at once.
#[test]
fn size_that_the_system_refuses_is_not_used() {
    for side in SIDES {
        let mut pair = pair(&Config::default(), 1300);
        let begun = pair.now();
        let mut probes = 0;
        let found = |pair: &mut Pair| (1277..=1300).contains(&pair.peer(side).session.path_mtu());
        while !found(&mut pair) {
            let now = pair.now();
            let session = &mut pair.peer(side).session;
            session.write(now, &[7; 2000]);
            pair.step();
            let now = pair.now();
            let session = &mut pair.peer(side).session;
            let sent = session.stats().path_probes_sent;
            // The sizes that are tried first: 1400, 1392 and 1372.
            if sent > probes && probes < 3 {
                session.handle_too_long(now);
            }
            probes = sent;
            let waited = pair.now() - begun;
            let stats = pair.peer(side).session.stats();
            assert!(waited < ms(2000), "{stats:?}");
        }
        let session = &mut pair.peer(side).session;
        assert_eq!(session.stats().path_narrowed, 0);
        let now = pair.now();
        pair.run_until(ms(1000), |pair| pair.now() > now + ms(500));
        pair.peer(side).session.handle_too_long(now);
        assert_eq!(pair.peer(side).session.path_mtu(), 1200);
    }
}

#[test]
fn session_sleeps_once_the_size_is_found() {
    let options = Config::builder().keepalive(None).idle_timeout(None);
    let mut pair = pair(&config(options), 1300);
    send(&mut pair, Side::Client, 100_000, ms(500));
    pair.run_for(Duration::from_secs(30));
    let sent = pair.client.session.stats().datagrams_sent;
    pair.run_for(Duration::from_secs(3600));
    assert_eq!(pair.client.session.stats().datagrams_sent, sent);
    assert_eq!(pair.client.session.poll_timeout(), None::<Time>);
}

/// An attacker that sees no packets knows the sequence number of a probe, and guesses its time.
#[test]
fn forged_acknowledgements_do_not_change_the_size_of_datagrams() {
    let mut pair = pair(&Config::default(), 1300);
    send(&mut pair, Side::Client, 20_000, ms(500));
    for time in 0..100_000 {
        let header = SegmentHeader {
            conversation: pair.client.session.conversation(),
            command: Command::Ack,
            fragments_left: 0,
            window: 1024,
            timestamp: Timestamp::from_wire(time * 40_000),
            sequence: u32::MAX,
            unacknowledged: 0,
            payload_len: 0,
        };
        let mut forged = [0; SEGMENT_HEADER_LEN];
        header.encode(&mut forged);
        let now = pair.now();
        pair.client.session.handle_datagram(now, &forged);
    }
    assert_eq!(pair.client.session.path_mtu(), 1200);
}
