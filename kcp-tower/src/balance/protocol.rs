//! What the balancer needs to know about requests, responses and connections.

use std::future::ready;
use std::time::Duration;

use tower_service::Service;

use super::{Attempts, BalanceError, Endpoint, RequestGuard, Verdict};
use crate::BoxError;

/// The kind of requests that a [`Balance`](super::Balance) distributes.
///
/// Everything that depends on the protocol above the connections is here, so that the balancer works
/// for gRPC and for any other service.
pub trait Protocol: Send + Sync + 'static {
    /// What is sent.
    type Request: Send + 'static;
    /// What is answered.
    type Response: Send + 'static;
    /// Why there is no answer.
    type Error: Send + 'static;
    /// The connections to one endpoint.
    type Origin: Origin<Self>;
    /// A request that can be sent several times: [`Cloned`](super::Cloned) if it can be cloned.
    type Attempts: Attempts<Self::Request>;

    /// Prepares connections to an endpoint without making one.
    ///
    /// # Errors
    ///
    /// No connection can be made to this endpoint in any state of the network.
    fn origin(&self, endpoint: &Endpoint) -> Result<Self::Origin, BoxError>;

    /// The error of a request that was sent to no endpoint.
    fn refuse(&self, reason: BalanceError) -> Self::Error;

    /// The key of a request, for selections by key: equal keys lead to the same endpoint.
    fn key(&self, request: &Self::Request) -> Option<Key>;

    /// Prepares a request so that it can be sent, possibly several times.
    fn attempts(&self, request: Self::Request) -> Self::Attempts;

    /// The verdict on an answer.
    fn judge(&self, answer: &Result<Self::Response, Self::Error>) -> Verdict;

    /// The number of an answer in the protocol, for statistics: the code of a status. At most 31;
    /// larger ones are not counted. Default: none.
    fn code(&self, answer: &Result<Self::Response, Self::Error>) -> Option<u8> {
        let _ = answer;
        None
    }

    /// Whether a request may be processed twice. Default false: it is sent again only if it certainly
    /// was not processed.
    fn idempotent(&self, request: &Self::Request) -> bool {
        let _ = request;
        false
    }

    /// How long a request may take, all tries together, if that is limited. Default: no limit.
    fn time_limit(&self, request: &Self::Request) -> Option<Duration> {
        let _ = request;
        None
    }

    /// Reads the response to an idempotent request to its end, so that a failure in the middle of it
    /// leads to another try. Default: returns the response at once.
    fn complete(
        &self,
        response: Self::Response,
    ) -> impl Future<Output = Result<Self::Response, Self::Error>> + Send {
        ready(Ok(response))
    }

    /// Attaches the guard to a response that goes on after its head, such as a stream, so that it is
    /// dropped when the response has ended. The default drops it at once.
    fn track(&self, response: Self::Response, guard: RequestGuard) -> Self::Response {
        drop(guard);
        response
    }
}

/// The connections to one endpoint.
pub trait Origin<P: Protocol + ?Sized>: Send + Sync + 'static {
    /// A connection, which is made when the first request is sent. Clones share it.
    type Service: Service<P::Request, Response = P::Response, Error = P::Error, Future: Send>
        + Clone
        + Send
        + 'static;

    /// Another connection to the endpoint.
    fn connection(&self) -> Self::Service;

    /// The measured quality of the path to the endpoint, for
    /// [`Selection::LinkQuality`](super::Selection::LinkQuality). Default: `None`.
    fn link(&self) -> Option<Link> {
        None
    }

    /// Why no connection can be made at present. Such an endpoint gets no requests.
    /// Default: `None`.
    fn unreachable(&self) -> Option<String> {
        None
    }

    /// Whether each of the connections is as busy as one can be. A request then gets another one, if all
    /// have requests and more connections are allowed. Default: false.
    fn saturated(&self) -> bool {
        false
    }

    /// Why the endpoint should get no requests although it can be reached: what its health check
    /// reports. Such an endpoint gets none. Default: `None`.
    fn unhealthy(&self) -> Option<String> {
        None
    }
}

/// The path to an endpoint, as its connections measure it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// The share of data segments that were sent more than once, 0.0 to 1.0.
    pub loss: f64,
}

/// The hash of the part of a request by which an endpoint is selected.
///
/// It is the same on every machine and in every version, so that all clients select the same endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// The key for some bytes: a user's name, a document's number.
    ///
    /// ```
    /// use kcp_tower::balance::Key;
    ///
    /// assert_eq!(Key::of("user-7"), Key::of(b"user-7"));
    /// ```
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(hash(0, bytes.as_ref()))
    }

    /// A number that is different for each endpoint's address, and evenly distributed.
    pub(super) fn with(self, address: &str) -> u64 {
        hash(self.0, address.as_bytes())
    }
}

/// FNV-1a, and then the finalizer of SplitMix64, because FNV alone mixes the last bytes too little.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// An origin of any protocol, as selections see it.
pub(super) trait Measured: Send + Sync {
    fn link(&self) -> Option<Link>;
}
