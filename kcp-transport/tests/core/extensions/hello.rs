//! The hello, and what peers hear that do not know it.

use super::*;

#[test]
fn both_sides_are_confirmed_within_two_round_trips() {
    let mut pair = Pair::new(1, &PairConfig::default());
    let both = |pair: &mut Pair| {
        pair.client.session.has_extensions() && pair.server.session.has_extensions()
    };
    assert!(pair.run_until(Duration::from_millis(100), both));
}

#[test]
fn hellos_survive_loss() {
    for seed in seeds(0..200) {
        let mut pair = lossy(seed);
        // Without data there would be nothing to repeat.
        let sent = vec![1; 200_000];
        assert_eq!(pair.transfer(&sent), Ok(sent), "seed {seed}");
        pair.run_for(Duration::from_secs(5));
        let heard = pair.client.session.has_extensions() || pair.server.session.has_extensions();
        assert!(heard, "seed {seed}");
    }
}

#[test]
fn one_side_without_extensions_makes_plain_kcp() {
    for (client, server) in [
        (Extensions::Off, Extensions::Migration),
        (Extensions::Migration, Extensions::Off),
        (Extensions::Off, Extensions::Off),
    ] {
        let mut pair = Pair::new(1, &pair_with(client, server));
        let sent = vec![7; 50_000];
        assert_eq!(pair.transfer(&sent), Ok(sent));
        pair.client.session.shutdown(pair.now());
        let drained = |pair: &mut Pair| pair.client.session.state() == State::Drained;
        assert!(pair.run_until(PATIENCE, drained), "{client:?} {server:?}");
        assert!(!pair.client.session.has_extensions() && !pair.server.session.has_extensions());
        assert!(!pair.server.session.is_finished());
    }
}

/// All segments a side sends within `time`, without delivering them.
fn sent_alone(config: &PairConfig, side: Side, time: Duration) -> Vec<(Command, usize)> {
    let deaf = PairConfig {
        link: LinkConfig {
            loss: 1.0,
            ..LinkConfig::default()
        },
        ..config.clone()
    };
    let mut pair = Pair::new(1, &deaf);
    let now = pair.now();
    pair.peer(side).session.write(now, &[1; 100]);
    let mut segments = Vec::new();
    let mut batch = kcp_transport::packet::TransmitBatch::new(
        config
            .client
            .layout(config.security.overhead())
            .expect("fits"),
        32,
    );
    let end = now + time;
    let mut now = now;
    while now < end {
        let session = &mut pair.peer(side).session;
        while session.poll_transmit(now, &mut batch) {
            for datagram in batch.datagrams() {
                segments.extend(
                    Segments::new(datagram)
                        .map(|segment| segment.expect("is ours"))
                        .map(|(header, data)| (header.command, data.len())),
                );
            }
            batch.clear();
        }
        now = session
            .poll_timeout()
            .unwrap_or(end)
            .max(now + Duration::from_micros(1));
        session.handle_timeout(now);
    }
    segments
}

#[test]
fn without_extensions_window_updates_are_empty() {
    let config = pair_with(Extensions::Off, Extensions::Off);
    for side in [Side::Client, Side::Server] {
        let sent = sent_alone(&config, side, Duration::from_secs(8));
        let updates = sent
            .iter()
            .filter(|(command, _)| *command == Command::WindowUpdate);
        assert_eq!(updates.count(), 0);
    }
}

#[test]
fn accepting_side_never_sends_first() {
    let config = PairConfig::default();
    let sent = sent_alone(&config, Side::Server, Duration::from_secs(8));
    let frames = sent
        .iter()
        .filter(|(command, len)| *command == Command::WindowUpdate && *len > 0);
    assert_eq!(frames.count(), 0);
}

#[test]
fn peer_that_does_not_answer_gets_a_handful_of_hellos() {
    // The server is plain KCP: it answers probes and nothing else.
    let mut pair = Pair::new(1, &pair_with(Extensions::Migration, Extensions::Off));
    let sent = vec![7; 10_000];
    assert_eq!(pair.transfer(&sent), Ok(sent));
    let segments = |pair: &Pair| pair.client.session.stats().segments_sent;
    pair.run_for(Duration::from_secs(10));
    let before = segments(&pair);
    pair.run_for(Duration::from_secs(19));
    assert!(segments(&pair) <= before + 1, "a keepalive, and no hello");
}

#[test]
fn idle_peers_ping_each_other() {
    let mut pair = exchanged_hellos();
    let before = pair.server.session.stats();
    pair.run_for(Duration::from_secs(600));
    assert_eq!(pair.client.session.state(), State::Established);
    assert_eq!(pair.server.session.state(), State::Established);
    let after = pair.server.session.stats();
    assert_eq!(after.extension_frames_refused, 0);
    let per_keepalive = (after.datagrams_sent - before.datagrams_sent) as f64 / 30.0;
    assert!((0.5..=2.5).contains(&per_keepalive), "{per_keepalive}");
}

#[test]
fn datagrams_without_room_for_frames_carry_none() {
    let own = Config::builder().mtu(51).build().expect("in range");
    let config = PairConfig {
        client: own.clone(),
        server: own,
        ..PairConfig::default()
    };
    let mut pair = Pair::new(9, &config);
    let sent = vec![3; 500];
    assert_eq!(pair.transfer(&sent), Ok(sent));
    assert!(!pair.client.session.has_extensions());
}
