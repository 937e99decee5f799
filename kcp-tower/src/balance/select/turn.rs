//! Round robin, weighted round robin and random choice.

use std::collections::HashMap;
use std::sync::Mutex;

use super::{Candidate, Dice, Key, Select};
use crate::balance::sync::lock;

/// Smooth weighted round robin, nginx's algorithm: each candidate gains its weight, the one with the
/// most is selected and loses the sum of all weights. With equal weights it is plain round robin, and
/// stays even when candidates come, go, or are left out for a while.
pub(super) struct Turn {
    weighted: bool,
    credit: Mutex<HashMap<u64, i64>>,
}

impl Turn {
    pub(super) fn equal() -> Self {
        Self {
            weighted: false,
            credit: Mutex::default(),
        }
    }

    pub(super) fn weighted() -> Self {
        Self {
            weighted: true,
            credit: Mutex::default(),
        }
    }

    fn weight(&self, candidate: &Candidate<'_>) -> i64 {
        if self.weighted {
            candidate.endpoint().get_weight().into()
        } else {
            1
        }
    }
}

impl Select for Turn {
    fn select(&self, candidates: &[Candidate<'_>], _key: Option<Key>) -> Option<usize> {
        let mut credit = lock(&self.credit);
        if credit.len() > 2 * candidates.len() + FORGOTTEN_AT_ONCE {
            credit.retain(|id, _| candidates.iter().any(|it| it.id() == *id));
        }
        let mut best = None;
        let mut sum = 0;
        for (at, candidate) in candidates.iter().enumerate() {
            let weight = self.weight(candidate);
            sum += weight;
            let credit = credit.entry(candidate.id()).or_default();
            *credit += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((at, *credit));
            }
        }
        let (at, _) = best?;
        if let Some(credit) = credit.get_mut(&candidates[at].id()) {
            *credit -= sum;
        }
        Some(at)
    }
}

/// Credits of departed endpoints that are kept, so that the list is not searched for each request.
const FORGOTTEN_AT_ONCE: usize = 64;

/// Each with the same probability.
pub(super) struct Random {
    dice: Dice,
}

impl Random {
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice }
    }
}

impl Select for Random {
    fn select(&self, candidates: &[Candidate<'_>], _key: Option<Key>) -> Option<usize> {
        (!candidates.is_empty()).then(|| self.dice.below(candidates.len()))
    }
}
