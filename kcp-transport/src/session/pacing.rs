//! Pacing to the configured send rate.

use std::num::NonZeroU64;

use crate::time::Time;

/// A token bucket: a datagram is sent only when there is credit for the largest one.
///
/// kcp-go v5 sess.go, postProcess: requests credit for whole batches. A batch larger than the
/// limiter's burst is refused and sent nevertheless. Here credit is requested for each datagram, so
/// none exceeds the burst.
#[derive(Debug)]
pub(super) struct Pacer {
    /// Bytes per second, which equals the credit added per microsecond.
    rate: u64,
    /// In millionths of a byte, so that no fraction is lost.
    credit: u64,
    /// Maximum credit, in the same unit.
    burst: u64,
    /// Credit for the largest datagram.
    datagram: u64,
    updated: Time,
}

impl Pacer {
    /// Starts with full credit, for datagrams of at most `mtu` bytes.
    pub(super) fn new(rate: NonZeroU64, mtu: usize, now: Time) -> Self {
        let rate = rate.get();
        let datagram = cost(mtu);
        let burst = rate.saturating_mul(BURST_MICROS).max(2 * datagram);
        Self {
            rate,
            credit: burst,
            burst,
            datagram,
            updated: now,
        }
    }

    /// Whether a datagram may be sent now.
    pub(super) fn is_ready(&mut self, now: Time) -> bool {
        let micros = now.as_micros().saturating_sub(self.updated.as_micros());
        self.updated = self.updated.max(now);
        let gain = micros.saturating_mul(self.rate);
        self.credit = self.credit.saturating_add(gain).min(self.burst);
        self.credit >= self.datagram
    }

    /// Takes the credit for a datagram of `len` bytes.
    pub(super) fn spend(&mut self, len: usize) {
        self.credit = self.credit.saturating_sub(cost(len));
    }

    /// When a datagram may be sent: a past time if it may already.
    pub(super) fn ready_at(&self) -> Time {
        let missing = self.datagram.saturating_sub(self.credit);
        let micros = self.updated.as_micros();
        Time::from_micros(micros.saturating_add(missing.div_ceil(self.rate)))
    }
}

/// The credit for `len` bytes.
fn cost(len: usize) -> u64 {
    // A datagram has at most 9000 bytes.
    len as u64 * 1_000_000
}

/// Credit accumulates for this long, in microseconds. With it, timers with a resolution of a
/// millisecond that fire late by as much again still reach the rate.
const BURST_MICROS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pacer(rate: u64) -> Pacer {
        Pacer::new(NonZeroU64::new(rate).expect("not 0"), 1400, Time::ZERO)
    }

    #[test]
    fn idle_time_saves_no_more_than_the_burst() {
        let mut pacer = pacer(1_000_000);
        let now = Time::from_millis(3_600_000);
        let mut sent = 0;
        while pacer.is_ready(now) {
            pacer.spend(1000);
            sent += 1000;
        }
        assert_eq!(
            sent, 4000,
            "5 ms of a megabyte a second, less a started one"
        );
    }

    #[test]
    fn largest_rate_never_waits() {
        let mut pacer = pacer(u64::MAX);
        for micros in 0..1000 {
            let now = Time::from_micros(micros);
            for _ in 0..1000 {
                assert!(pacer.is_ready(now));
                pacer.spend(1400);
            }
        }
    }

    proptest! {
        #[test]
        fn no_span_of_time_sees_more_than_rate_and_burst(
            rate in 1500_u64..100_000_000,
            steps in proptest::collection::vec((0_u64..20_000, 1_usize..1400), 1..300),
        ) {
            let mut pacer = pacer(rate);
            let burst = (rate / 200).max(2800);
            let mut now = 0;
            let mut sent = 0;
            for (wait, len) in steps {
                now += wait;
                while pacer.is_ready(Time::from_micros(now)) {
                    pacer.spend(len);
                    sent += len as u64;
                }
                prop_assert!(pacer.ready_at() > Time::from_micros(now));
                prop_assert!(sent <= burst + rate * now / 1_000_000 + 1);
            }
            let at = pacer.ready_at();
            prop_assert!(pacer.is_ready(at), "the time it names is enough");
        }
    }
}
