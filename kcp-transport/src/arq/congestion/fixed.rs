//! A rate that the user knows.

use std::num::NonZeroU64;
use std::time::Duration;

use super::{Acked, CongestionController, ControllerFactory, Lost, PathInfo};
use crate::time::Time;

/// Controllers that send at a fixed rate, and up to a quarter faster to make up for losses.
///
/// For a line of which the rate is known and that no other traffic uses: it does not react to other flows.
/// Hysteria's "Brutal" does the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedRate(NonZeroU64);

impl FixedRate {
    /// So many bytes a second.
    #[must_use]
    pub const fn new(bytes_per_second: NonZeroU64) -> Self {
        Self(bytes_per_second)
    }
}

impl ControllerFactory for FixedRate {
    fn new_controller(&self, path: &PathInfo) -> Box<dyn CongestionController> {
        Box::new(Fixed::new(self.0, path.segment_len))
    }
}

#[derive(Debug)]
struct Fixed {
    rate: NonZeroU64,
    segment_len: u64,
    /// Of the last few seconds.
    acked: u64,
    lost: u64,
    since: Time,
    /// Hundredths of the rate that are sent to make up for losses.
    factor: u64,
    round_trip: Duration,
}

impl Fixed {
    fn new(rate: NonZeroU64, segment_len: u64) -> Self {
        Self {
            rate,
            segment_len,
            acked: 0,
            lost: 0,
            since: Time::ZERO,
            factor: 100,
            round_trip: FIRST_ROUND_TRIP,
        }
    }

    fn current(&self) -> u64 {
        (self.rate.get() / 100).saturating_mul(self.factor).max(1)
    }
}

impl CongestionController for Fixed {
    fn on_acked(&mut self, now: Time, acked: &Acked) {
        self.acked += acked.bytes;
        if let Some(rtt) = acked.rtt {
            self.round_trip = rtt.max(acked.min_rtt);
        }
        let all = self.acked + self.lost;
        if now - self.since >= SPAN && all >= 50 * self.segment_len {
            self.factor = (all * 100 / self.acked.max(1)).clamp(100, MOST_FACTOR);
            (self.acked, self.lost, self.since) = (0, 0, now);
        }
    }

    fn on_lost(&mut self, _now: Time, lost: &Lost) {
        self.lost += lost.bytes;
    }

    fn window(&self) -> u64 {
        // Two round trips, so that the rate holds while losses are repaired.
        let micros = u64::try_from(self.round_trip.as_micros()).unwrap_or(u64::MAX);
        let product = u128::from(self.current()) * u128::from(micros) / 1_000_000;
        let window = u64::try_from(2 * product).unwrap_or(u64::MAX);
        window.max(LEAST_SEGMENTS * self.segment_len)
    }

    fn rate(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.current())
    }
}

/// Before one is measured.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(200);

/// How long losses are counted before the rate follows them.
const SPAN: Duration = Duration::from_secs(2);

/// Beyond a fifth of everything lost, sending more makes it worse.
const MOST_FACTOR: u64 = 125;

const LEAST_SEGMENTS: u64 = 32;
