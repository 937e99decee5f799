//! Requests distributed over a changing set of endpoints.
//!
//! A [`Balance`] is a tower service over all endpoints of a set. The set is a fixed list, or follows
//! any [`Discover`] of tower, such as a [`Discovery`] from a file or DNS. For each request a [`Selection`] picks one of the endpoints that take
//! requests, and a [`Failure`] decides what happens to requests that fail. What depends on the
//! protocol, such as how a connection is made and when a response is complete, is a [`Protocol`];
//! kcp-tonic has the one of gRPC.
//!
//! # The set
//!
//! - An endpoint that discovery removes gets no new requests. Its requests in flight go on, and its
//!   connections close with the last of them.
//! - An endpoint that discovery inserts again under the same key gets the new weight, zone and state,
//!   and keeps its connections; with another URI it is another endpoint.
//! - The same address under two keys is two endpoints.
//! - Inactive endpoints and those of weight 0 get no new requests.
//! - Endpoints of a lower [priority](Endpoint::priority) get requests only when no other endpoint is
//!   usable.
//! - When discovery fails, the set stays as it is, and discovery is polled again a second later.
//! - Requests wait for the first report of discovery, a change or an error. After that a request that
//!   finds no usable endpoint fails at once with a [`BalanceError`]. A discovery that finds nothing
//!   reports that by removing a key that it has not inserted.
//! - An endpoint that fails is ejected for a time, see [`Ejection`].
//! - An unreachable host is reconnected to in the background, see [`Reconnect`]. Until that succeeds it
//!   gets no requests.
//! - An endpoint whose health check reports that it does not serve gets no requests, see
//!   [`Origin::unhealthy`].

mod builder;
mod counts;
mod description;
mod discovery;
mod endpoint;
mod error;
mod failure;
mod fan_out;
mod member;
mod protocol;
mod reconnect;
mod select;
mod set;
mod stats;
mod sync;
mod track;

#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::AbortHandle;
use tokio::time::Instant;
use tower_service::Service;

pub use self::builder::BalanceBuilder;
use self::counts::Counts;
pub use self::description::EndpointError;
#[cfg(feature = "dns")]
#[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
pub use self::discovery::DnsResolver;
#[cfg(feature = "mdns")]
#[cfg_attr(docsrs, doc(cfg(feature = "mdns")))]
pub use self::discovery::MdnsRegistration;
pub use self::discovery::{Changes, Discovery};
pub use self::endpoint::Endpoint;
pub use self::error::{BalanceError, SetError};
pub use self::failure::{Attempts, Cloned, Ejection, Failure, Verdict};
use self::failure::{Run, Standing, Tries};
pub use self::fan_out::{Receipt, broadcast, fork, inform};
use self::member::{Member, PoolLimits};
pub use self::protocol::{Key, Link, Origin, Protocol};
pub use self::reconnect::Reconnect;
use self::select::Dice;
pub use self::select::{Candidate, Select, Selection};
use self::set::{Set, why_not};
pub use self::stats::{BalanceStats, EndpointStats};
use self::sync::now;
pub use self::track::RequestGuard;
#[doc(no_inline)]
pub use tower::discover::{Change, Discover};

/// A service over a set of endpoints. Clones share the set and its connections.
///
/// It is always ready: requests wait in their futures, not in `poll_ready`, because where a request
/// goes depends on the request. Use [`tower::limit`](https://docs.rs/tower/latest/tower/limit/) around it for a bound.
pub struct Balance<P: Protocol> {
    shared: Arc<Shared<P>>,
}

struct Shared<P: Protocol> {
    protocol: Arc<P>,
    set: Arc<Set<P>>,
    select: Arc<dyn Select>,
    pool: PoolLimits,
    tries: Arc<Tries>,
    ejection: Ejection,
    dice: Dice,
    counts: Arc<Counts>,
    /// The task that follows discovery.
    discovery: Option<AbortHandle>,
}

impl<P: Protocol> Drop for Shared<P> {
    fn drop(&mut self) {
        if let Some(task) = &self.discovery {
            task.abort();
        }
    }
}

impl<P: Protocol> Balance<P> {
    /// Makes a balancer for a protocol.
    pub fn builder(protocol: P) -> BalanceBuilder<P> {
        BalanceBuilder::new(protocol)
    }

    /// The endpoints of the set.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let members = self.shared.set.members();
        members.iter().map(|it| it.endpoint.clone()).collect()
    }

    /// Calls `see` with the connections of each endpoint, removed ones with requests in flight
    /// included.
    pub fn for_each_origin(&self, mut see: impl FnMut(&P::Origin)) {
        let members = self.shared.set.members();
        members.iter().for_each(|it| see(&it.core.origin));
        let draining = self.shared.set.draining();
        draining.iter().for_each(|it| see(&it.origin));
    }
}

impl<P: Protocol> Shared<P> {
    fn select(&self, key: Option<Key>, tried: &[u64]) -> Result<Arc<Member<P>>, BalanceError> {
        let able = |members: &[Arc<Member<P>>]| self.able(members, tried);
        self.set.select(&*self.select, key, able)
    }

    /// Whether a request could be sent to an endpoint that it has not tried.
    fn has_choice(&self, tried: &[u64]) -> bool {
        !self.able(&self.set.members(), tried).is_empty()
    }

    /// The indices of the usable members that have not been tried.
    fn able(&self, members: &[Arc<Member<P>>], tried: &[u64]) -> Vec<usize> {
        let usable = |&at: &usize| {
            let member = &members[at];
            why_not(member).is_none() && !tried.contains(&member.core.track.id)
        };
        let usable: Vec<_> = (0..members.len()).filter(usable).collect();
        let standing = |at: usize| members[at].core.track.standing();
        let mut ejected: Vec<(Instant, usize)> = Vec::new();
        let mut returning = Vec::new();
        let mut able = Vec::new();
        for at in usable {
            match standing(at) {
                Standing::Normal => able.push(at),
                Standing::Returning(share) if self.dice.fraction() < share => able.push(at),
                Standing::Returning(_) => returning.push(at),
                Standing::Ejected(until) => ejected.push((until, at)),
            }
        }
        // If too many are ejected, those whose ejection ends first are used again.
        ejected.sort_unstable();
        let most = self.ejection.most_of(members.len());
        let surplus = ejected.len().saturating_sub(most);
        able.extend(ejected[..surplus].iter().map(|(_, at)| at));
        // An endpoint with a reduced share is better than none.
        let mut able = if able.is_empty() { returning } else { able };
        let priority = |at: &usize| members[*at].endpoint.get_priority();
        let first = able.iter().map(priority).min();
        able.retain(|at| Some(priority(at)) == first);
        able
    }

    /// Whether an endpoint may get one more try.
    fn takes_requests(&self, member: &Member<P>) -> bool {
        let ejected = matches!(member.core.track.standing(), Standing::Ejected(_));
        let alone = self.ejection.most_of(self.set.members().len()) == 0;
        why_not(member).is_none() && (!ejected || alone)
    }

    /// Records the verdict on a request without an answer.
    fn judge(&self, id: u64, verdict: Verdict) {
        let members = self.set.members();
        let member = members.iter().find(|it| it.core.track.id == id);
        if let Some(member) = member {
            member.core.track.judge(&self.ejection, verdict, now());
        }
    }
}

impl<P: Protocol> Service<P::Request> for Balance<P> {
    type Response = P::Response;
    type Error = P::Error;
    type Future = ResponseFuture<P>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), P::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: P::Request) -> ResponseFuture<P> {
        let run = Run::new(Arc::clone(&self.shared), request);
        ResponseFuture {
            inner: Box::pin(run.answer()),
        }
    }
}

impl<P: Protocol> Clone for Balance<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<P: Protocol> fmt::Debug for Balance<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}

/// The future of a request to a [`Balance`].
///
/// # Cancel safety
///
/// Dropping it cancels the request on its connection.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<P: Protocol> {
    inner: Pin<Box<dyn Future<Output = Answer<P>> + Send>>,
}

type Answer<P> = Result<<P as Protocol>::Response, <P as Protocol>::Error>;

impl<P: Protocol> Future for ResponseFuture<P> {
    type Output = Result<P::Response, P::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.inner.as_mut().poll(cx)
    }
}

impl<P: Protocol> fmt::Debug for ResponseFuture<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
