//! Round-trip time and retransmission time-out, after RFC 6298 with kcp-go's changes.

use std::time::Duration;

/// Estimates the round-trip time from samples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RttEstimator {
    /// Smoothed round-trip time in microseconds; 0 before the first sample.
    #[doc(alias = "rx_srtt")]
    srtt: u64,
    /// Mean deviation in microseconds.
    rttvar: u64,
    rto: Duration,
    min_rto: Duration,
    /// Lower bound of the variance term: the peer may acknowledge up to one of its ticks late.
    flush_interval: Duration,
}

impl RttEstimator {
    /// An estimator without samples: the time-out starts at 200 ms.
    pub(crate) fn new(no_delay: bool, flush_interval: Duration) -> Self {
        Self {
            srtt: 0,
            rttvar: 0,
            rto: INITIAL_RTO,
            min_rto: if no_delay { MIN_RTO_NO_DELAY } else { MIN_RTO },
            flush_interval,
        }
    }

    /// Adds one sample.
    ///
    /// kcp-go v5 kcp.go, update_ack: a sample more than one deviation below the mean moves the
    /// deviation by 1/32 instead of 1/4, so that one fast answer does not widen the time-out. We
    /// keep microseconds where kcp-go keeps milliseconds.
    pub(crate) fn on_sample(&mut self, sample: Duration) {
        let rtt = micros(sample.min(MAX_RTO)).max(1);
        if self.srtt == 0 {
            self.srtt = rtt;
            self.rttvar = rtt / 2;
        } else {
            let deviation = rtt.abs_diff(self.srtt);
            self.srtt = approach(self.srtt, rtt, 8);
            let weight = if rtt + self.rttvar < self.srtt { 32 } else { 4 };
            self.rttvar = approach(self.rttvar, deviation, weight);
        }
        let variance = Duration::from_micros(4 * self.rttvar).max(self.flush_interval);
        let rto = Duration::from_micros(self.srtt) + variance;
        self.rto = rto.clamp(self.min_rto, MAX_RTO);
    }

    /// Current retransmission time-out.
    pub(crate) fn rto(&self) -> Duration {
        self.rto
    }

    /// Smoothed round-trip time, after the first sample.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        (self.srtt > 0).then(|| Duration::from_micros(self.srtt))
    }
}

/// Moves `value` towards `target` by 1/`weight` of their distance.
fn approach(value: u64, target: u64, weight: u64) -> u64 {
    if target >= value {
        value + (target - value) / weight
    } else {
        value - (value - target) / weight
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Longest time-out, including the back-off of a segment.
#[doc(alias = "IKCP_RTO_MAX")]
pub(crate) const MAX_RTO: Duration = Duration::from_secs(60);

/// Time-out before the first sample.
#[doc(alias = "IKCP_RTO_DEF")]
const INITIAL_RTO: Duration = Duration::from_millis(200);

#[doc(alias = "IKCP_RTO_MIN")]
const MIN_RTO: Duration = Duration::from_millis(100);

#[doc(alias = "IKCP_RTO_NDL")]
const MIN_RTO_NO_DELAY: Duration = Duration::from_millis(30);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn time_out_starts_at_200_ms_and_has_a_floor_by_mode() {
        for (no_delay, floor) in [(true, ms(30)), (false, ms(100))] {
            let mut rtt = RttEstimator::new(no_delay, ms(10));
            assert_eq!((rtt.rto(), rtt.smoothed()), (ms(200), None));
            for _ in 0..100 {
                rtt.on_sample(ms(1));
            }
            assert_eq!((rtt.rto(), rtt.smoothed()), (floor, Some(ms(1))));
        }
    }

    #[test]
    fn first_sample_counts_in_full() {
        let mut rtt = RttEstimator::new(true, ms(20));
        rtt.on_sample(ms(80));
        assert_eq!((rtt.smoothed(), rtt.rto()), (Some(ms(80)), ms(240)));
    }

    #[test]
    fn flush_interval_bounds_the_variance_term() {
        let mut rtt = RttEstimator::new(true, ms(100));
        for _ in 0..200 {
            rtt.on_sample(ms(50));
        }
        assert_eq!(rtt.rto(), ms(150));
    }

    #[test]
    fn sample_below_the_range_weighs_an_eighth() {
        let settled = || RttEstimator {
            srtt: 100_000,
            ..RttEstimator::new(true, ms(1))
        };
        let (mut slow, mut quick) = (settled(), settled());
        slow.on_sample(ms(180));
        quick.on_sample(ms(20));
        assert_eq!(slow.rttvar / 8, quick.rttvar);
    }

    #[test]
    fn time_out_never_exceeds_a_minute() {
        let mut rtt = RttEstimator::new(true, ms(20));
        rtt.on_sample(Duration::MAX);
        assert_eq!(rtt.rto(), MAX_RTO);
    }
}
