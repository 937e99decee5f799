//! Round trips of messages, and each way of them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::report::Latencies;

/// One message that came back. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was sent or, if an earlier message was in the way, should have been.
    pub sent: u64,
    /// When the server received it, on the server's clock.
    pub turned: u64,
    /// When it was back.
    pub received: u64,
}

impl Sample {
    /// The round-trip time.
    #[must_use]
    pub fn round_trip(self) -> Duration {
        Duration::from_micros(self.received.saturating_sub(self.sent))
    }

    /// The server's clock minus the client's, if both ways took equally long.
    fn offset(self) -> i128 {
        i128::from(self.turned) - (i128::from(self.sent) + i128::from(self.received)) / 2
    }

    /// The times there and back, if the server's clock is ahead by `offset`.
    fn ways(self, offset: i128) -> [Duration; 2] {
        let turned = i128::from(self.turned) - offset;
        let there = turned - i128::from(self.sent);
        let back = i128::from(self.received) - turned;
        // Clocks that drift could make a short way negative.
        [there, back].map(|it| Duration::from_micros(u64::try_from(it).unwrap_or(0)))
    }
}

/// The messages of a connection, which can be read while they arrive.
#[derive(Debug, Default)]
pub struct Samples {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The time before which messages do not count, in microseconds.
    counted_from: u64,
    sent: u64,
    samples: Vec<Sample>,
}

impl Samples {
    /// No messages. Those sent earlier than `omit` after the beginning will not count.
    #[must_use]
    pub fn new(omit: Duration) -> Self {
        let counted_from = u64::try_from(omit.as_micros()).unwrap_or(u64::MAX);
        let inner = Inner {
            counted_from,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Counts a message sent at that time, in microseconds.
    pub fn on_sent(&self, sent: u64) {
        let mut inner = self.lock();
        inner.sent += u64::from(sent >= inner.counted_from);
    }

    /// Counts a message that came back.
    pub fn on_received(&self, sample: Sample) {
        let mut inner = self.lock();
        if sample.sent >= inner.counted_from {
            inner.samples.push(sample);
        }
    }

    /// Numbers of messages sent and back.
    #[must_use]
    pub fn counts(&self) -> (u64, usize) {
        let inner = self.lock();
        (inner.sent, inner.samples.len())
    }

    /// A copy of the samples from this index on.
    #[must_use]
    pub fn from(&self, index: usize) -> Vec<Sample> {
        let inner = self.lock();
        inner.samples.get(index..).unwrap_or_default().to_vec()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Times of messages, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// The shortest.
    pub min: f64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Times {
    /// Of these times; all 0 if there are none.
    #[must_use]
    pub fn new(times: Vec<Duration>) -> Self {
        let count = times.len().max(1) as f64;
        let sum: Duration = times.iter().sum();
        let sorted = Latencies::new(times);
        let percentile = |percent| millis(sorted.percentile(percent));
        Self {
            min: percentile(0),
            mean: (millis(sum) * 1000.0 / count).round() / 1000.0,
            p50: percentile(50),
            p99: percentile(99),
            max: percentile(100),
        }
    }
}

/// The round trips of samples, and the two ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Trips {
    /// There and back.
    pub round_trip: Times,
    /// From the client to the server.
    pub there: Times,
    /// From the server to the client.
    pub back: Times,
}

impl Trips {
    /// Of the samples of several connections.
    ///
    /// The offset of the server's clock follows from the fastest round trip of each connection, whose two
    /// ways are taken to be equally long.
    #[must_use]
    pub fn new(connections: &[Vec<Sample>]) -> Self {
        let (mut round_trips, mut there, mut back) = (Vec::new(), Vec::new(), Vec::new());
        for samples in connections {
            let Some(fastest) = samples.iter().min_by_key(|it| it.round_trip()) else {
                continue;
            };
            let offset = fastest.offset();
            for sample in samples {
                let ways = sample.ways(offset);
                round_trips.push(sample.round_trip());
                there.push(ways[0]);
                back.push(ways[1]);
            }
        }
        Self {
            round_trip: Times::new(round_trips),
            there: Times::new(there),
            back: Times::new(back),
        }
    }
}

/// Milliseconds with three decimals.
#[must_use]
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sent: u64, turned: u64, received: u64) -> Sample {
        Sample {
            sent,
            turned,
            received,
        }
    }

    #[test]
    fn ways_follow_from_the_fastest_round_trip() {
        // The server's clock is ahead by 1 s, and each way takes 10 ms; the second message is late by
        // 5 ms on the way there, and the third by 7 ms on the way back.
        let samples = vec![
            sample(0, 1_010_000, 20_000),
            sample(100_000, 1_115_000, 125_000),
            sample(200_000, 1_210_000, 227_000),
        ];
        let trips = Trips::new(&[samples]);
        let times = |it: Times| (it.min, it.p50, it.max);
        assert_eq!(times(trips.round_trip), (20.0, 25.0, 27.0));
        assert_eq!(times(trips.there), (10.0, 10.0, 15.0));
        assert_eq!(times(trips.back), (10.0, 10.0, 17.0));
        assert!((trips.round_trip.mean - 24.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_received_gives_zeros() {
        assert_eq!(Trips::new(&[vec![], vec![]]), Trips::default());
    }

    #[test]
    fn wrong_times_of_a_server_do_not_overflow() {
        let samples = vec![sample(0, u64::MAX, 1), sample(5, 0, 9)];
        let trips = Trips::new(&[samples]);
        assert_eq!(trips.round_trip.max, 0.004);
    }

    #[test]
    fn omitted_messages_do_not_count() {
        let samples = Samples::new(Duration::from_micros(100));
        for sent in [0, 99, 100, 200] {
            samples.on_sent(sent);
            samples.on_received(sample(sent, 0, sent + 1));
        }
        assert_eq!(samples.counts(), (2, 2));
        assert_eq!(samples.from(1), [sample(200, 0, 201)]);
        assert_eq!(samples.from(5), []);
    }
}
