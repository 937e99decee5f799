//! What one side of a connection has counted.

use std::ops::AddAssign;

use kcp_transport::Stats;
use serde::{Deserialize, Serialize};

/// What one side of a connection has counted over a time, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Figures {
    /// Bytes of data: acknowledged ones at the sender, received ones at the receiver.
    pub bytes: u64,
    /// The time, in seconds.
    pub seconds: f64,
    /// Segments with data that this side sent for the first time.
    pub segments: u64,
    /// Segments that this side sent again.
    pub retransmitted: u64,
    /// Copies of segments that this side sent before it was known whether they are needed.
    pub redundant: u64,
    /// Parity packets that this side sent.
    pub parity: u64,
    /// Packets that this side rebuilt from parity.
    pub recovered: u64,
    /// Segments that this side received more than once.
    pub duplicates: u64,
    /// Bytes of UDP payload that this side sent.
    pub wire_sent: u64,
    /// Bytes of UDP payload that this side received.
    pub wire_received: u64,
    /// Smoothed round-trip time at the end in microseconds, if this side has measured it.
    pub rtt_us: Option<u64>,
}

impl Figures {
    /// The difference of two readings of a connection's statistics.
    #[must_use]
    pub fn between(earlier: &Stats, later: &Stats) -> Self {
        let rtt = later.smoothed_rtt.map(|it| it.as_micros());
        Self {
            bytes: 0,
            seconds: 0.0,
            segments: later.data_segments_sent - earlier.data_segments_sent,
            retransmitted: later.retransmitted - earlier.retransmitted,
            redundant: later.redundant_sent - earlier.redundant_sent,
            parity: later.fec_parity_sent - earlier.fec_parity_sent,
            recovered: later.fec_recovered - earlier.fec_recovered,
            duplicates: later.duplicates_received - earlier.duplicates_received,
            wire_sent: later.wire_bytes_sent - earlier.wire_bytes_sent,
            wire_received: later.wire_bytes_received - earlier.wire_bytes_received,
            rtt_us: rtt.and_then(|it| u64::try_from(it).ok()),
        }
    }

    /// The rate of the data, in bits per second. 0 if no time has passed.
    #[must_use]
    pub fn bits_per_second(&self) -> f64 {
        ratio(self.bytes as f64 * 8.0, self.seconds)
    }

    /// Segments sent again, in percent of all segments with data that were sent. 0 if none was sent.
    #[must_use]
    pub fn retransmitted_percent(&self) -> f64 {
        let all = self.segments as f64 + self.retransmitted as f64;
        ratio(self.retransmitted as f64 * 100.0, all)
    }

    /// Bytes of UDP payload sent for each byte of data. 0 without data.
    #[must_use]
    pub fn wire_per_byte(&self) -> f64 {
        ratio(self.wire_sent as f64, self.bytes as f64)
    }

    #[cfg(test)]
    pub(super) fn largest() -> Self {
        Self {
            bytes: u64::MAX,
            seconds: f64::MAX,
            segments: u64::MAX,
            retransmitted: u64::MAX,
            redundant: u64::MAX,
            parity: u64::MAX,
            recovered: u64::MAX,
            duplicates: u64::MAX,
            wire_sent: u64::MAX,
            wire_received: u64::MAX,
            rtt_us: Some(u64::MAX),
        }
    }
}

/// Adds counts, and keeps the longer times. A peer's figures may be any numbers, so nothing overflows.
impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.bytes, other.bytes),
            (&mut self.segments, other.segments),
            (&mut self.retransmitted, other.retransmitted),
            (&mut self.redundant, other.redundant),
            (&mut self.parity, other.parity),
            (&mut self.recovered, other.recovered),
            (&mut self.duplicates, other.duplicates),
            (&mut self.wire_sent, other.wire_sent),
            (&mut self.wire_received, other.wire_received),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.seconds = self.seconds.max(other.seconds);
        self.rtt_us = self.rtt_us.max(other.rtt_us);
    }
}

/// 0 instead of a quotient that is no number.
fn ratio(part: f64, of: f64) -> f64 {
    if of > 0.0 { part / of } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_shares_follow_from_counts() {
        let figures = Figures {
            bytes: 1_000_000,
            seconds: 2.0,
            segments: 792,
            retransmitted: 8,
            wire_sent: 1_100_000,
            ..Figures::default()
        };
        assert!((figures.bits_per_second() - 4e6).abs() < 1e-6);
        assert!((figures.retransmitted_percent() - 1.0).abs() < 1e-9);
        assert!((figures.wire_per_byte() - 1.1).abs() < 1e-9);
        let none = Figures::default();
        assert!(none.bits_per_second() == 0.0 && none.wire_per_byte() == 0.0);
        assert!(none.retransmitted_percent() == 0.0);
    }

    #[test]
    fn sum_adds_counts_and_keeps_the_longest_time() {
        let mut sum = Figures {
            bytes: 1,
            seconds: 3.0,
            rtt_us: None,
            ..Figures::default()
        };
        sum += Figures {
            bytes: 2,
            seconds: 1.0,
            rtt_us: Some(5),
            ..Figures::default()
        };
        assert_eq!((sum.bytes, sum.rtt_us), (3, Some(5)));
        assert!((sum.seconds - 3.0).abs() < 1e-9);
        sum += Figures::largest();
        assert_eq!(sum.bytes, u64::MAX);
    }
}
