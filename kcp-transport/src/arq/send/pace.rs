//! Spreading what is sent over time.

use std::num::NonZeroU64;

use crate::time::Time;

/// Lets datagrams leave at a rate, in runs of a millisecond's worth.
///
/// Runs keep segmentation offload useful and ask for one timer in a millisecond at most. Time that
/// a timer was late is made up for.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::arq) struct Pacer {
    /// When what was sent so far would have left at the rate, in nanoseconds.
    next: u64,
    /// The run at hand goes on until `next` is beyond that.
    run_end: u64,
}

impl Pacer {
    /// Whether a datagram may leave now.
    pub(in crate::arq) fn is_ready(&mut self, now: Time) -> bool {
        let now = nanos(now);
        if self.next <= now {
            self.run_end = now + RUN;
        }
        self.next <= self.run_end
    }

    /// When a datagram may leave; the epoch if one may now.
    pub(in crate::arq) fn ready_at(&self) -> Time {
        if self.next <= self.run_end {
            return Time::ZERO;
        }
        Time::from_micros(self.next.div_ceil(1000))
    }

    /// `len` bytes leave now.
    pub(in crate::arq) fn on_sent(&mut self, now: Time, len: u64, rate: NonZeroU64) {
        let now = nanos(now);
        let from = self.next.max(now.saturating_sub(CATCH_UP));
        let takes = len.saturating_mul(1_000_000_000) / rate.get();
        self.next = from.saturating_add(takes).min(now + MOST_DEBT);
    }
}

fn nanos(time: Time) -> u64 {
    time.as_micros().saturating_mul(1000)
}

/// What leaves at once, in nanoseconds, as all here.
const RUN: u64 = 1_000_000;

/// Lateness of a timer that is made up for.
const CATCH_UP: u64 = 2_000_000;

/// What acks and probes may owe.
const MOST_DEBT: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RATE: NonZeroU64 = NonZeroU64::new(1_000_000).expect("not 0");

    /// Bytes that leave in each step of so many microseconds, in datagrams of 1000.
    fn sent(steps: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut pacer = Pacer::default();
        let mut now = 10_000_000;
        let each = steps.map(|step| {
            now += step;
            let mut sent = 0;
            while pacer.is_ready(Time::from_micros(now)) {
                pacer.on_sent(Time::from_micros(now), 1000, RATE);
                sent += 1000;
            }
            assert!(pacer.ready_at() > Time::from_micros(now));
            sent
        });
        each.collect()
    }

    #[test]
    fn rate_is_kept_in_runs_of_a_millisecond() {
        let each = sent(std::iter::repeat_n(1000, 1000));
        let total: u64 = each.iter().sum();
        assert!((995_000..=1_005_000).contains(&total), "{total}");
        assert!(each[1..].iter().all(|run| *run <= 2000));
    }

    #[test]
    fn idle_time_saves_no_more_than_a_late_timer_does() {
        let each = sent([0, 3_600_000_000].into_iter());
        assert!(each[1] <= 4000, "{each:?}");
    }

    #[test]
    fn what_passes_by_leaves_a_debt() {
        let mut pacer = Pacer::default();
        let now = Time::from_millis(50);
        for _ in 0..10 {
            pacer.on_sent(now, 1000, RATE);
        }
        assert!(!pacer.is_ready(now + std::time::Duration::from_millis(6)));
        let at = pacer.ready_at();
        assert!(pacer.is_ready(at) && at <= Time::from_millis(60));
    }

    proptest! {
        #[test]
        fn no_span_sees_more_than_rate_and_a_run(
            steps in proptest::collection::vec(0_u64..20_000, 1..300),
        ) {
            let time: u64 = steps.iter().skip(1).sum();
            let total: u64 = sent(steps.into_iter()).iter().sum();
            // A run, a late timer, and a datagram that was begun.
            prop_assert!(total <= time + 4000, "{total} in {time}");
        }
    }
}
