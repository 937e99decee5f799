//! The latencies of the latest answers.

use std::sync::Mutex;
use std::time::Duration;

use crate::balance::sync::lock;

/// The latest latencies of all endpoints together.
///
/// tower's rotating histogram serves its own hedging only and is private.
#[derive(Default)]
pub(in crate::balance) struct Latencies {
    ring: Mutex<Ring>,
}

#[derive(Default)]
struct Ring {
    latest: Vec<Duration>,
    next: usize,
}

impl Latencies {
    pub(in crate::balance) fn record(&self, latency: Duration) {
        let mut ring = lock(&self.ring);
        if ring.latest.len() < LATEST {
            ring.latest.push(latency);
            return;
        }
        let next = ring.next;
        ring.latest[next] = latency;
        ring.next = (next + 1) % LATEST;
    }

    /// The time that 95 of 100 answers take at most, once there are enough of them.
    pub(super) fn percentile_95(&self) -> Option<Duration> {
        let mut latest = lock(&self.ring).latest.clone();
        if latest.len() < ENOUGH {
            return None;
        }
        let at = latest.len() * 95 / 100;
        Some(*latest.select_nth_unstable(at).1)
    }
}

/// Sorting out a percentile of them takes about a microsecond.
const LATEST: usize = 256;

/// With fewer, one slow answer would be the percentile.
const ENOUGH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_known_after_twenty_answers_and_follows_the_latest() {
        let latencies = Latencies::default();
        let record = |millis| latencies.record(Duration::from_millis(millis));
        (1..=19).for_each(record);
        assert_eq!(latencies.percentile_95(), None);
        (20..=100).for_each(record);
        let expected = Duration::from_millis(96);
        assert_eq!(latencies.percentile_95(), Some(expected));
        (0..256).for_each(|_| record(7));
        assert_eq!(latencies.percentile_95(), Some(Duration::from_millis(7)));
    }
}
