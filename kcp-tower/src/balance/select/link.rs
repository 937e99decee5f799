//! By the quality of the path.

use std::time::Duration;

use super::{Candidate, Dice, Key, Link, Select};

/// At random, in proportion to weight / cost of the path.
pub(super) struct LinkQuality {
    dice: Dice,
}

impl LinkQuality {
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice }
    }
}

impl Select for LinkQuality {
    fn select(&self, candidates: &[Candidate<'_>], _key: Option<Key>) -> Option<usize> {
        let costs: Vec<_> = candidates
            .iter()
            .map(|it| it.link().map(|link| cost(&link)))
            .collect();
        let best = costs.iter().flatten().copied().reduce(f64::min);
        let unmeasured = best.unwrap_or(1.0);
        let share = |at: usize| {
            let weight = f64::from(candidates[at].endpoint().get_weight());
            weight / costs[at].unwrap_or(unmeasured)
        };
        let sum: f64 = (0..candidates.len()).map(share).sum();
        let mut left = self.dice.fraction() * sum;
        let chosen = (0..candidates.len()).find(|&at| {
            left -= share(at);
            left < 0.0
        });
        // Rounding may leave a little beyond the last.
        chosen.or_else(|| candidates.len().checked_sub(1))
    }
}

/// The time that a message takes on average, in milliseconds. A lost segment arrives about two
/// round-trip times later, and so does everything behind it.
fn cost(link: &Link) -> f64 {
    let rtt = link.rtt.max(SHORTEST).as_secs_f64() * 1e3;
    rtt * (1.0 + COST_OF_LOSS * link.loss.clamp(0.0, 1.0))
}

/// Shorter paths are equally good: their round-trip times are mostly those of the scheduler.
const SHORTEST: Duration = Duration::from_millis(1);

/// With 10 % loss a path costs as much as one that is twice as long: half of all messages of about
/// five segments are late by two round-trip times.
const COST_OF_LOSS: f64 = 10.0;
