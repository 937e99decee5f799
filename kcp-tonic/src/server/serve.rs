//! Serving tonic's router, with an end within bounds.

use std::fmt;
use std::future::{Pending, pending};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};
use kcp_tower::{BoxError, KcpListener};
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::Router;
use tower_layer::Layer;
use tower_service::Service;

use super::abort::AbortHandle;
use super::{KcpIncoming, KcpServerIo};

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
        signal: pending(),
        drain_timeout: Some(DRAIN_TIMEOUT),
    }
}

/// A server that is being configured, see [`serve()`]. It runs when awaited.
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<L, F = Pending<()>> {
    incoming: KcpIncoming,
    router: Router<L>,
    signal: F,
    drain_timeout: Option<Duration>,
}

impl<L, F> Serve<L, F> {
    /// Stops when `signal` completes: the server refuses new connections at once, sends GOAWAY on
    /// those it has, and calls that have begun may finish within [`Serve::drain_timeout`].
    ///
    /// When the server returns, its port is free.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<L, G>
    where
        G: Future<Output = ()>,
    {
        Serve {
            incoming: self.incoming,
            router: self.router,
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
    L: Layer<Routes, Service = S> + Send + 'static,
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
        Serving {
            run: Box::pin(self.run()),
        }
    }
}

impl<L, F> Serve<L, F> {
    async fn run<S, B>(self) -> io::Result<()>
    where
        L: Layer<Routes, Service = S>,
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError> + Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        F: Future<Output = ()>,
    {
        let handle = Arc::new(AbortHandle::new());
        let listening = Arc::new(Mutex::new(Listening {
            incoming: Some(self.incoming),
            failed: None,
            stopped: false,
        }));
        let connections = Connections {
            listening: Arc::clone(&listening),
            handle: Arc::clone(&handle),
        };
        let (stopping, stopped) = oneshot::channel();
        let stop = Arc::clone(&listening);
        let signal = async move {
            self.signal.await;
            lock(&stop).stop_accepting();
            // The receiver lives as long as the server runs.
            let _ = stopping.send(());
        };
        let serving = self
            .router
            .serve_with_incoming_shutdown(connections, signal);
        let mut serving = pin!(serving);
        let late = async {
            if stopped.await.is_err() {
                // The server ends without a signal.
                pending::<()>().await;
            }
            tokio::time::sleep(self.drain_timeout.unwrap_or(Duration::MAX)).await;
        };
        let mut late = pin!(late);
        let (ended, late) = tokio::select! {
            ended = &mut serving => (ended, Some(late)),
            () = &mut late => {
                tracing::warn!("connections closed after the drain time-out");
                handle.abort();
                (serving.await, None)
            }
        };
        let incoming = lock(&listening).incoming.take();
        if let Some(incoming) = incoming {
            close(incoming.get_ref(), late).await;
        }
        ended.map_err(io::Error::other)?;
        let failed = lock(&listening).failed.take();
        failed.map_or(Ok(()), Err)
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

/// The listener of a server, which tonic and the end of the server share.
struct Listening {
    /// Taken when no connection is accepted any more.
    incoming: Option<KcpIncoming>,
    /// tonic only logs errors of its stream of connections.
    failed: Option<io::Error>,
    stopped: bool,
}

impl Listening {
    fn stop_accepting(&mut self) {
        self.stopped = true;
        if let Some(incoming) = &self.incoming {
            incoming.get_ref().stop_accepting();
        }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<KcpServerIo>> {
        let Some(incoming) = self.incoming.as_mut().filter(|_| !self.stopped) else {
            return Poll::Ready(None);
        };
        Pin::new(incoming).poll_next(cx).map(|item| match item? {
            Ok(io) => Some(io),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        })
    }
}

fn lock(listening: &Mutex<Listening>) -> MutexGuard<'_, Listening> {
    listening.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections of a server, which can all be ended.
struct Connections {
    listening: Arc<Mutex<Listening>>,
    handle: Arc<AbortHandle>,
}

impl Stream for Connections {
    type Item = io::Result<KcpServerIo>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = lock(&self.listening).poll_accept(cx);
        accepted.map(|io| Some(Ok(io?.with_abort(self.handle.signal()))))
    }
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
