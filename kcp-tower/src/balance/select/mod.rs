//! Which endpoint gets a request.
//!
//! tower's `balance::p2c::Balance` is not used: it holds requests back while its set is empty, knows
//! one selection, and offers no way to leave out the endpoints that a request has tried already or
//! that are ejected. Its measure of load, [`tower::load::PeakEwma`], is used.

mod key;
mod least;
mod link;
mod turn;
mod zone;

#[cfg(test)]
mod tests;

use std::collections::hash_map::{DefaultHasher, RandomState};
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use tower::load::peak_ewma::Cost;
use tower::util::rng::{HasherRng, Rng};

use super::Endpoint;
use super::protocol::Measured;
use super::protocol::{Key, Link};
use super::track::Track;

/// How an endpoint is selected for each request, among the usable ones.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Selection {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Each with the same probability.
    Random,
    /// Each in turn, as often as its [weight](Endpoint::weight), and spread evenly: with the weights
    /// 3 and 1 never three times the first and then the second.
    WeightedRoundRobin,
    /// The one with the fewest requests in flight; equal ones in turn.
    LeastInFlight,
    /// The better of two random ones, by latency and requests in flight, as in tower's
    /// [`PeakEwma`](tower::load::PeakEwma). A slower server gets fewer requests.
    PeakEwma,
    /// By the [`Key`] of the request: the same endpoint for the same key, for all clients that know
    /// the same set. When the set changes, only the keys of the changed endpoints move. An endpoint
    /// that has more than `bound` times its share of the requests in flight passes further keys on to
    /// the next. Requests without a key fail with [`BalanceError::NoKey`](super::BalanceError::NoKey).
    ///
    /// The bound is at least 1.0; [`Selection::consistent_hash`] has 1.25. Weights count.
    ConsistentHash {
        /// How many times its share of the requests in flight an endpoint may have.
        bound: f64,
    },
    /// By the [`Key`] of the request: the first time the endpoint with the fewest requests in flight,
    /// and afterwards the same one as long as it is usable. The 65 536 keys used last are
    /// remembered. Requests without a key fail with
    /// [`BalanceError::NoKey`](super::BalanceError::NoKey).
    Sticky,
    /// At random, in proportion to weight and quality of the path, which is the round-trip time and the
    /// loss of the KCP connections. An endpoint without a measurement counts as the best one.
    LinkQuality,
    /// An endpoint of the first zone in the list that has a usable one; any endpoint if none of the
    /// zones has one, so that an unknown zone is no error. `then` selects within the zone.
    NearestZone {
        /// The zones, nearest first.
        zones: Vec<String>,
        /// How to select within a zone.
        then: Box<Selection>,
    },
    /// By an implementation of [`Select`].
    Custom(Arc<dyn Select>),
}

impl Selection {
    /// [`Selection::ConsistentHash`] with a bound of 1.25, as in the paper on consistent hashing with
    /// bounded loads (Mirrokni and others, 2016).
    #[must_use]
    pub fn consistent_hash() -> Self {
        Self::ConsistentHash { bound: 1.25 }
    }

    /// [`Selection::NearestZone`].
    ///
    /// ```
    /// use kcp_tower::balance::Selection;
    ///
    /// let selection = Selection::nearest_zone(["eu-1", "eu-2"], Selection::LeastInFlight);
    /// ```
    #[must_use]
    pub fn nearest_zone<Z: Into<String>>(
        zones: impl IntoIterator<Item = Z>,
        then: Selection,
    ) -> Self {
        Self::NearestZone {
            zones: zones.into_iter().map(Into::into).collect(),
            then: Box::new(then),
        }
    }

    /// The code of a selection. A seed makes its random choices repeatable.
    pub(super) fn build(&self, seed: Option<u64>) -> Arc<dyn Select> {
        match self {
            Self::RoundRobin => Arc::new(turn::Turn::equal()),
            Self::WeightedRoundRobin => Arc::new(turn::Turn::weighted()),
            Self::Random => Arc::new(turn::Random::new(Dice::new(seed))),
            Self::LeastInFlight => Arc::new(least::LeastInFlight::default()),
            Self::PeakEwma => Arc::new(least::TwoChoices::new(Dice::new(seed))),
            Self::ConsistentHash { bound } => Arc::new(key::ConsistentHash::new(*bound)),
            Self::Sticky => Arc::new(key::Sticky::default()),
            Self::LinkQuality => Arc::new(link::LinkQuality::new(Dice::new(seed))),
            Self::NearestZone { zones, then } => {
                Arc::new(zone::NearestZone::new(zones.clone(), then.build(seed)))
            }
            Self::Custom(select) => Arc::clone(select),
        }
    }
}

impl fmt::Debug for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "RoundRobin",
            Self::Random => "Random",
            Self::WeightedRoundRobin => "WeightedRoundRobin",
            Self::LeastInFlight => "LeastInFlight",
            Self::PeakEwma => "PeakEwma",
            Self::ConsistentHash { bound } => return write!(f, "ConsistentHash({bound})"),
            Self::Sticky => "Sticky",
            Self::LinkQuality => "LinkQuality",
            Self::NearestZone { zones, then } => {
                return write!(f, "NearestZone({zones:?}, {then:?})");
            }
            Self::Custom(_) => "Custom",
        })
    }
}

/// Selects an endpoint for each request.
///
/// ```
/// use std::sync::Arc;
///
/// use kcp_tower::balance::{Candidate, Key, Select, Selection};
///
/// /// Always the endpoint with the largest weight.
/// struct Largest;
///
/// impl Select for Largest {
///     fn select(&self, candidates: &[Candidate<'_>], _: Option<Key>) -> Option<usize> {
///         let weight = |&at: &usize| candidates[at].endpoint().get_weight();
///         (0..candidates.len()).max_by_key(weight)
///     }
/// }
///
/// let selection = Selection::Custom(Arc::new(Largest));
/// ```
pub trait Select: Send + Sync {
    /// The index of one of the candidates, which are the usable endpoints, at least one
    /// of them. An index beyond the last, or `None`, is an error of the request:
    /// [`BalanceError::NoneAvailable`](super::BalanceError::NoneAvailable).
    ///
    /// It is called for each request and must not block.
    fn select(&self, candidates: &[Candidate<'_>], key: Option<Key>) -> Option<usize>;

    /// Whether requests without a key are errors. Default false.
    fn needs_key(&self) -> bool {
        false
    }
}

/// An endpoint that can be selected.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) address: &'a str,
    pub(super) track: &'a Track,
    pub(super) link: &'a dyn Measured,
}

impl<'a> Candidate<'a> {
    /// Its description.
    #[must_use]
    pub fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// A number that the set gives each endpoint once, also if an endpoint of the same address comes
    /// back. Changes of a description do not change it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.track.id
    }

    /// Requests without a complete response.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.track.in_flight()
    }

    /// Latency times requests in flight. Can be compared only.
    #[must_use]
    pub fn load(&self) -> Cost {
        self.track.load()
    }

    /// What its connections measure of the path, once there is one.
    #[must_use]
    pub fn link(&self) -> Option<Link> {
        self.link.link()
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("endpoint", self.endpoint)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// Random numbers of tower's generator, seeded by the system or by a test.
pub(super) struct Dice(std::sync::Mutex<HasherRng<Seeded>>);

impl Dice {
    pub(super) fn new(seed: Option<u64>) -> Self {
        let hasher = seed.map_or_else(Seeded::random, Seeded);
        Self(std::sync::Mutex::new(HasherRng::with_hasher(hasher)))
    }

    /// At least 0 and less than `end`, which is at least 1.
    fn below(&self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        let drawn = super::sync::lock(&self.0).next_range(0..end);
        usize::try_from(drawn).unwrap_or(0)
    }

    /// At least 0.0 and less than 1.0.
    pub(super) fn fraction(&self) -> f64 {
        super::sync::lock(&self.0).next_f64()
    }
}

/// A hasher that starts the same way each time.
#[derive(Clone, Debug)]
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    /// Seeded by the system.
    pub(super) fn random() -> Self {
        Self(RandomState::new().build_hasher().finish())
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
