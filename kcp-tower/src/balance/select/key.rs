//! By the key of a request.

use std::collections::HashMap;
use std::sync::Mutex;

use super::least::LeastInFlight;
use super::{Candidate, Key, Select};
use crate::balance::sync::lock;

/// Weighted rendezvous hashing with bounded load.
///
/// Each endpoint has a score for each key; the highest wins. Without the endpoint, only its keys go
/// elsewhere, each to the endpoint with the next highest score, so that they spread over all others.
pub(super) struct ConsistentHash {
    bound: f64,
}

impl ConsistentHash {
    pub(super) fn new(bound: f64) -> Self {
        // Below 1.0 there would be requests that no endpoint may take. NaN becomes 1.0 too.
        let bound = bound.max(1.0);
        Self { bound }
    }

    /// Most requests in flight that an endpoint may have, including the one to be placed.
    fn limit(&self, candidate: &Candidate<'_>, in_flight: usize, weights: f64) -> f64 {
        let share = weight(candidate) / weights;
        (self.bound * (in_flight + 1) as f64 * share).ceil()
    }
}

impl Select for ConsistentHash {
    fn select(&self, candidates: &[Candidate<'_>], key: Option<Key>) -> Option<usize> {
        let key = key?;
        let in_flight = candidates.iter().map(Candidate::in_flight).sum();
        let weights: f64 = candidates.iter().map(weight).sum();
        let score = |at: usize| score(key, &candidates[at]);
        let has_room = |&at: &usize| {
            let candidate = &candidates[at];
            let limit = self.limit(candidate, in_flight, weights);
            ((candidate.in_flight() + 1) as f64) <= limit
        };
        let best = |it: &mut dyn Iterator<Item = usize>| {
            it.max_by(|&one, &other| score(one).total_cmp(&score(other)))
        };
        // One always has room, but requests end and begin while this counts.
        best(&mut (0..candidates.len()).filter(has_room))
            .or_else(|| best(&mut (0..candidates.len())))
    }

    fn needs_key(&self) -> bool {
        true
    }
}

fn weight(candidate: &Candidate<'_>) -> f64 {
    f64::from(candidate.endpoint().get_weight())
}

/// -weight / ln(hash), which gives each endpoint a share of the keys in proportion to its weight.
fn score(key: Key, candidate: &Candidate<'_>) -> f64 {
    let hash = key.with(candidate.address) >> 11;
    // 53 bits, so the fraction is exact; never 0.0 or 1.0.
    let fraction = (hash as f64 + 0.5) / (1_u64 << 53) as f64;
    -weight(candidate) / fraction.ln()
}

/// Remembers the endpoint of each key.
#[derive(Default)]
pub(super) struct Sticky {
    remembered: Mutex<Remembered>,
    first: LeastInFlight,
}

/// Two generations of keys: when the young one is full it becomes the old one, and the old one is
/// forgotten. A key that is used again is young again.
#[derive(Default)]
struct Remembered {
    young: HashMap<Key, u64>,
    old: HashMap<Key, u64>,
}

impl Remembered {
    fn insert(&mut self, key: Key, id: u64) {
        if self.young.len() >= REMEMBERED && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, id);
    }

    fn get(&self, key: Key) -> Option<u64> {
        self.young.get(&key).or_else(|| self.old.get(&key)).copied()
    }
}

impl Select for Sticky {
    fn select(&self, candidates: &[Candidate<'_>], key: Option<Key>) -> Option<usize> {
        let key = key?;
        let mut remembered = lock(&self.remembered);
        let known = remembered.get(key);
        let known = known.and_then(|id| candidates.iter().position(|it| it.id() == id));
        let at = known.or_else(|| self.first.select(candidates, None))?;
        remembered.insert(key, candidates[at].id());
        Some(at)
    }

    fn needs_key(&self) -> bool {
        true
    }
}

/// Keys of one generation: about 4 MiB for two of them.
const REMEMBERED: usize = 65_536;
