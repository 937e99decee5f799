//! How a balancer is made.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use tower::discover::Discover;

use super::discovery::follow;
use super::member::PoolLimits;
use super::select::Dice;
use super::set::{Set, members_of_list};
use super::{Balance, Ejection, Endpoint, Failure, Protocol, Selection, SetError, Shared};
use crate::BoxError;

/// Makes a [`Balance`].
#[must_use = "a builder does nothing until it has endpoints"]
pub struct BalanceBuilder<P> {
    protocol: P,
    selection: Selection,
    failure: Failure,
    ejection: Ejection,
    pool: PoolLimits,
    seed: Option<u64>,
}

impl<P: Protocol> BalanceBuilder<P> {
    pub(super) fn new(protocol: P) -> Self {
        Self {
            protocol,
            selection: Selection::default(),
            failure: Failure::default(),
            ejection: Ejection::default(),
            pool: PoolLimits {
                requests: REQUESTS_PER_CONNECTION,
                connections: CONNECTIONS_PER_ENDPOINT,
            },
            seed: None,
        }
    }

    /// Which endpoint gets a request. Default [`Selection::RoundRobin`].
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// What happens to requests that fail. Default [`Failure::failfast`].
    pub fn failure(mut self, failure: Failure) -> Self {
        self.failure = failure;
        self
    }

    /// When an endpoint that fails is ejected. Default [`Ejection::default`].
    pub fn ejection(mut self, ejection: Ejection) -> Self {
        self.ejection = ejection;
        self
    }

    /// How many requests in flight a connection has before another one to the same endpoint is made.
    /// Default 128. Another one is also made when each connection is
    /// [as busy as it can be](super::Origin::saturated). With 0, the first request of an endpoint makes
    /// its first connection, and each further request another one.
    pub fn requests_per_connection(mut self, requests: usize) -> Self {
        self.pool.requests = requests;
        self
    }

    /// Most connections to one endpoint. When all are full, requests share them evenly. Default 4; 0
    /// means 1. When an endpoint is idle again, one connection stays.
    pub fn connections_per_endpoint(mut self, connections: usize) -> Self {
        self.pool.connections = connections;
        self
    }

    /// Makes random choices repeatable, for tests. Default: seeded by the system.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Distributes requests over a fixed list.
    ///
    /// # Errors
    ///
    /// - [`SetError::Empty`], [`SetError::Duplicate`]: there is no endpoint, or one is there twice.
    /// - [`SetError::Endpoint`]: the protocol cannot connect to one of them.
    pub fn list(self, endpoints: Vec<Endpoint>) -> Result<Balance<P>, SetError> {
        let members = members_of_list(&self.protocol, endpoints)?;
        let set = Arc::new(Set::new());
        set.replace(members);
        Ok(self.build(set, |_, _| None))
    }

    /// Distributes requests over what discovery finds. Must be called within a tokio runtime, which
    /// polls the discovery until the last clone of the balancer is dropped.
    pub fn discover<D>(self, discover: D) -> Balance<P>
    where
        D: Discover<Service = Endpoint> + Send + 'static,
        D::Key: Hash + Send,
        D::Error: Into<BoxError> + Send,
    {
        let set = Arc::new(Set::new());
        self.build(set, |protocol, set| {
            Some(tokio::spawn(follow(protocol, set, discover)).abort_handle())
        })
    }

    fn build(
        self,
        set: Arc<Set<P>>,
        discovery: impl FnOnce(Arc<P>, Arc<Set<P>>) -> Option<tokio::task::AbortHandle>,
    ) -> Balance<P> {
        let protocol = Arc::new(self.protocol);
        let discovery = discovery(Arc::clone(&protocol), Arc::clone(&set));
        let shared = Shared {
            protocol,
            set,
            select: self.selection.build(self.seed),
            pool: self.pool,
            tries: Arc::new(self.failure.build(self.seed)),
            ejection: self.ejection,
            dice: Dice::new(self.seed),
            counts: Arc::default(),
            discovery,
        };
        Balance {
            shared: Arc::new(shared),
        }
    }
}

impl<P> fmt::Debug for BalanceBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BalanceBuilder")
            .field("selection", &self.selection)
            .field("failure", &self.failure)
            .field("ejection", &self.ejection)
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Servers of other implementations allow 100 to 250 concurrent streams; above this, calls would
/// wait for the server's limit.
const REQUESTS_PER_CONNECTION: usize = 128;

const CONNECTIONS_PER_ENDPOINT: usize = 4;
