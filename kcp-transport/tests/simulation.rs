//! Seeded simulations of two sessions over bad links, in virtual time.
//!
//! A failure prints its seed; `KCP_SIM_SEED=<seed> cargo test -p kcp-transport --features testing
//! --test simulation` runs that seed alone.

use std::time::Duration;

use kcp_transport::config::{AckPolicy, Config, Congestion, Extensions, Mode, Preset};
use kcp_transport::crypto::Security;
use kcp_transport::error::ConnectionError;
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::Overhead;
use kcp_transport::session::{Role, Session, State};
use kcp_transport::testing::{LinkConfig, Pair, PairConfig, Rng, Side, seeds};
use kcp_transport::time::Time;
use kcp_transport::wire::{Command, ConversationId, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

/// Everything a seed decides: link, options of both sides, and how much is sent.
fn draw(seed: u64) -> (PairConfig, usize) {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let security = match rng.below(4) {
        0 => Security::from_password("aes-128-gcm", "sim", b"kcp-go"),
        1 => Security::from_password("aes-128", "sim", b"kcp-go"),
        _ => Security::from_password("null", "sim", b"kcp-go"),
    }
    .expect("known names");
    let corruptible = security.overhead().front > 0;
    let percent = |rng: &mut Rng, most: u64| rng.below(most + 1) as f64 / 100.0;
    let link = LinkConfig {
        delay: Duration::from_micros(100 + rng.below(80_000)),
        jitter: rng.duration(Duration::from_millis(10)),
        loss: percent(&mut rng, 40),
        duplicate: percent(&mut rng, 10),
        reorder: percent(&mut rng, 25),
        corrupt: if corruptible {
            percent(&mut rng, 5)
        } else {
            0.0
        },
        rate: rng.chance(0.2).then(|| 50_000 + rng.below(5_000_000)),
        queue: 20 + rng.below(400) as usize,
    };
    let initial_sequence = if rng.chance(0.2) {
        u32::MAX - rng.below(40) as u32
    } else {
        0
    };
    let client = draw_config(&mut rng);
    let server = draw_config(&mut rng);
    let size = [0, 1, 1000, 20_000, 150_000][rng.below(5) as usize] + rng.below(2000) as usize;
    (
        PairConfig {
            client,
            server,
            security,
            link,
            initial_sequence,
            fec_groups_left: rng.chance(0.2).then(|| 1 + rng.below(20) as u32),
            initial_timestamp: None,
        },
        size,
    )
}

fn draw_config(rng: &mut Rng) -> Config {
    let preset = [Preset::Normal, Preset::Fast, Preset::Fast2, Preset::Fast3];
    let windows = [1, 2, 16, 128, 1024, 65_535];
    let ratios = [
        None,
        Some((10, 3)),
        Some((2, 1)),
        Some((1, 1)),
        Some((3, 1)),
    ];
    let mtus = [128, 576, 1350, 1400, 1500];
    let fec = ratios[rng.below(5) as usize]
        .map(|(data, parity)| FecRatio::new(data, parity).expect("in range"));
    Config::builder()
        .preset(preset[rng.below(4) as usize])
        .windows(
            windows[rng.below(6) as usize],
            windows[rng.below(6) as usize],
        )
        .fec(fec)
        .mtu(mtus[rng.below(5) as usize])
        .congestion(if rng.chance(0.2) {
            Congestion::Kcp
        } else {
            Congestion::Unlimited
        })
        .ack_policy(if rng.chance(0.3) {
            AckPolicy::Batched
        } else {
            AckPolicy::Immediate
        })
        .mode(Mode::Stream)
        .connect_timeout(Duration::from_secs(600))
        .user_timeout(Duration::from_secs(600))
        .build()
        .expect("in range")
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    Rng::new(seed).fill(&mut data);
    data
}

#[test]
fn every_byte_arrives_in_order_over_any_link() {
    let mut virtual_time = Duration::ZERO;
    for seed in seeds(0..2500) {
        let (config, size) = draw(seed);
        let data = bytes(seed, size);
        let mut pair = Pair::new(seed, &config);
        let received = pair
            .transfer(&data)
            .unwrap_or_else(|error| panic!("KCP_SIM_SEED={seed}: {error} with {config:?}"));
        assert!(
            received == data,
            "KCP_SIM_SEED={seed}: bytes differ with {config:?}"
        );
        virtual_time += pair.now() - kcp_transport::time::Time::ZERO;
    }
    println!("{:.0} virtual seconds", virtual_time.as_secs_f64());
}

#[test]
fn same_seed_gives_the_same_packets() {
    for seed in seeds(0..40) {
        let run = || {
            let (config, size) = draw(seed);
            let mut pair = Pair::new(seed, &config);
            pair.transfer(&bytes(seed, size)).expect("arrives");
            (pair.trace(), pair.now())
        };
        assert_eq!(run(), run(), "KCP_SIM_SEED={seed}");
    }
}

#[test]
fn half_of_all_packets_may_be_lost() {
    for seed in seeds(0..20) {
        let config = PairConfig {
            link: LinkConfig {
                loss: 0.5,
                reorder: 0.25,
                duplicate: 0.1,
                ..LinkConfig::default()
            },
            client: patient(),
            server: patient(),
            ..PairConfig::default()
        };
        let data = bytes(seed, 200_000);
        let received = Pair::new(seed, &config).transfer(&data).expect("arrives");
        assert!(received == data, "KCP_SIM_SEED={seed}");
    }
}

fn patient() -> Config {
    Config::builder()
        .connect_timeout(Duration::from_secs(600))
        .user_timeout(Duration::from_secs(600))
        .build()
        .expect("in range")
}

fn connected(seed: u64, config: &PairConfig) -> Pair {
    let mut pair = Pair::new(seed, config);
    let up = pair.run_until(Duration::from_secs(10), |pair| {
        pair.client.session.state() == State::Established
    });
    assert!(up, "connects");
    pair
}

#[test]
fn connecting_takes_one_round_trip() {
    let pair = connected(1, &PairConfig::default());
    assert_eq!(pair.now().as_millis(), 40);
}

#[test]
fn connecting_to_silence_times_out() {
    let mut pair = Pair::new(1, &PairConfig::default());
    pair.client.link.set_cut(true);
    pair.run_for(Duration::from_secs(11));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::ConnectTimeout)
    );
}

#[test]
fn another_key_is_silence() {
    let key =
        |password| Security::from_password("aes-128-gcm", password, b"kcp-go").expect("known");
    let config = PairConfig {
        security: key("one"),
        ..PairConfig::default()
    };
    let other = PairConfig {
        security: key("two"),
        ..PairConfig::default()
    };
    let mut pair = Pair::new(1, &config);
    let mut stranger = Pair::new(1, &other);
    std::mem::swap(&mut pair.server, &mut stranger.server);
    pair.run_for(Duration::from_secs(11));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::ConnectTimeout)
    );
    assert!(pair.server.refused() > 5);
}

#[test]
fn vanished_peer_with_data_in_flight_is_noticed_after_the_user_timeout() {
    let mut pair = connected(1, &PairConfig::default());
    pair.server.link.set_cut(true);
    let start = pair.now();
    pair.client.session.write(start, b"anyone?");
    assert!(pair.run_until(Duration::from_secs(60), |pair| {
        pair.client.session.error().is_some()
    }));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::PeerUnresponsive)
    );
    let waited = (pair.now() - start).as_secs_f64();
    assert!((29.0..31.0).contains(&waited), "{waited}");
}

#[test]
fn vanished_peer_is_noticed_when_idle() {
    let mut pair = connected(1, &PairConfig::default());
    pair.server.link.set_cut(true);
    let start = pair.now();
    assert!(pair.run_until(Duration::from_secs(120), |pair| {
        pair.client.session.error().is_some()
    }));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::IdleTimeout)
    );
    let waited = (pair.now() - start).as_secs_f64();
    assert!((89.0..91.0).contains(&waited), "{waited}");
}

#[test]
fn idle_connection_lives_for_a_day_on_keepalives() {
    let mut pair = connected(1, &PairConfig::default());
    pair.run_for(Duration::from_secs(24 * 3600));
    assert_eq!(pair.client.session.state(), State::Established);
    assert_eq!(pair.server.session.state(), State::Established);
    let probes = pair.client.link.stats().sent;
    assert!(
        (4000..10_000).contains(&probes),
        "{probes} datagrams in a day"
    );
}

#[test]
fn idle_session_without_keepalive_wants_no_wakeup() {
    let quiet = Config::builder()
        .keepalive(None)
        .idle_timeout(None)
        .build()
        .expect("in range");
    let config = PairConfig {
        client: quiet.clone(),
        server: quiet,
        ..PairConfig::default()
    };
    let mut pair = connected(1, &config);
    let data = bytes(1, 100_000);
    pair.transfer(&data).expect("arrives");
    pair.run_for(Duration::from_secs(60));
    for side in [Side::Client, Side::Server] {
        assert_eq!(pair.peer(side).session.poll_timeout(), None, "{side:?}");
    }
}

#[test]
fn outage_of_two_seconds_kills_nothing() {
    for preset in [Preset::Normal, Preset::Fast, Preset::Fast2, Preset::Fast3] {
        let own = Config::builder().preset(preset).build().expect("in range");
        let config = PairConfig {
            client: own.clone(),
            server: own,
            ..PairConfig::default()
        };
        let mut pair = connected(1, &config);
        pair.client.session.write(pair.now(), &bytes(1, 50_000));
        pair.client.link.set_cut(true);
        pair.server.link.set_cut(true);
        pair.run_for(Duration::from_secs(2));
        pair.client.link.set_cut(false);
        pair.server.link.set_cut(false);
        let data = bytes(2, 50_000);
        let mut expected = bytes(1, 50_000);
        expected.extend_from_slice(&data);
        let taken = pair.client.session.write(pair.now(), &data);
        assert_eq!(taken, data.len());
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        pair.run_until(Duration::from_secs(20), |pair| {
            let now = pair.now();
            loop {
                let read = pair.server.session.read(now, &mut buffer);
                received.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
            received.len() == expected.len()
        });
        assert!(received == expected, "{preset:?}");
    }
}

#[test]
fn shutdown_drains_everything_at_twenty_percent_loss() {
    for seed in seeds(0..500) {
        let config = PairConfig {
            link: LinkConfig {
                loss: 0.2,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        };
        let mut pair = connected(seed, &config);
        let data = bytes(seed, 5000);
        pair.client.session.write(pair.now(), &data);
        pair.client.session.shutdown(pair.now());
        assert_eq!(pair.client.session.write(pair.now(), b"more"), 0);
        let drained = pair.run_until(Duration::from_secs(30), |pair| {
            pair.client.session.state() == State::Drained
        });
        assert!(drained, "KCP_SIM_SEED={seed}");
        let mut received = vec![0; 6000];
        let read = pair.server.session.read(pair.now(), &mut received);
        assert!(received[..read] == data, "KCP_SIM_SEED={seed}");
    }
}

fn plain_kcp() -> Config {
    let builder = Config::builder().extensions(Extensions::Off);
    builder.build().expect("in range")
}

#[test]
fn both_sides_may_let_go_at_once_and_lose_nothing() {
    for seed in seeds(0..500) {
        // A client of ours would tell that nobody reads; one of plain KCP acknowledges.
        let config = PairConfig {
            client: plain_kcp(),
            link: LinkConfig {
                loss: 0.2,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        };
        let mut pair = connected(seed, &config);
        let now = pair.now();
        pair.client.session.write(now, &bytes(seed, 3000));
        pair.server.session.write(now, &bytes(seed, 3000));
        pair.client.session.abandon(now);
        pair.server.session.shutdown(now);
        // The server hears the client's acknowledgements although nobody reads there any more.
        let drained = pair.run_until(Duration::from_secs(30), |pair| {
            pair.server.session.state() == State::Drained
        });
        assert!(
            drained,
            "KCP_SIM_SEED={seed}: {:?}",
            pair.server.session.state()
        );
        assert!(pair.run_until(Duration::from_secs(60), |pair| {
            pair.client.session.state() == State::Closed(None)
        }));
        let mut received = vec![0; 4000];
        let read = pair.server.session.read(pair.now(), &mut received);
        assert_eq!(read, 3000, "KCP_SIM_SEED={seed}");
    }
}

#[test]
fn session_let_go_after_a_long_silence_ends_at_once() {
    // A peer of ours would be told of the end, for as long as it may take to hear.
    let config = PairConfig {
        client: plain_kcp(),
        ..PairConfig::default()
    };
    let mut pair = connected(1, &config);
    pair.client.link.set_cut(true);
    pair.server.link.set_cut(true);
    pair.run_for(Duration::from_secs(15));
    let now = pair.now();
    pair.client.session.abandon(now);
    // The silence was the peer's: this side did not sleep through the end of the wait for it.
    pair.client.session.handle_timeout(now);
    assert_eq!(pair.client.session.state(), State::Closed(None));
}

#[test]
fn session_let_go_before_a_pause_ends_though_its_peer_goes_on() {
    let config = Config::default();
    let layout = config
        .layout(Overhead { front: 0, back: 0 })
        .expect("mtu has room");
    let conversation = ConversationId::new(7);
    let mut now = Time::from_millis(1);
    let mut session = Session::new(&config, layout, conversation, Role::Accept, 1, now);
    session.abandon(now);
    // This side sleeps past the end, and its peer asks for the window all the time.
    let mut question = vec![0; SEGMENT_HEADER_LEN];
    SegmentHeader {
        conversation,
        command: Command::WindowProbe,
        fragments_left: 0,
        window: 32,
        timestamp: Timestamp::default(),
        sequence: 0,
        unacknowledged: 0,
        payload_len: 0,
    }
    .encode(&mut question);
    now += config.linger() * 2;
    for _ in 0..20 {
        session.handle_timeout(now);
        session.handle_datagram(now, &question);
        now += Duration::from_secs(1);
    }
    assert_eq!(session.state(), State::Closed(None));
}

#[test]
fn restarted_peer_is_reported_as_a_reset() {
    let mut pair = connected(1, &PairConfig::default());
    let data = bytes(1, 20_000);
    pair.transfer(&data).expect("arrives");
    // The last acknowledgements arrive too.
    pair.run_for(Duration::from_secs(1));
    // A kcp-go server that restarts answers from a new session that has received nothing.
    let fresh = Pair::new(1, &PairConfig::default());
    pair.server = fresh.server;
    let start = pair.now();
    pair.client.session.write(start, &bytes(2, 5000));
    assert!(pair.run_until(Duration::from_secs(40), |pair| {
        pair.client.session.error().is_some()
    }));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::PeerRestarted)
    );
    let waited = pair.now() - start;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[test]
fn restarted_peer_that_takes_up_the_first_segment_leaves_no_hole() {
    let mut pair = connected(1, &PairConfig::default());
    // The first segment is lost, and the second acknowledged.
    pair.client.link.set_cut(true);
    pair.client.session.write(pair.now(), &bytes(1, 1376));
    pair.run_for(Duration::from_millis(1));
    pair.client.link.set_cut(false);
    pair.client.session.write(pair.now(), &bytes(2, 1376));
    pair.run_for(Duration::from_millis(41));
    assert_eq!(pair.client.session.stats().in_flight, 1);
    // To the new session the first segment is a beginning like any other. It will wait for the
    // second for ever, which nobody sends again.
    pair.server = Pair::new(1, &PairConfig::default()).server;
    pair.run_for(Duration::from_secs(25));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::PeerRestarted)
    );
}

#[test]
fn reader_that_never_reads_bounds_memory_and_loses_nothing() {
    let own = Config::builder().windows(64, 64).build().expect("in range");
    let config = PairConfig {
        client: own.clone(),
        server: own,
        ..PairConfig::default()
    };
    let mut pair = connected(1, &config);
    let data = bytes(1, 1_000_000);
    let mut unsent = &data[..];
    let limit = pair.now() + Duration::from_secs(120);
    while pair.now() < limit {
        let taken = pair.client.session.write(pair.now(), unsent);
        unsent = &unsent[taken..];
        pair.step_until(limit);
    }
    // One window waits for the reader and one at the sender, whose peer still answers.
    let accepted = data.len() - unsent.len();
    assert!(accepted <= 2 * 64 * 1376, "{accepted} bytes taken");
    assert_eq!(pair.client.session.state(), State::Established);

    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    assert!(pair.run_until(Duration::from_secs(60), |pair| {
        let now = pair.now();
        let taken = pair.client.session.write(now, unsent);
        unsent = &unsent[taken..];
        loop {
            let read = pair.server.session.read(now, &mut buffer);
            received.extend_from_slice(&buffer[..read]);
            if read == 0 {
                break received.len() == data.len();
            }
        }
    }));
    assert!(received == data);
}

#[test]
fn clean_path_takes_nothing_twice() {
    let mut pair = connected(1, &PairConfig::default());
    let data = bytes(1, 5_000_000);
    assert!(pair.transfer(&data).expect("arrives") == data);
    let stats = pair.client.session.stats();
    assert_eq!(stats.retransmitted, 0, "{stats:?}");
    // Connecting, then four windows of 1.4 MB, the first cut short by the peer's yet unknown one.
    assert!(pair.now().as_millis() <= 6 * 40, "{:?}", pair.now());
}

#[test]
fn fec_repairs_losses_without_retransmission() {
    let own = Config::builder()
        .fec(FecRatio::new(10, 3).expect("in range"))
        .build()
        .expect("ok");
    let config = PairConfig {
        client: own.clone(),
        server: own,
        link: LinkConfig {
            loss: 0.05,
            ..LinkConfig::default()
        },
        ..PairConfig::default()
    };
    let mut pair = connected(3, &config);
    let data = bytes(1, 1_000_000);
    assert!(pair.transfer(&data).expect("arrives") == data);
    let stats = pair.server.session.stats();
    assert!(stats.fec_recovered > 20, "{stats:?}");
    assert_eq!(stats.fec_errors, 0);
}

#[test]
fn peers_with_different_fec_ratios_understand_each_other() {
    let with = |data, parity| {
        Config::builder()
            .fec(FecRatio::new(data, parity).expect("in range"))
            .build()
            .expect("ok")
    };
    let config = PairConfig {
        client: with(3, 1),
        server: with(10, 3),
        link: LinkConfig {
            loss: 0.05,
            ..LinkConfig::default()
        },
        ..PairConfig::default()
    };
    let mut pair = connected(3, &config);
    let data = bytes(1, 1_000_000);
    assert!(pair.transfer(&data).expect("arrives") == data);
    let stats = pair.server.session.stats();
    assert!(stats.fec_recovered > 10, "{stats:?}");
}
