//! One endpoint of a set with its connections.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::protocol::{Link, Measured, Origin, Protocol};
use super::select::Candidate;
use super::sync::lock;
use super::track::{RequestGuard, Track};
use super::{Endpoint, SetError};

/// An endpoint with its current description. Its connections outlive the description.
pub(super) struct Member<P: Protocol> {
    pub(super) endpoint: Endpoint,
    pub(super) core: Arc<Core<P>>,
}

/// The part of an endpoint that survives a change of its weight, zone or state.
pub(super) struct Core<P: Protocol> {
    pub(super) track: Arc<Track>,
    pub(super) address: String,
    pub(super) origin: P::Origin,
    connections: Mutex<Vec<Connection<ServiceOf<P>>>>,
}

pub(super) type ServiceOf<P> = <<P as Protocol>::Origin as Origin<P>>::Service;

struct Connection<S> {
    service: S,
    open: Arc<AtomicUsize>,
}

/// How many connections an endpoint may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// Requests on one connection before another one is made.
    pub(super) requests: usize,
    pub(super) connections: usize,
}

impl<P: Protocol> Member<P> {
    pub(super) fn new(protocol: &P, id: u64, endpoint: Endpoint) -> Result<Self, SetError> {
        let address = endpoint.address();
        let origin = protocol
            .origin(&endpoint)
            .map_err(|error| SetError::Endpoint {
                endpoint: address.clone(),
                error,
            })?;
        let core = Core {
            track: Track::new(id),
            address,
            origin,
            connections: Mutex::default(),
        };
        Ok(Self {
            endpoint,
            core: Arc::new(core),
        })
    }

    /// The same endpoint with another description; its address has not changed.
    pub(super) fn described(&self, endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            core: Arc::clone(&self.core),
        }
    }

    pub(super) fn candidate(&self) -> Candidate<'_> {
        let link: &dyn Measured = &*self.core;
        Candidate {
            endpoint: &self.endpoint,
            address: &self.core.address,
            track: &self.core.track,
            link,
        }
    }
}

impl<P: Protocol> Core<P> {
    /// A connection for one more request: the one with the fewest, or a new one if all are full or
    /// [saturated](Origin::saturated).
    pub(super) fn connection(self: &Arc<Self>, limits: PoolLimits) -> (ServiceOf<P>, RequestGuard) {
        let guard = self.track.start().keeping(Arc::clone(self) as Arc<_>);
        let mut connections = lock(&self.connections);
        let open = |it: &Connection<_>| it.open.load(Ordering::Relaxed);
        let least = connections.iter().map(open).min();
        let is_full = |least| least >= limits.requests || least > 0 && self.origin.saturated();
        if connections.len() < limits.connections.max(1) && least.is_none_or(is_full) {
            connections.push(Connection {
                service: self.origin.connection(),
                open: Arc::default(),
            });
        } else if connections.len() > 1 && connections.iter().map(open).sum::<usize>() == 0 {
            connections.truncate(1);
        }
        // There is at least one: the first request of an endpoint pushed it.
        let least = connections.iter().min_by_key(|it| open(it));
        match least {
            Some(it) => (it.service.clone(), guard.on_connection(&it.open)),
            None => (self.origin.connection(), guard),
        }
    }

    pub(super) fn connections(&self) -> usize {
        lock(&self.connections).len()
    }
}

impl<P: Protocol> Measured for Core<P> {
    fn link(&self) -> Option<Link> {
        self.origin.link()
    }
}
