//! How connections begin, stay alive and are missed.

use super::*;

use kcp_transport::config::Redundancy;

#[test]
fn connecting_takes_one_round_trip() {
    let pair = connected(1, &PairConfig::default());
    assert_eq!(pair.now().as_millis(), 40);
}

#[test]
fn connecting_to_a_silent_peer_times_out() {
    let mut pair = Pair::new(1, &PairConfig::default());
    pair.client.link.set_cut(true);
    pair.run_for(Duration::from_secs(11));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::ConnectTimeout)
    );
}

#[test]
fn peer_with_another_key_does_not_answer() {
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

/// The acknowledgements wait behind the data in a queue that takes 44 s to drain.
#[test]
fn peer_whose_data_arrives_is_alive_however_late_its_acknowledgements_are() {
    let mut pair = connected(1, &PairConfig::default());
    pair.client.link.set_config(LinkConfig {
        rate: Some(32_000),
        queue: 1_000,
        ..LinkConfig::default()
    });
    let (data, mut buffer) = (bytes(1, 64_000), [0; 4096]);
    let start = pair.now();
    while pair.now() - start < Duration::from_secs(180) {
        let now = pair.now();
        pair.client.session.write(now, &data);
        let read = pair.server.session.read(now, &mut buffer);
        if read > 0 && pair.server.session.stats().in_flight == 0 {
            pair.server.session.write(now, b"more");
        }
        pair.run_for(Duration::from_millis(50));
        for side in [Side::Client, Side::Server] {
            let state = pair.peer(side).session.state();
            assert_eq!(state, State::Established, "{side:?} at {:?}", now - start);
        }
    }
}

/// Its window bounds what a peer without our acknowledgements can send.
#[test]
fn peer_that_acknowledges_nothing_is_not_kept_by_what_it_sends() {
    let mut pair = connected(1, &PairConfig::default());
    let start = pair.now();
    pair.client.session.write(start, b"lost");
    pair.client.link.set_cut(true);
    let (data, mut buffer) = (bytes(1, 64_000), [0; 4096]);
    assert!(pair.run_until(Duration::from_secs(65), |pair| {
        let now = pair.now();
        pair.server.session.write(now, &data);
        pair.client.session.read(now, &mut buffer);
        pair.client.session.error().is_some()
    }));
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
fn outage_of_two_seconds_ends_no_connection() {
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
    let client = Config::builder()
        .redundancy(Redundancy::Off)
        .mtu_discovery(MtuDiscovery::Off)
        .build();
    let config = PairConfig {
        client: client.expect("in range"),
        ..PairConfig::default()
    };
    let mut pair = connected(1, &config);
    // The first segment is lost, and the second acknowledged.
    pair.client.link.set_cut(true);
    pair.client.session.write(pair.now(), &bytes(1, 1376));
    pair.run_for(Duration::from_millis(1));
    pair.client.link.set_cut(false);
    pair.client.session.write(pair.now(), &bytes(2, 1376));
    pair.run_for(Duration::from_millis(41));
    assert_eq!(pair.client.session.stats().in_flight, 1);
    // The new session takes the first segment as the beginning of a conversation. It then waits for
    // the second, which is never sent again.
    pair.server = Pair::new(1, &PairConfig::default()).server;
    pair.run_for(Duration::from_secs(25));
    assert_eq!(
        pair.client.session.error(),
        Some(ConnectionError::PeerRestarted)
    );
}
