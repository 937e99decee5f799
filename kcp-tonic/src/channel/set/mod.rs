//! Calls over a set of servers: gRPC as a [`Protocol`] of kcp-tower's balancer.

mod body;
mod origin;

use http::{HeaderName, Request, Response};
use kcp_tower::BoxError;
use kcp_tower::balance::{
    Balance, BalanceBuilder, BalanceError, Endpoint, Key, Protocol, RequestGuard, Selection,
};
use tonic::Status;
use tonic::body::Body;

use self::body::TrackedBody;
pub(super) use self::origin::GrpcOrigin;
use super::builder::Recipe;
use super::destination::Destination;

/// What a builder knows about sets.
#[derive(Default)]
pub(super) struct SetOptions {
    pub(super) selection: Selection,
    pub(super) key: Option<HeaderName>,
    pub(super) calls_per_connection: Option<usize>,
    pub(super) connections_per_endpoint: Option<usize>,
}

impl SetOptions {
    pub(super) fn builder(self, recipe: Recipe) -> BalanceBuilder<Grpc> {
        let grpc = Grpc {
            recipe,
            key: self.key,
        };
        let mut builder = Balance::builder(grpc).selection(self.selection);
        if let Some(calls) = self.calls_per_connection {
            builder = builder.requests_per_connection(calls);
        }
        if let Some(connections) = self.connections_per_endpoint {
            builder = builder.connections_per_endpoint(connections);
        }
        builder
    }
}

/// gRPC over KCP.
pub(super) struct Grpc {
    recipe: Recipe,
    /// The metadata that has the key of a call.
    key: Option<HeaderName>,
}

impl Protocol for Grpc {
    type Request = Request<Body>;
    type Response = Response<Body>;
    type Error = Status;
    type Origin = GrpcOrigin;

    fn origin(&self, endpoint: &Endpoint) -> Result<GrpcOrigin, BoxError> {
        let to = Destination::parse(endpoint.uri().clone())?;
        let (endpoint, connector) = self.recipe.build(to)?;
        Ok(GrpcOrigin::new(endpoint, connector))
    }

    fn refuse(&self, reason: BalanceError) -> Status {
        match reason {
            BalanceError::NoKey => Status::invalid_argument(reason.to_string()),
            _ => Status::unavailable(reason.to_string()),
        }
    }

    fn key(&self, request: &Request<Body>) -> Option<Key> {
        if let Some(key) = request.extensions().get::<Key>() {
            return Some(*key);
        }
        let value = request.headers().get(self.key.as_ref()?)?;
        Some(Key::of(value.as_bytes()))
    }

    fn track(&self, response: Response<Body>, guard: RequestGuard) -> Response<Body> {
        response.map(|body| Body::new(TrackedBody::new(body, guard)))
    }
}
