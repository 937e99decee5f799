//! FIN, half-close and RESET.

use super::*;

#[test]
fn reader_sees_the_end_after_the_last_byte() {
    for seed in seeds(0..100) {
        let mut pair = lossy(seed);
        let sent: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        let mut unsent = &sent[..];
        let mut received = Vec::new();
        for _ in 0..1_000_000 {
            let now = pair.now();
            let taken = pair.client.session.write(now, unsent);
            unsent = &unsent[taken..];
            if unsent.is_empty() {
                pair.client.session.shutdown(now);
            }
            assert!(!pair.server.session.is_finished() || received.len() == sent.len());
            pair.step();
            received.extend(read_all(&mut pair, Side::Server));
            let over = pair.server.session.is_finished();
            if over && pair.client.session.state() == State::Drained {
                break;
            }
        }
        assert!(received == sent, "seed {seed}");
        assert!(pair.server.session.is_finished(), "seed {seed}");
        assert_eq!(pair.client.session.state(), State::Drained, "seed {seed}");
        assert!(
            !pair.client.session.is_finished(),
            "the other direction goes on"
        );
    }
}

#[test]
fn half_closed_connection_answers() {
    let mut pair = exchanged_hellos();
    let now = pair.now();
    pair.client.session.write(now, b"question");
    pair.client.session.shutdown(now);
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_readable()));
    assert_eq!(read_all(&mut pair, Side::Server), b"question");
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_finished()));
    let now = pair.now();
    assert_eq!(pair.server.session.write(now, b"answer"), 6);
    pair.server.session.shutdown(now);
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_readable()));
    assert_eq!(read_all(&mut pair, Side::Client), b"answer");
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_finished()));
}

#[test]
fn sides_that_have_both_finished_are_gone_soon() {
    let mut pair = exchanged_hellos();
    let now = pair.now();
    pair.client.session.write(now, b"bye");
    pair.client.session.abandon(now);
    assert!(pair.run_until(PATIENCE, |pair| pair.server.session.is_readable()));
    read_all(&mut pair, Side::Server);
    pair.server.session.abandon(pair.now());
    let start = pair.now();
    let over = |pair: &mut Pair| pair.client.session.is_over() && pair.server.session.is_over();
    assert!(pair.run_until(PATIENCE, over));
    let took = pair.now() - start;
    assert!(took < Duration::from_secs(2), "{took:?}");
    for side in [Side::Client, Side::Server] {
        assert_eq!(pair.peer(side).session.state(), State::Closed(None));
    }
}

#[test]
fn peer_that_is_gone_once_it_has_all_delays_shutting_down_by_a_moment() {
    let mut pair = exchanged_hellos();
    pair.client.session.write(pair.now(), b"bye");
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_drained()));
    pair.client.link.set_cut(true);
    let start = pair.now();
    pair.client.session.shutdown(start);
    let drained = |pair: &mut Pair| pair.client.session.state() == State::Drained;
    assert!(pair.run_until(PATIENCE, drained));
    let took = pair.now() - start;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn unread_data_resets_a_dropped_stream() {
    let mut pair = exchanged_hellos();
    pair.server.session.abandon(pair.now());
    pair.run_for(Duration::from_millis(500));
    pair.client.session.write(pair.now(), b"anyone there?");
    let closed = |pair: &mut Pair| pair.client.session.error().is_some();
    assert!(pair.run_until(Duration::from_secs(1), closed));
    let expected = ConnectionError::Reset(ResetCode::UNREAD);
    assert_eq!(pair.client.session.error(), Some(expected));
}

#[test]
fn stream_dropped_with_unread_data_resets_its_peer_once_its_own_data_has_arrived() {
    // Data that is not read before the stream is dropped, that comes after it, or both.
    for (before, after) in [(true, false), (false, true), (true, true)] {
        let mut pair = exchanged_hellos();
        if before {
            pair.client.session.write(pair.now(), b"request");
            pair.run_for(Duration::from_millis(500));
        }
        pair.server.session.write(pair.now(), &[7; 5000]);
        pair.server.session.abandon(pair.now());
        if after {
            pair.client.session.write(pair.now(), b"more");
        }
        pair.client.session.shutdown(pair.now());
        assert!(pair.run_until(Duration::from_secs(2), |pair| {
            let state = pair.client.session.state();
            assert_ne!(state, State::Drained, "as if somebody had it all");
            pair.client.session.error().is_some()
        }));
        let expected = ConnectionError::Reset(ResetCode::UNREAD);
        assert_eq!(pair.client.session.error(), Some(expected));
        assert_eq!(read_all(&mut pair, Side::Client), [7; 5000]);
    }
}

#[test]
fn reset_ends_the_other_side_within_a_trip() {
    let mut pair = exchanged_hellos();
    let code = ResetCode::new(42).expect("is not reserved");
    let start = pair.now();
    pair.client.session.reset(start, code);
    assert_eq!(pair.client.session.state(), State::Closed(None));
    let closed = |pair: &mut Pair| pair.server.session.error().is_some();
    assert!(pair.run_until(PATIENCE, closed));
    assert_eq!(
        pair.server.session.error(),
        Some(ConnectionError::Reset(code))
    );
    assert!(pair.now() - start < Duration::from_millis(100));
    // What is repeated in vain ends too.
    assert!(pair.run_until(PATIENCE, |pair| pair.client.session.is_over()));
    assert!(!pair.step(), "nothing happens any more");
}

#[test]
fn reset_is_repeated_when_lost() {
    let mut heard = 0;
    for seed in 0..200 {
        let mut pair = lossy(seed);
        pair.run_for(Duration::from_secs(3));
        if !pair.client.session.has_extensions() {
            continue;
        }
        let now = pair.now();
        pair.client.session.reset(now, ResetCode::GOING_AWAY);
        pair.run_for(Duration::from_secs(5));
        heard += u32::from(pair.server.session.error().is_some());
    }
    assert!(heard > 190, "{heard} of 200 at 20 % loss");
}

#[test]
fn application_codes_stop_where_ours_begin() {
    assert!(ResetCode::new(ResetCode::FIRST_RESERVED - 1).is_ok());
    let error = ResetCode::new(ResetCode::FIRST_RESERVED).expect_err("is reserved");
    assert!(
        error.to_string().contains("reset code is 4294967040"),
        "{error}"
    );
}

#[test]
fn what_arrived_before_a_reset_can_be_read() {
    let mut pair = exchanged_hellos();
    pair.client.session.write(pair.now(), b"last words");
    pair.run_for(Duration::from_millis(200));
    pair.client.session.reset(pair.now(), ResetCode::GOING_AWAY);
    pair.run_for(Duration::from_millis(200));
    assert!(pair.server.session.error().is_some());
    assert_eq!(read_all(&mut pair, Side::Server), b"last words");
}

#[test]
fn timed_out_side_resets_the_other() {
    let mut pair = exchanged_hellos();
    // Nothing reaches the server; what it sends does reach the client.
    pair.client.link.set_config(LinkConfig {
        loss: 1.0,
        ..LinkConfig::default()
    });
    pair.server.session.write(pair.now(), b"hello?");
    let closed = |pair: &mut Pair| pair.client.session.error().is_some();
    assert!(pair.run_until(Duration::from_secs(40), closed));
    let expected = ConnectionError::Reset(ResetCode::TIMED_OUT);
    assert_eq!(pair.client.session.error(), Some(expected));
}

#[test]
fn dropped_session_ends_when_its_end_was_sent_often_enough() {
    let mut pair = exchanged_hellos();
    // Silence before that counts for nothing.
    pair.run_for(Duration::from_secs(8));
    pair.client.link.set_cut(true);
    pair.server.link.set_cut(true);
    let now = pair.now();
    pair.client.session.abandon(now);
    let ended = |pair: &mut Pair| pair.client.session.state() == State::Closed(None);
    let sent = |pair: &Pair| pair.client.session.stats().datagrams_sent;
    let mut last = (now, sent(&pair));
    while !ended(&mut pair) {
        pair.run_for(Duration::from_millis(50));
        if sent(&pair) > last.1 {
            last = (pair.now(), sent(&pair));
        }
        assert!(pair.now() - now < Duration::from_secs(60));
    }
    assert!(pair.now() - last.0 < Duration::from_millis(200));
}

#[test]
fn ends_are_sent_with_fec_and_small_datagrams_too() {
    for mtu in [85, 110, 200, 1400] {
        let mut builder = Config::builder().mtu(mtu);
        builder = builder.fec(FecRatio::new(3, 2).expect("in range"));
        let own = builder.build().expect("in range");
        let config = PairConfig {
            client: own.clone(),
            server: own,
            link: LinkConfig {
                loss: 0.1,
                ..LinkConfig::default()
            },
            ..PairConfig::default()
        };
        let mut pair = Pair::new(9, &config);
        let sent = vec![3; 5000];
        assert_eq!(pair.transfer(&sent), Ok(sent), "mtu {mtu}");
        pair.client.session.shutdown(pair.now());
        let drained = |pair: &mut Pair| pair.client.session.state() == State::Drained;
        assert!(pair.run_until(PATIENCE, drained), "mtu {mtu}");
        assert!(pair.server.session.is_finished(), "mtu {mtu}");
    }
}
