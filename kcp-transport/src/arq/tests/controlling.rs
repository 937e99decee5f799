//! Controllers of users, and limits on what they return.

use super::*;
use crate::arq::{Acked, CongestionController, ControllerFactory, FixedRate, PathInfo};
use proptest::prelude::*;
use std::num::NonZeroU64;
use std::sync::Mutex;

/// A controller that answers what it is told to, in turn.
#[derive(Debug)]
struct Any {
    answers: Vec<(u64, Option<u64>)>,
    at: usize,
}

impl CongestionController for Any {
    fn on_acked(&mut self, _now: Time, _acked: &Acked) {
        self.at = (self.at + 1) % self.answers.len();
    }

    fn window(&self) -> u64 {
        self.answers[self.at].0
    }

    fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.answers[self.at].1?)
    }
}

#[derive(Debug)]
struct Makes(Mutex<Vec<(u64, Option<u64>)>>);

impl ControllerFactory for Makes {
    fn new_controller(&self, _path: &PathInfo) -> Box<dyn CongestionController> {
        let answers = self.0.lock().expect("not poisoned").clone();
        Box::new(Any { answers, at: 0 })
    }
}

/// Sends 100 segments to a peer that acknowledges each after 50 ms. Returns how long it takes.
fn transfer(mut arq: Arq) -> Duration {
    let mut now = at(1000);
    direct(&mut arq, now, &tell(0, 1000));
    let (mut una, mut flying) = (0, std::collections::VecDeque::new());
    let mut written = 0;
    let start = now;
    while written < 100 || !arq.is_drained() {
        written += arq.write(&vec![7; (100 - written) * MSS]) / MSS;
        for sequence in pushes(&mut arq, now) {
            flying.push_back((now + ms(50), now, sequence));
        }
        let timer = arq
            .poll_timeout()
            .map(|at| at.max(now + Duration::from_micros(1)));
        let arrival = flying.front().map(|it| it.0);
        now = timer
            .into_iter()
            .chain(arrival)
            .min()
            .expect("something is due");
        while let Some((_, sent, sequence)) = flying.pop_front_if(|it| it.0 <= now) {
            una = una.max(sequence + 1);
            direct(&mut arq, now, &ack(sequence, sent, una));
        }
        assert!(now - start < Duration::from_secs(100), "stands still");
    }
    now - start
}

fn controlled(factory: &dyn ControllerFactory) -> Arq {
    let mut arq = arq(config());
    arq.set_controller(at(1000), factory);
    arq
}

#[test]
fn window_of_nothing_and_the_least_rate_stop_no_flow() {
    let closed = Makes(Mutex::new(vec![(0, None)]));
    let time = transfer(controlled(&closed));
    assert!(
        (ms(1200)..=ms(1400)).contains(&time),
        "four in flight: {time:?}"
    );
    let slow = Makes(Mutex::new(vec![(u64::MAX, Some(1))]));
    let time = transfer(controlled(&slow));
    assert!(
        (ms(8000)..=ms(8500)).contains(&time),
        "1500 a second: {time:?}"
    );
}

#[test]
fn fixed_rate_is_kept() {
    let rate = NonZeroU64::new(12_400).expect("not 0");
    let time = transfer(controlled(&FixedRate::new(rate)));
    assert!((ms(950)..=ms(1100)).contains(&time), "{time:?}");
}

#[test]
fn short_path_is_not_spread() {
    for (trip, expected) in [(1, 60), (3, 32)] {
        let mut arq = arq(ArqConfig {
            congestion: Congestion::Model,
            ..config()
        });
        direct(&mut arq, at(1000), &tell(0, 1000));
        arq.write(&[7; MSS]);
        assert_eq!(pushes(&mut arq, at(1000)), [0]);
        let now = at(1000 + trip);
        direct(&mut arq, now, &ack(0, at(1000), 1));
        arq.write(&[7; 60 * MSS]);
        let at_once = pushes(&mut arq, now).len();
        assert!(at_once == expected || trip > 2 && at_once < 50, "{at_once}");
    }
}

#[test]
fn segments_unread_at_the_peer_count_as_in_flight_on_a_short_path() {
    for (window, expected) in [(2000, 300), (1100, 124), (990, 64)] {
        let mut arq = arq(ArqConfig {
            congestion: Congestion::Model,
            send_window: 4096,
            send_buffer: 400 * MSS,
            ..config()
        });
        direct(&mut arq, at(1000), &tell(0, 2000));
        arq.write(&[7; MSS]);
        assert_eq!(pushes(&mut arq, at(1000)), [0]);
        direct(&mut arq, at(1001), &ack(0, at(1000), 1));
        direct(&mut arq, at(1001), &tell(1, window));
        arq.write(&[7; 300 * MSS]);
        assert_eq!(pushes(&mut arq, at(1001)).len(), expected, "{window}");
    }
}

#[test]
fn probes_pass_a_closed_window() {
    let closed = Makes(Mutex::new(vec![(0, Some(1))]));
    let mut arq = controlled(&closed);
    direct(&mut arq, at(1000), &tell(0, 1000));
    arq.write(&[7; 20 * MSS]);
    let first = pushes(&mut arq, at(1000));
    assert!(!first.is_empty());
    let due = at(1200);
    assert!(pushes(&mut arq, due).contains(&0));
    assert!(stats(&arq).timeout_retransmitted > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_controller_answers_all_arrives(
        answers in proptest::collection::vec(
            (
                prop_oneof![Just(0), 0..10_000_u64, any::<u64>()],
                proptest::option::of(prop_oneof![Just(1), 1..100_000_u64, any::<u64>()]),
            ),
            1..20,
        ),
    ) {
        transfer(controlled(&Makes(Mutex::new(answers))));
    }
}
