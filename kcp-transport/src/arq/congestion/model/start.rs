//! What the first round trips show of the rate of the path.

use std::time::Duration;

use crate::arq::congestion::{Acked, RateSample};
use crate::time::Time;

/// Estimates the rate of the path, in bytes a second.
///
/// The first flight leaves at once, and the bottleneck spreads it: the spacing of its acks gives the
/// rate of the path after one round trip.
#[derive(Debug, Default)]
pub(super) struct Start {
    /// The highest rate that was delivered, or half of that of the first flight.
    highest: f64,
    /// When the first ack of the first flight came, and the bytes acknowledged since.
    train: Option<(Time, f64)>,
    first_sent: Option<Time>,
    /// The rate of the first flight; 0 if it was too short.
    train_rate: f64,
    /// The rate from which a round has to grow, and how often in a row it did not.
    full: f64,
    flat_rounds: u32,
}

impl Start {
    pub(super) fn rate(&self) -> f64 {
        self.highest
    }

    /// The rate to send at: twice what was delivered, and little more near the rate of the first
    /// flight, so that the queue is not overrun before its growth is seen.
    pub(super) fn pacing_rate(&self) -> f64 {
        let is_near = self.train_rate > 0.0 && self.highest > NEAR * self.train_rate;
        self.highest * if is_near { 1.25 } else { 2.0 }
    }

    pub(super) fn slow_down(&mut self) {
        self.highest /= 2.0;
    }

    pub(super) fn on_acked(
        &mut self,
        now: Time,
        acked: &Acked,
        sample: &RateSample,
        is_first: bool,
        segment_len: f64,
    ) {
        let first_sent = *self.first_sent.get_or_insert(sample.sent_at);
        if is_first && sample.sent_at <= first_sent + TRAIN_LENGTH {
            self.on_train(now, acked.bytes as f64, segment_len);
        }
        self.highest = self.highest.max(sample.rate as f64);
    }

    fn on_train(&mut self, now: Time, bytes: f64, segment_len: f64) {
        let (since, sum) = self.train.get_or_insert((now, 0.0));
        if now <= *since {
            return;
        }
        *sum += bytes;
        if *sum >= TRAIN_SEGMENTS * segment_len {
            self.train_rate = *sum / (now - *since).as_secs_f64();
            self.highest = self.highest.max(self.train_rate / 2.0);
        }
    }

    /// A round ended in which enough was sent.
    pub(super) fn on_round(&mut self) {
        if self.highest >= self.full * GROWTH {
            self.full = self.highest;
            self.flat_rounds = 0;
        } else {
            self.flat_rounds += 1;
        }
    }

    /// Whether the rate does not grow any more.
    pub(super) fn is_over(&self) -> bool {
        self.flat_rounds >= FLAT_ROUNDS
    }
}

/// A train of fewer segments shows too little, and of what is sent later too much.
const TRAIN_SEGMENTS: f64 = 8.0;
const TRAIN_LENGTH: Duration = Duration::from_millis(2);

const NEAR: f64 = 0.7;

/// As BBR has it.
const GROWTH: f64 = 1.25;
const FLAT_ROUNDS: u32 = 3;
