//! Serving tonic's router, with an end within bounds.

mod each;
mod together;

use std::fmt;
use std::future::{Pending, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use kcp_tower::{BoxError, ConnectionLimits, KcpListener};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::Router;
use tower_layer::Layer;
use tower_service::Service;

use super::KcpIncoming;

/// Serves the services of a router on the connections of `incoming`.
///
/// It runs until the signal of [`Serve::with_graceful_shutdown`] comes, or until the socket fails:
/// then it ends with the socket's error. Dropping the future closes all connections at once.
///
/// ```no_run
/// # async fn run(routes: tonic::service::Routes) -> std::io::Result<()> {
/// use kcp_tonic::{KcpIncoming, Security, serve, server_builder};
///
/// let incoming = KcpIncoming::bind("[::]:4000", &Security::Plaintext).await?;
/// serve(incoming, server_builder().add_routes(routes))
///     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
///     .await
/// # }
/// ```
pub fn serve<L>(incoming: impl Into<KcpIncoming>, router: Router<L>) -> Serve<L> {
    Serve {
        incoming: incoming.into(),
        router,
        limits: ConnectionLimits::default(),
        signal: pending(),
        drain_timeout: Some(DRAIN_TIMEOUT),
    }
}

/// A server that is being configured, see [`serve()`]. It runs when awaited.
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<L, F = Pending<()>> {
    incoming: KcpIncoming,
    router: Router<L>,
    limits: ConnectionLimits,
    signal: F,
    drain_timeout: Option<Duration>,
}

impl<L, F> Serve<L, F> {
    /// Stops when `signal` completes: the server refuses new connections at once, sends GOAWAY on
    /// those it has, and calls that have begun may finish within [`Serve::drain_timeout`].
    ///
    /// When the server returns, its port is free, unless another server has a clone of its
    /// [`KcpIncoming`]: then that one goes on accepting, and no client is refused. A new server in the
    /// same program can so take over on every platform: each call is handled by one of both, but for
    /// those that a client began after GOAWAY, which it can send again.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<L, G>
    where
        G: Future<Output = ()>,
    {
        Serve {
            incoming: self.incoming,
            router: self.router,
            limits: self.limits,
            signal,
            drain_timeout: self.drain_timeout,
        }
    }

    /// How long calls may take to finish after the shutdown signal; connections that are still open
    /// then are reset with [`ResetCode::GOING_AWAY`](kcp_tower::kcp_transport::error::ResetCode::GOING_AWAY).
    /// Default 30 s; `None` is no limit.
    pub fn drain_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.drain_timeout = timeout.into();
        self
    }

    /// How many connections there may be, and how long. Default: no limits.
    ///
    /// An idle time needs a router of [`server_builder`](crate::server_builder), whose layer counts the
    /// calls. With any limit, the layers of the router are applied for each connection anew: a layer
    /// whose services share something through `clone` alone, such as tower's `ConcurrencyLimitLayer`,
    /// then acts for one connection.
    ///
    /// These differ from the `max_connection_age` and `max_connection_age_grace` of tonic's server, which
    /// sends no GOAWAY if both are set.
    pub fn connection_limits(mut self, limits: ConnectionLimits) -> Self {
        self.limits = limits;
        self
    }
}

impl<L, F> fmt::Debug for Serve<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("incoming", &self.incoming)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

impl<L, F, S, B> IntoFuture for Serve<L, F>
where
    L: Layer<Routes, Service = S> + Clone + Send + 'static,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError> + Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    F: Future<Output = ()> + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Serving;

    fn into_future(self) -> Serving {
        let run: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> =
            if self.limits == ConnectionLimits::default() {
                Box::pin(self.run_together())
            } else {
                Box::pin(self.run_each())
            };
        Serving { run }
    }
}

/// Waits for what is on its way until it is too late, and closes the listener.
async fn close(listener: &KcpListener, late: Option<impl Future<Output = ()>>) {
    if let Some(late) = late {
        tokio::select! {
            () = listener.shutdown(Duration::MAX) => return,
            () = late => {}
        }
    }
    listener.shutdown(Duration::ZERO).await;
}

/// A running server, see [`serve()`].
///
/// # Cancel safety
///
/// Dropping it is a way to stop: it closes the listener and all connections at once.
#[must_use = "futures do nothing unless polled"]
pub struct Serving {
    run: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
}

impl Future for Serving {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.run.as_mut().poll(cx)
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").finish_non_exhaustive()
    }
}

/// As long as Kubernetes gives a container to end after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
