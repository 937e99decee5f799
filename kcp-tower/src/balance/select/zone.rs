//! By zone.

use std::sync::Arc;

use super::{Candidate, Key, Select};

/// The candidates of the nearest zone that has one.
pub(super) struct NearestZone {
    zones: Vec<String>,
    then: Arc<dyn Select>,
}

impl NearestZone {
    pub(super) fn new(zones: Vec<String>, then: Arc<dyn Select>) -> Self {
        Self { zones, then }
    }

    /// The indices of those in a zone.
    fn within(candidates: &[Candidate<'_>], zone: &str) -> Vec<usize> {
        let inside = |&at: &usize| candidates[at].endpoint().get_zone() == Some(zone);
        (0..candidates.len()).filter(inside).collect()
    }
}

impl Select for NearestZone {
    fn select(&self, candidates: &[Candidate<'_>], key: Option<Key>) -> Option<usize> {
        let zones = self.zones.iter();
        let mut nonempty = zones
            .map(|zone| Self::within(candidates, zone))
            .filter(|it| !it.is_empty());
        let Some(near) = nonempty.next() else {
            return self.then.select(candidates, key);
        };
        let inside: Vec<_> = near.iter().map(|&at| candidates[at]).collect();
        let chosen = self.then.select(&inside, key)?;
        near.get(chosen).copied()
    }

    fn needs_key(&self) -> bool {
        self.then.needs_key()
    }
}
