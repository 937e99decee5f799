//! Calls over a set of servers: gRPC as a [`Protocol`] of kcp-tower's balancer.

mod body;
mod builder;
mod connection;
pub(super) mod deadline;
#[cfg(feature = "health")]
mod health;
pub(super) mod judge;
mod methods;
mod origin;
pub(super) mod replay;
mod whole;

use std::time::Duration;

use http::{HeaderName, Request, Response};
use kcp_tower::BoxError;
use kcp_tower::balance::{
    Balance, BalanceBuilder, BalanceError, Ejection, Endpoint, Failure, Key, Protocol,
    RequestGuard, Selection, Verdict,
};
use tonic::Status;
use tonic::body::Body;

use self::body::TrackedBody;
pub(super) use self::methods::Methods;
pub(super) use self::origin::GrpcOrigin;
use self::replay::{Calls, TryHeaders};
use super::destination::Destination;
use super::recipe::Recipe;

/// The options of a builder for sets.
#[derive(Default)]
pub(super) struct SetOptions {
    pub(super) selection: Selection,
    pub(super) failure: Failure,
    pub(super) ejection: Ejection,
    pub(super) key: Option<HeaderName>,
    pub(super) idempotent: Methods,
    pub(super) try_headers: Option<TryHeaders>,
    pub(super) retry_buffer: Option<usize>,
    pub(super) calls_per_connection: Option<usize>,
    pub(super) connections_per_endpoint: Option<usize>,
    #[cfg(feature = "health")]
    pub(super) health_of: Option<String>,
}

impl SetOptions {
    pub(super) fn builder(self, recipe: Recipe) -> BalanceBuilder<Grpc> {
        let repeats = self.failure.sends_again();
        let buffer = self.retry_buffer.unwrap_or(RETRY_BUFFER);
        let grpc = Grpc {
            recipe,
            key: self.key,
            idempotent: self.idempotent,
            try_headers: self.try_headers,
            retry_buffer: repeats.then_some(buffer),
            #[cfg(feature = "health")]
            health_of: self.health_of,
        };
        let mut builder = Balance::builder(grpc)
            .selection(self.selection)
            .failure(self.failure)
            .ejection(self.ejection);
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
    /// The metadata whose value is the key of a call.
    key: Option<HeaderName>,
    idempotent: Methods,
    try_headers: Option<TryHeaders>,
    /// Bytes of a call that are kept for another try; `None` if there is only one.
    retry_buffer: Option<usize>,
    /// The service whose health is watched.
    #[cfg(feature = "health")]
    health_of: Option<String>,
}

/// Most calls are far smaller, and a thousand calls in flight hold at most 64 MiB.
pub(super) const RETRY_BUFFER: usize = 64 << 10;

impl Protocol for Grpc {
    type Request = Request<Body>;
    type Response = Response<Body>;
    type Error = Status;
    type Origin = GrpcOrigin;
    type Attempts = Calls;

    fn origin(&self, endpoint: &Endpoint) -> Result<GrpcOrigin, BoxError> {
        let to = Destination::parse(endpoint.uri().clone())?;
        let (endpoint, connector) = self.recipe.build(to)?;
        let origin = GrpcOrigin::new(endpoint, connector);
        #[cfg(feature = "health")]
        if let Some(service) = &self.health_of {
            return Ok(origin.with_health_of(service));
        }
        Ok(origin)
    }

    fn refuse(&self, reason: BalanceError) -> Status {
        match reason {
            BalanceError::NoKey => Status::invalid_argument(reason.to_string()),
            BalanceError::Deadline { .. } | BalanceError::TryTimeout => {
                Status::deadline_exceeded(reason.to_string())
            }
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

    fn attempts(&self, request: Request<Body>) -> Calls {
        let calls = match self.retry_buffer {
            Some(limit) => Calls::replayed(request, limit),
            None => Calls::once(request),
        };
        calls.with_headers(self.try_headers.clone())
    }

    fn judge(&self, answer: &Result<Response<Body>, Status>) -> Verdict {
        judge::judge(answer)
    }

    fn code(&self, answer: &Result<Response<Body>, Status>) -> Option<u8> {
        let code = judge::code(answer)?;
        u8::try_from(i32::from(code)).ok()
    }

    fn idempotent(&self, request: &Request<Body>) -> bool {
        self.idempotent.contains(request.uri().path())
    }

    /// The shorter one of the call's own timeout and that of the channel.
    fn time_limit(&self, request: &Request<Body>) -> Option<Duration> {
        let own = deadline::get(request.headers());
        own.into_iter().chain(self.recipe.timeout()).min()
    }

    fn complete(
        &self,
        response: Response<Body>,
    ) -> impl Future<Output = Result<Response<Body>, Status>> + Send {
        whole::read(response)
    }

    fn track(&self, response: Response<Body>, guard: RequestGuard) -> Response<Body> {
        response.map(|body| Body::new(TrackedBody::new(body, guard)))
    }
}
