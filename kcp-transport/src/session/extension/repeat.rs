//! Repetition of a frame until it is acknowledged.

use std::time::Duration;

use crate::time::Time;

/// When a repeated frame is due next, and how often it may still be sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    next: Option<Time>,
    wait: Duration,
    left: u8,
}

impl Repeat {
    /// A frame that is first due at `start` and is sent at most `times` times.
    pub(super) fn new(start: Option<Time>, times: u8) -> Self {
        Self {
            next: start,
            wait: Duration::ZERO,
            left: times,
        }
    }

    /// When the frame is due next; `None` if never again.
    pub(super) fn next(&self) -> Option<Time> {
        self.next.filter(|_| self.left > 0)
    }

    /// Whether the frame is due now.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.next().is_some_and(|at| at <= now)
    }

    /// How often the frame may still be sent.
    pub(super) fn left(&self) -> u8 {
        self.left
    }

    /// Records a transmission. The first wait is `first`; each later one is longer by half.
    pub(super) fn on_sent(&mut self, now: Time, first: Duration) {
        self.wait = if self.wait.is_zero() {
            first
        } else {
            self.wait + self.wait / 2
        };
        self.wait = self.wait.min(LONGEST_WAIT);
        self.left = self.left.saturating_sub(1);
        self.next = Some(now + self.wait);
    }

    /// Ends the repetition after an answer.
    pub(super) fn stop(&mut self) {
        self.left = 0;
    }
}

/// As for window probes: a frame is small, and a lost one costs two seconds at most.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_half_until_the_last_repetition() {
        let mut repeat = Repeat::new(Some(Time::ZERO), 4);
        let mut times = Vec::new();
        while let Some(at) = repeat.next() {
            assert!(repeat.is_due(at));
            times.push(at.as_millis());
            repeat.on_sent(at, Duration::from_millis(1000));
        }
        assert_eq!(times, [0, 1000, 2500, 4500]);
        assert_eq!(repeat.left(), 0);
    }
}
