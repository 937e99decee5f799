//! By requests in flight and by latency.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Candidate, Dice, Key, Select};

/// The fewest requests in flight; equal ones in turn.
#[derive(Default)]
pub(super) struct LeastInFlight {
    turn: AtomicUsize,
}

impl Select for LeastInFlight {
    fn select(&self, candidates: &[Candidate<'_>], _key: Option<Key>) -> Option<usize> {
        let count = candidates.len();
        let start = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..count).map(|step| start.wrapping_add(step) % count);
        in_turn.min_by_key(|&at| candidates[at].in_flight())
    }
}

/// The better of two different ones at random.
pub(super) struct TwoChoices {
    dice: Dice,
}

impl TwoChoices {
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice }
    }
}

impl Select for TwoChoices {
    fn select(&self, candidates: &[Candidate<'_>], _key: Option<Key>) -> Option<usize> {
        let count = candidates.len();
        if count < 2 {
            return (count == 1).then_some(0);
        }
        let one = self.dice.below(count);
        let other = (one + 1 + self.dice.below(count - 1)) % count;
        let better = candidates[other].load() < candidates[one].load();
        Some(if better { other } else { one })
    }
}
