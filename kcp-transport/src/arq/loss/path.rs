//! What is known of the path: how long a round trip takes, and how much is lost on it.
//!
//! Round-trip times are kept after RFC 6298 with kcp-go's changes, the probe time-out after
//! RFC 9002. Losses are those that this side notices: of a datagram that is acknowledged by itself
//! either direction may be lost.

use std::time::Duration;

use crate::time::Time;

/// A model of one path, made from samples.
#[derive(Clone, Copy, Debug)]
pub(in crate::arq) struct PathModel {
    /// Smoothed round-trip time in microseconds; 0 before the first sample.
    #[doc(alias = "rx_srtt")]
    srtt: u64,
    /// Mean deviation in microseconds.
    rttvar: u32,
    /// How many samples there were, up to [`FEW_SAMPLES`].
    samples: u8,
    /// The last sample, in microseconds.
    latest: u32,
    least: WindowedMin,
    /// What the handshake took in microseconds; 0 if it was not measured.
    initial: u32,
    /// The same, since its last repetition.
    initial_last: u32,
    /// In microseconds.
    probe_timeout: u32,
    no_delay: bool,
    loss: LossRate,
}

impl PathModel {
    /// A model without samples: the time-out is 200 ms.
    pub(in crate::arq) fn new(no_delay: bool) -> Self {
        Self {
            srtt: 0,
            rttvar: 0,
            samples: 0,
            latest: 0,
            least: WindowedMin::default(),
            initial: 0,
            initial_last: 0,
            probe_timeout: narrow_micros(INITIAL_TIMEOUT),
            no_delay,
            loss: LossRate::default(),
        }
    }

    /// Changes the floor of the time-out, from the next sample on.
    pub(in crate::arq) fn set_no_delay(&mut self, no_delay: bool) {
        self.no_delay = no_delay;
    }

    pub(in crate::arq) fn no_delay(&self) -> bool {
        self.no_delay
    }

    fn set_probe_timeout(&mut self, timeout: Duration) {
        let least = if self.no_delay {
            MIN_TIMEOUT_NO_DELAY
        } else {
            MIN_TIMEOUT
        };
        self.probe_timeout = narrow_micros(timeout.clamp(least, MAX_TIMEOUT));
    }

    /// Takes the time that the handshake took as a first estimate, unless there is a better one;
    /// `last` is the time since its last repetition, which the answer may belong to as well.
    ///
    /// kcp-go answers a window probe up to one of its ticks late, so this is replaced by the first
    /// sample and not averaged with it.
    pub(in crate::arq) fn on_handshake(&mut self, trip: Duration, last: Duration) {
        if self.srtt > 0 {
            return;
        }
        self.initial_last = narrow_micros(last);
        let trip = trip.clamp(GRANULARITY, MAX_TIMEOUT);
        // The longest of several answers counts, since some may answer an earlier probe. A lost
        // probe makes the time longer than the path, which the bound limits.
        let trip = trip
            .max(Duration::from_micros(self.initial.into()))
            .min(MOST_INITIAL);
        self.initial = narrow_micros(trip);
        self.set_probe_timeout(trip + trip / 2);
    }

    /// Takes one sample into account.
    ///
    /// kcp-go v5 kcp.go, update_ack: a sample below the range the deviation spans moves the
    /// deviation by 1/32 instead of 1/4, so that one quick answer does not widen the time-out. Of the
    /// first few samples the mean counts, what is assumed at first included: a new connection on a
    /// steady path would otherwise wait too long for its first losses.
    /// We keep microseconds where kcp-go keeps milliseconds. Where kcp-go adds one of its ticks, we
    /// add four deviations: a peer that acknowledges late makes those larger.
    pub(in crate::arq) fn on_sample(&mut self, now: Time, sample: Duration) {
        let rtt = micros(sample.min(MAX_TIMEOUT)).max(1);
        if self.srtt == 0 {
            self.srtt = rtt;
            let diff = |initial: u32| rtt.abs_diff(initial.into());
            let deviation = match self.initial {
                // The time-out of a first probe in RFC 8985, section 7.2: two round trips.
                0 => rtt / 4,
                // Two measurements that agree say more than one.
                initial => {
                    let deviation = diff(initial).min(diff(self.initial_last));
                    (deviation / 2).clamp(rtt / 32, rtt / 2)
                }
            };
            self.rttvar = narrow(deviation);
            self.samples = 1;
        } else {
            let deviation = rtt.abs_diff(self.srtt);
            self.srtt = approach(self.srtt, rtt, 8);
            self.samples = (self.samples + 1).min(FEW_SAMPLES);
            let rttvar = u64::from(self.rttvar);
            let weight = if rtt + rttvar < self.srtt {
                32
            } else {
                self.samples.into()
            };
            self.rttvar = narrow(approach(rttvar, deviation, weight));
        }
        self.latest = narrow(rtt);
        self.least.on_sample(now, rtt);
        let variance = Duration::from_micros(4 * u64::from(self.rttvar)) + TIMER_GRAIN;
        let variance = variance.max(GRANULARITY);
        self.set_probe_timeout(Duration::from_micros(self.srtt) + variance);
    }

    /// How long after the last transmission the peer is probed, if nothing is acknowledged.
    pub(in crate::arq) fn probe_timeout(&self) -> Duration {
        Duration::from_micros(self.probe_timeout.into())
    }

    /// Smoothed round-trip time, once there is a sample.
    pub(in crate::arq) fn smoothed(&self) -> Option<Duration> {
        known(self.srtt)
    }

    /// The best estimate of the round-trip time: from samples, else from the handshake.
    pub(in crate::arq) fn estimate(&self) -> Option<Duration> {
        self.smoothed().or(known(self.initial.into()))
    }

    /// The longer of the smoothed and the latest round-trip time.
    pub(in crate::arq) fn current(&self) -> Duration {
        Duration::from_micros(self.srtt.max(self.latest.into()))
    }

    /// The shortest round-trip time of the last ten seconds or more.
    pub(in crate::arq) fn least(&self) -> Option<Duration> {
        known(self.least.get()).or(known(self.initial.into()))
    }

    /// What came of one transmission.
    pub(in crate::arq) fn on_outcome(&mut self, lost: bool) {
        self.loss.on_outcome(lost);
    }

    /// One transmission that counted as lost had arrived.
    pub(in crate::arq) fn on_spurious(&mut self) {
        self.loss.on_spurious();
    }

    /// Whether something was lost among the last few hundred transmissions.
    pub(in crate::arq) fn lost_lately(&self) -> bool {
        self.loss.since < LATELY
    }

    /// Other connections to the same host lose. Counts for as long as this one knows little itself.
    #[cfg(feature = "tokio")]
    pub(in crate::arq) fn expect_loss(&mut self) {
        self.loss.expected = true;
    }

    /// Whether losses are to be expected: there were some lately, or others have them.
    pub(in crate::arq) fn may_lose(&self) -> bool {
        self.lost_lately() || self.loss.expected && self.loss.weight < LOSS_WEIGHT
    }

    /// The part of transmissions whose data or acknowledgement is lost, 0 to 1.
    pub(in crate::arq) fn loss(&self) -> f64 {
        self.loss.get()
    }
}

/// The smallest sample of the last ten to twenty seconds, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
struct WindowedMin {
    /// Of the present span, and of the one before; 0 if there is none.
    spans: [u64; 2],
    since: Time,
}

impl WindowedMin {
    fn on_sample(&mut self, now: Time, sample: u64) {
        if now - self.since >= MIN_RTT_SPAN {
            let is_recent = now - self.since < 2 * MIN_RTT_SPAN;
            self.spans = [0, if is_recent { self.spans[0] } else { 0 }];
            self.since = now;
        }
        self.spans[0] = match self.spans[0] {
            0 => sample,
            least => least.min(sample),
        };
    }

    /// 0 without a sample.
    fn get(&self) -> u64 {
        let known = self.spans.into_iter().filter(|it| *it > 0);
        known.min().unwrap_or(0)
    }
}

/// How much is lost: a moving average over some hundred transmissions.
///
/// It begins with a little loss, so that a new connection is protected until it has seen enough of
/// its path to know that it need not be.
#[derive(Clone, Copy, Debug)]
struct LossRate {
    /// In parts of [`Self::ONE`].
    rate: u32,
    /// Transmissions that the average reaches back to.
    weight: u16,
    /// By how much the last loss raised it, so that it can be taken back.
    step: u32,
    /// Transmissions since the last loss, and from the one before to that.
    since: u16,
    before: u16,
    /// Other connections to the same host lose.
    expected: bool,
}

impl LossRate {
    const ONE: u32 = 1 << 24;

    fn on_outcome(&mut self, lost: bool) {
        // Rounded up, so that it comes down to nothing.
        let weight = u32::from(self.weight);
        self.rate -= self.rate.div_ceil(weight);
        if lost {
            self.step = (Self::ONE / weight).min(Self::ONE - self.rate);
            self.rate += self.step;
            (self.before, self.since) = (self.since, 0);
        } else {
            self.since = self.since.saturating_add(1);
        }
        self.weight = (self.weight + 1).min(LOSS_WEIGHT);
    }

    fn on_spurious(&mut self) {
        self.rate = self.rate.saturating_sub(self.step);
        self.since = self.since.max(self.before);
    }

    fn get(&self) -> f64 {
        f64::from(self.rate) / f64::from(Self::ONE)
    }
}

impl Default for LossRate {
    fn default() -> Self {
        Self {
            rate: Self::ONE / PRIOR_LOSS,
            weight: PRIOR_WEIGHT,
            step: 0,
            since: LATELY,
            before: LATELY,
            expected: false,
        }
    }
}

/// Moves `value` towards `target` by the `weight`-th part of their distance.
fn approach(value: u64, target: u64, weight: u64) -> u64 {
    if target >= value {
        value + (target - value) / weight
    } else {
        value - (value - target) / weight
    }
}

/// Microseconds, of which 0 are not known.
fn known(micros: u64) -> Option<Duration> {
    (micros > 0).then(|| Duration::from_micros(micros))
}

/// As [`micros`]: no time here is longer than [`MAX_TIMEOUT`].
fn narrow_micros(duration: Duration) -> u32 {
    narrow(micros(duration))
}

fn narrow(micros: u64) -> u32 {
    u32::try_from(micros).unwrap_or(u32::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Longest time-out, also one that was backed off.
#[doc(alias = "IKCP_RTO_MAX")]
pub(in crate::arq) const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// Samples after which the deviation is a moving average.
const FEW_SAMPLES: u8 = 4;

/// Time-out before anything is measured.
#[doc(alias = "IKCP_RTO_DEF")]
const INITIAL_TIMEOUT: Duration = Duration::from_millis(200);

#[doc(alias = "IKCP_RTO_MIN")]
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

#[doc(alias = "IKCP_RTO_NDL")]
const MIN_TIMEOUT_NO_DELAY: Duration = Duration::from_millis(30);

/// A timer passes up to so much early, by the grain of timestamps.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// Least margin over the smoothed round-trip time: timers and timestamps have a grain of one
/// millisecond each.
const GRANULARITY: Duration = Duration::from_millis(2);

/// How long a shortest round-trip time counts at least. BBR uses the same.
const MIN_RTT_SPAN: Duration = Duration::from_secs(10);

/// Transmissions that the average of losses reaches back to.
const LOSS_WEIGHT: u16 = 256;

/// Transmissions for which a loss is remembered. Where one in a hundred is lost in each direction, few
/// losses are further apart: of 10 000 calls with a copy of each, nineteen runs of twenty have fewer
/// than ten that wait for a time-out, where an average alone has eleven.
const LATELY: u16 = 400;

/// One in so many transmissions is taken to be lost before any outcome is known.
const PRIOR_LOSS: u32 = 100;

/// Transmissions that this counts for. Little: half of it is gone after as many without a loss.
const PRIOR_WEIGHT: u16 = 32;

/// The first estimate is no longer than what RFC 6298 begins with, section 2.1.
const MOST_INITIAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn sample(path: &mut PathModel, sample: Duration) {
        path.on_sample(Time::ZERO, sample);
    }

    #[test]
    fn time_out_starts_at_200_ms_and_has_a_floor_by_mode() {
        for (no_delay, floor) in [(true, ms(30)), (false, ms(100))] {
            let mut path = PathModel::new(no_delay);
            assert_eq!((path.probe_timeout(), path.smoothed()), (ms(200), None));
            for _ in 0..100 {
                sample(&mut path, ms(1));
            }
            let settled = (path.probe_timeout(), path.smoothed());
            assert_eq!(settled, (floor, Some(ms(1))));
        }
    }

    #[test]
    fn first_sample_counts_in_full() {
        let mut path = PathModel::new(true);
        sample(&mut path, ms(80));
        let first = (path.smoothed(), path.probe_timeout());
        assert_eq!(first, (Some(ms(80)), ms(161)));
    }

    #[test]
    fn deviation_of_the_first_samples_is_their_mean() {
        let mut path = PathModel::new(true);
        let mut time_outs = Vec::new();
        for _ in 0..6 {
            sample(&mut path, ms(96));
            time_outs.push(path.probe_timeout().as_millis());
        }
        // Of 24, a half, a third, a quarter; then three quarters of the one before.
        assert_eq!(time_outs, [193, 145, 129, 121, 115, 110]);
    }

    #[test]
    fn handshake_gives_a_time_out_until_the_first_sample() {
        let mut path = PathModel::new(true);
        path.on_handshake(ms(80), ms(80));
        assert_eq!((path.least(), path.smoothed()), (Some(ms(80)), None));
        assert_eq!(path.probe_timeout(), ms(120));
        sample(&mut path, ms(80));
        assert_eq!(path.probe_timeout(), ms(91), "an eighth");
        path.on_handshake(ms(500), ms(500));
        assert_eq!(path.probe_timeout(), ms(91));
    }

    #[test]
    fn first_sample_may_agree_with_either_repetition_of_the_handshake() {
        for (first, last) in [(80, 30), (130, 80)] {
            let mut path = PathModel::new(true);
            path.on_handshake(ms(first), ms(last));
            sample(&mut path, ms(80));
            assert_eq!(path.probe_timeout(), ms(91), "{first} {last}");
        }
    }

    #[test]
    fn handshake_that_disagrees_with_the_first_sample_widens_the_time_out() {
        let mut path = PathModel::new(true);
        path.on_handshake(ms(80), ms(80));
        sample(&mut path, ms(50));
        assert_eq!(path.probe_timeout(), ms(50 + 4 * 15 + 1));
    }

    #[test]
    fn steady_path_has_a_time_out_just_above_the_round_trip() {
        let mut path = PathModel::new(true);
        for _ in 0..200 {
            sample(&mut path, ms(50));
        }
        assert_eq!(path.probe_timeout(), ms(52));
    }

    #[test]
    fn sample_below_the_range_weighs_an_eighth() {
        let settled = || PathModel {
            srtt: 100_000,
            samples: FEW_SAMPLES,
            ..PathModel::new(true)
        };
        let (mut slow, mut quick) = (settled(), settled());
        sample(&mut slow, ms(180));
        sample(&mut quick, ms(20));
        assert_eq!(slow.rttvar / 8, quick.rttvar);
    }

    #[test]
    fn time_out_never_exceeds_a_minute_nor_that_of_a_handshake_two_seconds() {
        let mut path = PathModel::new(true);
        sample(&mut path, Duration::MAX);
        assert_eq!(path.probe_timeout(), MAX_TIMEOUT);
        let mut path = PathModel::new(true);
        path.on_handshake(Duration::MAX, Duration::MAX);
        assert_eq!(path.probe_timeout(), MOST_INITIAL + MOST_INITIAL / 2);
    }

    #[test]
    fn least_round_trip_expires_after_ten_to_twenty_seconds() {
        let mut path = PathModel::new(true);
        path.on_sample(Time::from_millis(0), ms(20));
        for second in 1..40 {
            path.on_sample(Time::from_millis(second * 1000), ms(50));
            let expected = if second < 20 { ms(20) } else { ms(50) };
            assert_eq!(path.least(), Some(expected), "after {second} s");
        }
    }

    #[test]
    fn least_round_trip_of_before_a_long_silence_does_not_count() {
        let mut path = PathModel::new(true);
        path.on_sample(Time::from_millis(0), ms(20));
        path.on_sample(Time::from_millis(3_600_000), ms(50));
        assert_eq!(path.least(), Some(ms(50)));
    }

    #[test]
    fn loss_rate_follows_what_is_lost_and_comes_down_to_nothing() {
        for percent in [0, 1, 5, 20] {
            let mut path = PathModel::new(true);
            for index in 0..5000 {
                path.on_outcome(index % 100 < percent);
            }
            let (rate, expected) = (path.loss() * 100.0, f64::from(percent));
            // The average reaches back about two rounds of a hundred.
            assert!((rate - expected).abs() <= 0.25 * expected + 0.001, "{rate}");
        }
    }

    #[test]
    fn spurious_loss_is_taken_back() {
        let mut path = PathModel::new(true);
        for _ in 0..2000 {
            path.on_outcome(false);
        }
        path.on_outcome(true);
        assert!(path.lost_lately());
        path.on_spurious();
        assert!(path.loss() < 0.001 && !path.lost_lately());
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn losses_of_others_count_until_the_average_has_its_full_weight() {
        let mut path = PathModel::new(true);
        path.on_outcome(false);
        assert!(!path.may_lose());
        path.expect_loss();
        for _ in 1..LOSS_WEIGHT - PRIOR_WEIGHT {
            assert!(path.may_lose() && !path.lost_lately());
            path.on_outcome(false);
        }
        path.expect_loss();
        assert!(!path.may_lose());
        path.on_outcome(true);
        assert!(path.may_lose());
    }

    #[test]
    fn loss_is_remembered_for_four_hundred_transmissions() {
        let mut path = PathModel::new(true);
        assert!(!path.lost_lately());
        path.on_outcome(true);
        for _ in 0..400 {
            assert!(path.lost_lately());
            path.on_outcome(false);
        }
        assert!(!path.lost_lately());
    }
}
