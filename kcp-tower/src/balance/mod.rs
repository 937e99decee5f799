//! Requests distributed over a changing set of endpoints.
//!
//! A [`Balance`] is a tower service over all endpoints of a set. The set is a fixed list, or follows
//! any [`Discover`] of tower. For each request a [`Selection`] picks one of the endpoints that take
//! requests. What depends on the protocol, such as how a connection is made and when a response is
//! complete, is a [`Protocol`]; kcp-tonic has the one of gRPC.
//!
//! # The set
//!
//! - An endpoint that discovery removes gets no new requests. Its requests in flight go on, and its
//!   connections close with the last of them.
//! - An endpoint that discovery inserts again under the same key gets the new weight, zone and state,
//!   and keeps its connections; with another URI it is another endpoint.
//! - The same address under two keys is two endpoints.
//! - Inactive endpoints and those of weight 0 get no new requests.
//! - When discovery fails, the set stays as it was. It is polled again a second later.
//! - Requests wait for the first answer of discovery. After that a request that finds no endpoint
//!   fails at once with a [`BalanceError`].

mod builder;
mod discover;
mod endpoint;
mod error;
mod member;
mod protocol;
mod select;
mod set;
mod sync;
mod track;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::task::AbortHandle;
use tower_service::Service;

pub use self::builder::BalanceBuilder;
pub use self::endpoint::Endpoint;
pub use self::error::{BalanceError, SetError};
use self::member::PoolLimits;
pub use self::protocol::{Key, Link, Origin, Protocol};
pub use self::select::{Candidate, Select, Selection};
use self::set::Set;
pub use self::track::RequestGuard;
#[doc(no_inline)]
pub use tower::discover::{Change, Discover};

/// A service over a set of endpoints. Clones share the set and its connections.
///
/// It is always ready: requests wait in their futures, not in `poll_ready`, because where a request
/// goes depends on the request. Use [`tower::limit`] around it for a bound.
pub struct Balance<P: Protocol> {
    shared: Arc<Shared<P>>,
}

struct Shared<P: Protocol> {
    protocol: Arc<P>,
    set: Arc<Set<P>>,
    select: Arc<dyn Select>,
    pool: PoolLimits,
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
    async fn request(self: Arc<Self>, request: P::Request) -> Result<P::Response, P::Error> {
        self.set.answered().await;
        let key = self.protocol.key(&request);
        let selected = self.set.select(&*self.select, key);
        let member = selected.map_err(|error| self.protocol.refuse(error))?;
        let (mut service, guard) = member.core.connection(self.pool);
        poll_fn(|cx| service.poll_ready(cx)).await?;
        let response = service.call(request).await?;
        Ok(self.protocol.track(response, guard))
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
        let shared = Arc::clone(&self.shared);
        ResponseFuture {
            inner: Box::pin(shared.request(request)),
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

/// A request of a [`Balance`] that waits for its response.
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
