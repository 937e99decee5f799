//! Shutting down and letting go.

use super::*;

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
fn both_streams_may_be_dropped_at_once_and_lose_nothing() {
    for seed in seeds(0..500) {
        // A client of ours would reset the stream that is not read; one of plain KCP acknowledges.
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
        // The server receives the client's acknowledgements although its stream was dropped.
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
fn session_released_after_a_long_silence_ends_at_once() {
    // To a peer of ours the end would be repeated until it is acknowledged.
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
fn session_released_before_a_pause_ends_though_its_peer_continues() {
    let config = Config::default();
    let layout = config
        .layout(Overhead { front: 0, back: 0 })
        .expect("mtu has room");
    let conversation = ConversationId::new(7);
    let mut now = Time::from_millis(1);
    let mut session = Session::new(&config, layout, conversation, Role::Accept, 1, now);
    session.abandon(now);
    // This side sleeps past the end, and its peer probes all the time.
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
fn lingering_counts_from_the_last_progress_whatever_the_reader_does() {
    for extensions in [Extensions::Off, Extensions::Migration] {
        let config = Config::builder()
            .windows(64, 16)
            .linger(Duration::from_secs(10))
            .extensions(extensions)
            .build()
            .expect("in range");
        let pairs = PairConfig {
            client: config.clone(),
            server: config,
            ..PairConfig::default()
        };
        let mut pair = connected(1, &pairs);
        let data = bytes(1, 64 * 1376);
        let mut unsent = &data[pair.client.session.write(pair.now(), &data)..];
        let mut received = Vec::new();
        let mut buffer = [0; 16 * 1376];
        // A reader that takes a window's worth every nine seconds.
        while received.len() < data.len() {
            pair.run_for(Duration::from_secs(9));
            let now = pair.now();
            unsent = &unsent[pair.client.session.write(now, unsent)..];
            if unsent.is_empty() {
                pair.client.session.shutdown(now);
            }
            let read = pair.server.session.read(now, &mut buffer);
            received.extend_from_slice(&buffer[..read]);
            let state = pair.client.session.state();
            assert!(read > 0, "{} bytes, {state:?}", received.len());
        }
        assert!(received == data);
        pair.run_for(Duration::from_secs(1));
        assert_eq!(pair.client.session.state(), State::Drained);
    }
}
