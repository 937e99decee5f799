//! Checks that the round-trip time and the time-out follow from what was acknowledged.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::stats::Stats;

/// The samples of the round-trip time that a session can have.
#[derive(Debug)]
pub(crate) struct RttOracle {
    least_rto: Duration,
    smoothed: Option<Duration>,
    longest: Duration,
    /// The shortest and the longest sample of the last datagram.
    told: Option<(Duration, Duration)>,
}

impl RttOracle {
    pub(crate) fn new(config: &Config) -> Self {
        let least = if config.no_delay() { 30 } else { 100 };
        Self {
            least_rto: Duration::from_millis(least),
            smoothed: None,
            longest: Duration::ZERO,
            told: None,
        }
    }

    /// The next datagram is handled.
    pub(crate) fn begin(&mut self) {
        self.told = None;
    }

    /// An acknowledgement gives a sample.
    pub(crate) fn on_trip(&mut self, trip: Duration) {
        let trip = trip.clamp(Duration::from_micros(1), MAX_RTO);
        let (short, long) = self.told.unwrap_or((trip, trip));
        self.told = Some((short.min(trip), long.max(trip)));
        self.longest = self.longest.max(trip);
    }

    /// The session has handled the datagram.
    pub(crate) fn check(&mut self, stats: &Stats) -> Result<(), String> {
        let (before, after) = (self.smoothed, stats.smoothed_rtt);
        self.smoothed = after;
        if after != before {
            let (short, long) = self.told.unwrap_or((MAX_RTO, Duration::ZERO));
            let (short, long) = (
                before.unwrap_or(short).min(short),
                before.unwrap_or(long).max(long),
            );
            if after.is_none_or(|after| !(short..=long).contains(&after)) {
                return Err(format!(
                    "{before:?} became {after:?}, with samples of {:?}",
                    self.told
                ));
            }
        }
        let (low, high) = match after {
            // Only the handshake may have been measured, which is not seen here.
            None if stats.rto == INITIAL_RTO => (INITIAL_RTO, INITIAL_RTO),
            None => (self.least_rto, MAX_RTO),
            Some(trip) => {
                let low = trip + GRANULARITY;
                let high = trip + GRANULARITY + 4 * self.longest;
                (low.max(self.least_rto), high.max(self.least_rto))
            }
        };
        if !(low.min(MAX_RTO)..=high.min(MAX_RTO)).contains(&stats.rto) {
            return Err(format!(
                "time-out of {:?}, not {low:?} to {high:?}",
                stats.rto
            ));
        }
        Ok(())
    }
}

/// Before anything is acknowledged.
const INITIAL_RTO: Duration = Duration::from_millis(200);

/// Least margin over the round-trip time.
const GRANULARITY: Duration = Duration::from_millis(2);

/// No time-out is longer.
const MAX_RTO: Duration = Duration::from_secs(60);
