//! Bytes arrive, once and in order, or memory stays bounded until they are read.

use super::*;
use kcp_transport::config::Preset;

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
        ..LinkConfig::default()
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
    let preset = |preset| Config::builder().preset(preset).build().expect("ok");
    // Connecting, then four windows of 1.4 MB, the first cut short by the peer's yet unknown one; or
    // windows that begin with 32 segments and about double in a round trip.
    for (preset, round_trips) in [(preset(Preset::Fast2), 6), (preset(Preset::Rpc), 12)] {
        let config = PairConfig {
            client: preset.clone(),
            server: preset,
            ..PairConfig::default()
        };
        let mut pair = connected(1, &config);
        let data = bytes(1, 5_000_000);
        assert!(pair.transfer(&data).expect("arrives") == data);
        let stats = pair.client.session.stats();
        assert_eq!(stats.retransmitted, 0, "{stats:?}");
        let most = round_trips * 40;
        assert!(pair.now().as_millis() <= most, "{:?}", pair.now());
    }
}

#[test]
fn windows_of_one_segment_cost_a_round_trip_each_and_no_more() {
    let round_trip = Duration::from_millis(2);
    for policy in [AckPolicy::Immediate, AckPolicy::Batched] {
        for preset in [
            Preset::Rpc,
            Preset::Interactive,
            Preset::Bulk,
            Preset::Fast3,
        ] {
            let own = Config::builder()
                .preset(preset)
                .ack_policy(policy)
                .windows(1, 1)
                .build()
                .expect("in range");
            let config = PairConfig {
                client: own.clone(),
                server: own,
                link: LinkConfig {
                    delay: round_trip / 2,
                    ..LinkConfig::default()
                },
                ..PairConfig::default()
            };
            let mut pair = connected(1, &config);
            let data = bytes(1, 200_000);
            assert!(pair.transfer(&data).expect("arrives") == data);
            // And one for connecting.
            let most = round_trip * (2 + data.len().div_ceil(1376) as u32);
            let took = pair.now() - kcp_transport::time::Time::ZERO;
            assert!(took <= most, "{preset:?}, {policy:?}: {took:?}");
        }
    }
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
