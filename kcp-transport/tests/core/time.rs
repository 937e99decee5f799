//! Clocks that wrap, jump and stand still, in virtual time.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::fec::FecRatio;
use kcp_transport::session::State;
use kcp_transport::stats::Stats;
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Rng, Side};
use kcp_transport::time::Time;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Longer than a clock of 32 bits counts milliseconds.
const WRAP: Duration = DAY.saturating_mul(51);

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    Rng::new(seed).fill(&mut data);
    data
}

fn with_fec(data: usize, parity: usize) -> PairConfig {
    let ratio = FecRatio::new(data, parity).expect("in range");
    let config = Config::builder().fec(ratio).build().expect("in range");
    PairConfig {
        client: config.clone(),
        server: config,
        ..PairConfig::default()
    }
}

fn bad_link() -> LinkConfig {
    LinkConfig {
        loss: 0.05,
        reorder: 0.05,
        duplicate: 0.02,
        ..LinkConfig::default()
    }
}

/// What a run comes to: when it ended, and what the client counted.
fn run(config: &PairConfig, size: usize) -> (Time, Stats) {
    let mut pair = Pair::new(5, config);
    let data = bytes(1, size);
    assert!(pair.transfer(&data).expect("arrives") == data);
    (pair.now(), pair.client.session.stats())
}

fn read_all(pair: &mut Pair, side: Side) -> Vec<u8> {
    let now = pair.now();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match pair.peer(side).session.read(now, &mut buffer) {
            0 => return all,
            len => all.extend_from_slice(&buffer[..len]),
        }
    }
}

/// Sends a message from one side and waits until the other has it and the sender knows.
fn say(pair: &mut Pair, from: Side, to: Side, message: &[u8]) {
    let now = pair.now();
    assert_eq!(pair.peer(from).session.write(now, message), message.len());
    let mut heard = Vec::new();
    let arrived = pair.run_until(Duration::from_secs(20), |pair| {
        heard.extend(read_all(pair, to));
        heard.len() >= message.len() && pair.peer(from).session.is_drained()
    });
    assert!(arrived, "not all of it arrives");
    assert!(heard == message, "something else arrives");
}

#[test]
fn timestamps_wrap_without_a_difference() {
    let start = |initial_timestamp| PairConfig {
        link: bad_link(),
        initial_timestamp: Some(initial_timestamp),
        ..PairConfig::default()
    };
    let size = 4_000_000;
    let plain = run(&start(0), size);
    let lasts = u32::try_from(plain.0.as_millis()).expect("seconds");
    for wrap in [1 << 31, 0_u32] {
        for before in [1, 10, lasts / 2, lasts - 1] {
            let other = run(&start(wrap.wrapping_sub(before)), size);
            assert_eq!(plain, other, "{before} ms before {wrap:#x}");
        }
    }
}

#[test]
fn sequence_numbers_wrap_without_a_difference() {
    let start = |initial_sequence| PairConfig {
        link: bad_link(),
        initial_sequence,
        ..PairConfig::default()
    };
    let size = 4_000_000;
    let plain = run(&start(0), size);
    for wrap in [1 << 31, 0_u32] {
        for before in [1, 2, 33, 100, 1000] {
            let other = run(&start(wrap.wrapping_sub(before)), size);
            assert_eq!(plain, other, "{before} before {wrap:#x}");
        }
    }
}

#[test]
fn fec_numbers_wrap_and_lost_packets_are_rebuilt_on_both_sides_of_it() {
    for (data, parity) in [(10, 3), (3, 1), (1, 1), (20, 5)] {
        let start = |fec_groups_left| PairConfig {
            link: bad_link(),
            fec_groups_left,
            ..with_fec(data, parity)
        };
        let size = 2_000_000;
        let (_, plain) = run(&start(Some(10_000)), size);
        assert!(plain.retransmitted > 0, "the path is bad");
        // From 20 packets before the end of numbers.
        for groups in [20 / (data + parity) + 1, 30, 60] {
            let groups = u32::try_from(groups).expect("small");
            let (_, wrapped) = run(&start(Some(groups)), size);
            // What parity does not bring back is sent again.
            let (with, without) = (wrapped.retransmitted, plain.retransmitted);
            assert!(
                with.abs_diff(without) <= 5 + without / 50,
                "{data}/{parity}, {groups} groups before: {with} instead of {without}"
            );
        }
    }
}

#[test]
fn fifty_one_idle_days_on_keepalives_leave_a_connection_like_a_fresh_one() {
    let after = |pause| {
        let mut pair = Pair::new(3, &PairConfig::default());
        say(&mut pair, Side::Client, Side::Server, b"before");
        pair.run_for(pause);
        for index in 0..50 {
            say(&mut pair, Side::Client, Side::Server, &bytes(index, 3000));
            say(&mut pair, Side::Server, Side::Client, &bytes(index, 3000));
        }
        assert_eq!(pair.client.session.state(), State::Established);
        let stats = pair.client.session.stats();
        assert_eq!(stats.retransmitted, 0);
        stats.rto
    };
    let (fresh, old) = (after(Duration::ZERO), after(WRAP));
    assert!(
        fresh.abs_diff(old) <= Duration::from_millis(1),
        "{old:?} instead of {fresh:?}"
    );
}

#[test]
fn fifty_one_days_at_a_message_a_minute_leave_a_connection_like_a_fresh_one() {
    let mut pair = Pair::new(3, &PairConfig::default());
    let minutes = WRAP.as_secs() / 60;
    let mut fresh = Duration::ZERO;
    for minute in 0..minutes {
        say(&mut pair, Side::Client, Side::Server, &minute.to_le_bytes());
        pair.run_for(Duration::from_secs(60));
        if minute == 100 {
            fresh = pair.client.session.stats().rto;
        }
    }
    let stats = pair.client.session.stats();
    assert!(
        fresh.abs_diff(stats.rto) <= Duration::from_millis(1),
        "{:?}, not {fresh:?}",
        stats.rto
    );
    assert_eq!(stats.retransmitted, 0);
    assert_eq!(stats.data_segments_sent, minutes);
}

/// Pauses of everything, as of a machine that sleeps with its peer, or a clock that jumps.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(5),
    Duration::from_secs(60),
    Duration::from_secs(3600),
    DAY.saturating_mul(26),
];

#[test]
fn pause_ends_no_connection_whose_peer_answers() {
    for pause in PAUSES {
        for times in [1, 5] {
            let mut pair = Pair::new(9, &PairConfig::default());
            say(&mut pair, Side::Client, Side::Server, &bytes(1, 50_000));
            for index in 0..times {
                pair.sleep(pause);
                // The client, the server or neither has something to send.
                match index % 3 {
                    0 => say(&mut pair, Side::Client, Side::Server, &bytes(2, 50_000)),
                    1 => say(&mut pair, Side::Server, Side::Client, &bytes(3, 50_000)),
                    _ => pair.run_for(Duration::from_secs(10)),
                }
            }
            for side in [Side::Client, Side::Server] {
                assert_eq!(
                    pair.peer(side).session.state(),
                    State::Established,
                    "{pause:?}"
                );
            }
        }
    }
}

#[test]
fn pause_in_the_middle_of_a_transfer_is_no_loss_storm() {
    for loss in [0.0, 0.05] {
        let mut usual = None;
        for pause in [Duration::ZERO].into_iter().chain(PAUSES) {
            // Losses differ with every packet that differs, so that one run shows little.
            let runs: Vec<_> = (0..20).map(|seed| interrupted(seed, loss, pause)).collect();
            let took: Duration = runs.iter().map(|run| run.0).sum();
            let resent: u64 = runs.iter().map(|run| run.1).sum();
            let usual = *usual.get_or_insert((took, resent));
            // What was in flight gets another time-out of 200 ms at most.
            let patience = Duration::from_millis(200) * 20;
            assert!(
                took <= usual.0 * 2 + patience && resent <= usual.1 * 5 / 4 + 20,
                "{took:?}, {resent} sent again after {pause:?}, {usual:?} without"
            );
        }
    }
}

/// Sends a megabyte, with a pause after 30 ms. Returns how long it took without the pause, and how
/// many segments were sent again.
fn interrupted(seed: u64, loss: f64, pause: Duration) -> (Duration, u64) {
    let config = PairConfig {
        link: LinkConfig {
            loss,
            ..LinkConfig::default()
        },
        ..PairConfig::default()
    };
    let data = bytes(1, 1_000_000);
    let mut pair = Pair::new(seed, &config);
    assert!(pair.run_until(Duration::from_secs(5), |pair| {
        pair.client.session.state() == State::Established
    }));
    let start = pair.now();
    assert_eq!(pair.client.session.write(start, &data), data.len());
    pair.run_for(Duration::from_millis(30));
    pair.sleep(pause);
    let (sent, resent) = (pair.client.link.stats().sent, retransmitted(&pair));
    pair.run_for(Duration::from_millis(1));
    // All of the window that is free, and one probe: nothing on top of that.
    let burst = pair.client.link.stats().sent - sent;
    assert!(burst <= 1024, "{burst} datagrams at once after {pause:?}");
    let storm = retransmitted(&pair) - resent;
    assert!(
        storm <= 2 || loss > 0.0,
        "{storm} sent again after {pause:?}"
    );
    let mut received = Vec::new();
    let arrived = pair.run_until(Duration::from_secs(20), |pair| {
        received.extend(read_all(pair, Side::Server));
        received.len() >= data.len()
    });
    assert!(arrived && received == data, "{pause:?}");
    (pair.now() - start - pause, retransmitted(&pair))
}

fn retransmitted(pair: &Pair) -> u64 {
    pair.client.session.stats().retransmitted
}

#[test]
fn peer_that_vanished_during_a_pause_is_noticed_soon_after() {
    for pause in &PAUSES[2..] {
        let mut pair = Pair::new(6, &PairConfig::default());
        say(&mut pair, Side::Client, Side::Server, b"hello");
        pair.client.link.set_cut(true);
        pair.server.link.set_cut(true);
        pair.sleep(*pause);
        let woken = pair.now();
        pair.client.session.write(woken, b"still there?");
        assert!(
            pair.run_until(Duration::from_secs(60), |pair| {
                pair.client.session.error().is_some()
            }),
            "{pause:?}"
        );
        assert!(pair.now() - woken <= Duration::from_secs(31), "{pause:?}");
    }
}
