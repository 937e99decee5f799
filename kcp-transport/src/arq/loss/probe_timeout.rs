//! When the peer is probed because it acknowledges nothing.
//!
//! One timer for all that is in flight, after RFC 9002, in place of KCP's one for each segment. It
//! runs from the last transmission: when it passes, everything in flight is overdue. The oldest
//! segments are sent again then. Their acknowledgement shows what else is lost, so a path that was
//! cut gets a few segments and not a window full of them.

use std::time::Duration;

use super::path::MAX_TIMEOUT;
use crate::arq::LONG_PAUSE;
use crate::time::Time;

/// The timer, which runs while something is in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::arq) struct ProbeTimer {
    /// When something was last sent, copies aside.
    since: Time,
    /// How often it passed since something was acknowledged.
    passed: u32,
}

impl ProbeTimer {
    /// A new segment or a retransmission is sent.
    pub(in crate::arq) fn on_sent(&mut self, now: Time) {
        self.since = now;
    }

    /// Something was acknowledged.
    pub(in crate::arq) fn on_progress(&mut self) {
        self.passed = 0;
    }

    /// It has passed.
    pub(in crate::arq) fn on_passed(&mut self, now: Time) {
        self.passed = self.passed.saturating_add(1);
        self.since = now;
    }

    /// How often it passed since something was acknowledged.
    pub(in crate::arq) fn passed(&self) -> u32 {
        self.passed
    }

    /// When it passes. Three times after `timeout`; then each wait is longer than the one before by
    /// `step`.
    ///
    /// KCP lengthens a segment's time-out like that from the first time on. On a path that loses
    /// much, probes and answers are lost at random, and waiting longer does not help. Doubling, as TCP
    /// does, would make a flow wait for a second after an outage of two.
    pub(in crate::arq) fn at(&self, timeout: Duration, step: Duration) -> Time {
        let longer = self.passed.saturating_sub(LINEAR - 1);
        let wait = timeout.saturating_add(step.saturating_mul(longer));
        self.since + wait.min(MAX_TIMEOUT)
    }

    /// Whether it passed so long ago that it was this side that slept.
    pub(in crate::arq) fn is_overdue(&self, now: Time, timeout: Duration, step: Duration) -> bool {
        self.at(timeout, step) + LONG_PAUSE < now
    }
}

/// Waits before they get longer.
const LINEAR: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn waits(step: Duration, times: usize) -> Vec<u128> {
        let mut timer = ProbeTimer::default();
        let mut now = Time::from_millis(7);
        timer.on_sent(now);
        let mut waits = Vec::new();
        for _ in 0..times {
            let at = timer.at(ms(54), step);
            waits.push((at - now).as_millis());
            now = at;
            timer.on_passed(now);
        }
        waits
    }

    #[test]
    fn third_wait_is_the_last_of_the_same_length() {
        assert_eq!(waits(ms(27), 6), [54, 54, 54, 81, 108, 135]);
        assert_eq!(waits(ms(54), 6), [54, 54, 54, 108, 162, 216]);
    }

    #[test]
    fn waits_end_at_a_minute() {
        assert_eq!(waits(ms(54), 2000).last(), Some(&60_000));
    }

    #[test]
    fn progress_makes_the_wait_short_again() {
        let mut timer = ProbeTimer::default();
        for _ in 0..10 {
            timer.on_passed(Time::ZERO);
        }
        timer.on_progress();
        assert_eq!(timer.at(ms(54), ms(27)), Time::from_millis(54));
    }
}
