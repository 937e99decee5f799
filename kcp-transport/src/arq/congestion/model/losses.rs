//! What the path loses while its queue is empty.

use crate::time::Time;

/// Outcomes of what was sent while less was in flight than the path holds, over the last few times.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Bytes sent and bytes lost.
    phases: [(u64, u64); PHASES],
    at: usize,
    since: Option<Time>,
    /// The end of the last phase; without one it goes on.
    until: Option<Time>,
}

impl Losses {
    pub(super) fn begin(&mut self, now: Time) {
        self.at = (self.at + 1) % PHASES;
        self.phases[self.at] = (0, 0);
        (self.since, self.until) = (Some(now), None);
    }

    pub(super) fn end(&mut self, now: Time) {
        self.until = Some(now);
    }

    pub(super) fn on_acked(&mut self, sent_at: Time, bytes: u64) {
        self.on_outcome(sent_at, bytes, 0);
    }

    pub(super) fn on_lost(&mut self, sent_at: Time, bytes: u64) {
        self.on_outcome(sent_at, bytes, bytes);
    }

    fn on_outcome(&mut self, sent_at: Time, sent: u64, lost: u64) {
        let is_within = self.since.is_some_and(|since| sent_at >= since)
            && self.until.is_none_or(|until| sent_at < until);
        if is_within {
            let (all, gone) = &mut self.phases[self.at];
            *all += sent;
            *gone += lost;
        }
    }

    /// Whether nothing was measured yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.since.is_none()
    }

    /// The part of a round of so many bytes from which on its losses are those of congestion.
    pub(super) fn threshold(&self, round: f64, segment_len: f64) -> f64 {
        let sum = |sum: (u64, u64), it: &(u64, u64)| (sum.0 + it.0, sum.1 + it.1);
        let (all, lost) = self.phases.iter().fold((0, 0), sum);
        let (all, lost) = (all as f64, lost as f64);
        if all < ENOUGH_SEGMENTS * segment_len {
            return MOST;
        }
        let base = lost / all;
        // Both what the path loses and what the round lost are known to some deviation.
        let segments = 1.0 / (round / segment_len).max(1.0) + segment_len / all;
        let margin = (DEVIATIONS * (base.max(LEAST_LOSS) * segments).sqrt()).max(MARGIN);
        (base + margin).min(MOST)
    }
}

const PHASES: usize = 6;
const ENOUGH_SEGMENTS: f64 = 30.0;

/// The highest threshold, and the one before anything is known: no usable path loses as much at
/// random. Without a limit, a flow could take its own overflow for what the path loses.
const MOST: f64 = 0.45;

/// A round exceeds so many deviations once in some million.
const DEVIATIONS: f64 = 5.0;

/// That nothing was lost of a few segments does not show that nothing is.
const LEAST_LOSS: f64 = 0.01;

/// Losses that a bottleneck may show in excess (BBRv3 takes 2 %).
const MARGIN: f64 = 0.03;
