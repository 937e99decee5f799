//! Reports of the peer's host that no socket listens there.

use std::time::Duration;

use kcp_transport::error::ConnectionError;
use kcp_transport::session::State;
use kcp_transport::testing::{Pair, PairConfig};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pair() -> Pair {
    let mut pair = Pair::new(3, &PairConfig::default());
    let up = pair.run_until(ms(5000), |pair| {
        pair.client.session.state() == State::Established
    });
    assert!(up, "connects");
    pair
}

/// Lets a session whose packets are refused run for `time`; its link is cut.
fn refuse(pair: &mut Pair, time: Duration) {
    pair.client.link.set_cut(true);
    let end = pair.now() + time;
    let mut sent = pair.client.session.stats().datagrams_sent;
    while pair.now() < end && pair.client.session.error().is_none() {
        pair.step_until(end);
        let now_sent = pair.client.session.stats().datagrams_sent;
        if now_sent > sent {
            let now = pair.now();
            pair.client.session.handle_refused(now);
        }
        sent = now_sent;
    }
}

#[test]
fn refusals_for_a_second_end_a_session_whose_peer_is_silent() {
    for idle in [false, true] {
        let mut pair = pair();
        let begun = pair.now();
        if idle {
            pair.client.session.probe(begun);
        } else {
            pair.client.session.write(begun, &[7; 5000]);
        }
        refuse(&mut pair, ms(5000));
        let error = pair.client.session.error();
        assert_eq!(error, Some(ConnectionError::PeerGone));
        let waited = pair.now() - begun;
        assert!((ms(1000)..ms(2000)).contains(&waited), "{waited:?}");
    }
}

#[test]
fn single_refusal_only_makes_the_session_probe() {
    let mut pair = pair();
    pair.run_for(ms(100));
    let now = pair.now();
    let sent = pair.client.session.stats().datagrams_sent;
    pair.client.session.handle_refused(now);
    pair.run_for(ms(1));
    assert_eq!(pair.client.session.stats().datagrams_sent, sent + 1);
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.client.session.state(), State::Established);
}

#[test]
fn peer_that_answers_survives_any_number_of_refusals() {
    let mut pair = pair();
    for _ in 0..10_000 {
        let now = pair.now();
        pair.client.session.handle_refused(now);
        pair.run_for(ms(1));
    }
    assert_eq!(pair.client.session.state(), State::Established);
    // A probe for each 250 ms at most.
    let sent = pair.client.session.stats().datagrams_sent;
    assert!(sent < 60, "{sent}");
}

#[test]
fn refusals_without_anything_sent_in_between_count_once() {
    let mut pair = pair();
    pair.run_for(ms(100));
    pair.client.link.set_cut(true);
    let now = pair.now();
    for _ in 0..100 {
        pair.client.session.handle_refused(now + ms(900));
        pair.client.session.handle_refused(now + ms(2000));
    }
    assert_eq!(pair.client.session.state(), State::Established);
}

#[test]
fn peer_that_is_back_within_a_second_is_kept() {
    let mut pair = pair();
    let now = pair.now();
    pair.client.session.write(now, b"hello");
    pair.run_for(ms(200));
    let now = pair.now();
    pair.client.session.write(now, &[7; 5000]);
    refuse(&mut pair, ms(800));
    pair.client.link.set_cut(false);
    pair.run_for(ms(2000));
    assert_eq!(pair.client.session.state(), State::Established);
    let stats = pair.client.session.stats();
    assert!(pair.client.session.is_drained(), "{stats}");
}
