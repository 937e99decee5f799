//! Loss over the last seconds, from counters of a whole connection.

use std::time::Duration;

use tokio::time::Instant;

/// Data segments of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Segments {
    pub(super) sent: u64,
    pub(super) lost: u64,
}

/// What the counters were at the starts of this window and of the one before it.
#[derive(Debug, Default)]
pub(super) struct RecentLoss {
    before: Segments,
    start: Option<(Instant, Segments)>,
    /// The last result that had enough segments.
    loss: f64,
}

impl RecentLoss {
    /// The share of the segments that were lost, over one to two windows. Without enough segments in
    /// that time, it is the last share that was known.
    pub(super) fn update(&mut self, total: Segments, now: Instant) -> f64 {
        if total.sent < self.before.sent {
            // Another connection, whose counters began at zero.
            *self = Self {
                loss: self.loss,
                ..Self::default()
            };
        }
        let (started, at_start) = *self.start.get_or_insert((now, Segments::default()));
        let sent = total.sent - self.before.sent;
        if sent >= ENOUGH {
            let lost = total.lost.saturating_sub(self.before.lost);
            self.loss = lost as f64 / sent as f64;
        }
        if now.saturating_duration_since(started) >= WINDOW {
            self.before = at_start;
            self.start = Some((now, total));
        }
        self.loss
    }
}

const WINDOW: Duration = Duration::from_secs(5);

/// With fewer, one lost segment would be a large share.
const ENOUGH: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::now;

    #[test]
    fn old_losses_are_forgotten_and_quiet_paths_keep_their_last_loss() {
        let (mut loss, start) = (RecentLoss::default(), now());
        let mut total = Segments::default();
        let mut at = |loss: &mut RecentLoss, second: u64, sent: u64, lost: u64| {
            total.sent += sent;
            total.lost += lost;
            loss.update(total, start + Duration::from_secs(second))
        };
        assert_eq!(at(&mut loss, 0, 19, 19), 0.0, "too few");
        assert_eq!(at(&mut loss, 1, 81, 31), 0.5);
        // A good path from here on: after two windows nothing of before counts.
        at(&mut loss, 5, 0, 0);
        at(&mut loss, 10, 100, 0);
        let later = at(&mut loss, 15, 100, 0);
        assert_eq!(later, 0.0);
        at(&mut loss, 16, 100, 20);
        assert!(at(&mut loss, 17, 0, 0) > 0.0);
        // Quiet for a minute, in windows with too few segments.
        for second in 1..12 {
            at(&mut loss, 18 + 5 * second, 0, 0);
        }
        assert_eq!(at(&mut loss, 80, 1, 1), 0.2, "20 of the last 100");
    }

    #[test]
    fn another_connection_begins_anew() {
        let (mut loss, start) = (RecentLoss::default(), now());
        let segments = |sent, lost| Segments { sent, lost };
        for second in [0, 6, 12] {
            loss.update(segments(1000, 100), start + Duration::from_secs(second));
        }
        let later = start + Duration::from_secs(13);
        assert_eq!(loss.update(segments(100, 50), later), 0.5);
    }
}
