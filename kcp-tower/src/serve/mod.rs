//! An HTTP/1 and HTTP/2 server for any tower service.

use std::error::Error;
use std::fmt;
use std::future::{Pending, pending, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tower_service::Service;

use crate::{KcpConnectInfo, KcpIncoming, KcpIo, http2};

/// Serves HTTP/1 and HTTP/2 on the connections of `incoming`.
///
/// `make_service` is asked for a service for each connection. `tower::make::Shared` makes one of
/// a service that can be cloned, and axum's `Router::into_make_service` of a router. Requests
/// carry a [`KcpConnectInfo`] in their extensions.
///
/// Accepting ends when the shutdown signal of [`Serve::with_graceful_shutdown`] comes; and with an
/// error when the socket has failed, or when `make_service` fails to become ready. Then connections
/// drain as after a signal, and the future ends with the last of them. A service that cannot be made
/// once `make_service` was ready costs the connection that it was for, nothing else. Dropping the
/// future closes all connections at once, except those that were upgraded to another protocol.
pub fn serve<M>(incoming: impl Into<KcpIncoming>, make_service: M) -> Serve<M> {
    Serve {
        incoming: incoming.into(),
        make_service,
        server: Server::new(),
        signal: pending(),
        drain_timeout: None,
    }
}

/// A server in the making, see [`serve()`]. It runs when awaited.
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<M, F = Pending<()>> {
    incoming: KcpIncoming,
    make_service: M,
    server: Server,
    signal: F,
    drain_timeout: Option<Duration>,
}

impl<M, F> Serve<M, F> {
    /// Stops when `signal` completes: accepts no more, lets the requests at work finish.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<M, G>
    where
        G: Future<Output = ()>,
    {
        Serve {
            incoming: self.incoming,
            make_service: self.make_service,
            server: self.server,
            signal,
            drain_timeout: self.drain_timeout,
        }
    }

    /// How long requests may take to finish after the shutdown signal. Default: as long as they
    /// like. What is still open then is cut.
    pub fn drain_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.drain_timeout = timeout.into();
        self
    }

    /// Speaks HTTP/1 only. The default is to look at what the client sends first.
    pub fn http1_only(mut self) -> Self {
        self.server.version = Version::Http1;
        self
    }

    /// Speaks HTTP/2 only, as gRPC servers do.
    pub fn http2_only(mut self) -> Self {
        self.server.version = Version::Http2;
        self
    }

    /// Changes settings of HTTP/1 and HTTP/2.
    ///
    /// Set before: timers for both, and of HTTP/2 what [`http2`] says.
    pub fn configure(mut self, change: impl FnOnce(&mut auto::Builder<TokioExecutor>)) -> Self {
        change(&mut self.server.builder);
        self
    }
}

impl<M, F> fmt::Debug for Serve<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("incoming", &self.incoming)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

impl<M, F, S, B> IntoFuture for Serve<M, F>
where
    M: Service<KcpConnectInfo, Response = S> + Send + 'static,
    M::Future: Send,
    M::Error: Into<BoxError>,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
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

impl<M, F> Serve<M, F> {
    async fn run<S, B>(self) -> io::Result<()>
    where
        M: Service<KcpConnectInfo, Response = S>,
        M::Future: Send + 'static,
        M::Error: Into<BoxError>,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        F: Future<Output = ()>,
    {
        let Self {
            mut incoming,
            mut make_service,
            server,
            signal,
            drain_timeout,
        } = self;
        let mut signal = pin!(signal);
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();

        let ended = loop {
            let io = tokio::select! {
                () = &mut signal => break Ok(()),
                Some(_) = connections.join_next() => continue,
                io = poll_fn(|cx| incoming.poll_accept(cx)) => match io {
                    Some(Ok(io)) => io,
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
            };
            let ready = tokio::select! {
                () = &mut signal => break Ok(()),
                ready = poll_fn(|cx| make_service.poll_ready(cx)) => ready,
            };
            if let Err(error) = ready {
                break Err(io::Error::other(error));
            }
            let service = make_service.call(io.info());
            let service = async { service.await.map_err(Into::into) };
            let connection = server.clone().connection(io, service, graceful.watcher());
            connections.spawn(connection);
        };

        // Clients that come now find nobody, rather than a server that never answers.
        drop(incoming);
        drain(graceful, connections, drain_timeout).await;
        ended
    }
}

async fn drain(graceful: GracefulShutdown, mut open: JoinSet<()>, timeout: Option<Duration>) {
    let drained = graceful.shutdown();
    match timeout {
        None => drained.await,
        Some(timeout) => {
            if tokio::time::timeout(timeout, drained).await.is_err() {
                tracing::warn!(connections = open.len(), "cut after the drain time-out");
            }
        }
    }
    open.shutdown().await;
}

/// What a connection needs to be served.
#[derive(Clone)]
struct Server {
    builder: auto::Builder<TokioExecutor>,
    version: Version,
}

#[derive(Clone, Copy)]
enum Version {
    Any,
    Http1,
    Http2,
}

impl Server {
    fn new() -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .adaptive_window(false)
            .initial_stream_window_size(http2::STREAM_WINDOW)
            .initial_connection_window_size(http2::CONNECTION_WINDOW)
            .max_concurrent_streams(http2::MAX_CONCURRENT_STREAMS)
            .keep_alive_interval(http2::KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(http2::KEEP_ALIVE_TIMEOUT);
        Self {
            builder,
            version: Version::Any,
        }
    }

    async fn connection<S, B>(
        self,
        io: KcpIo,
        service: impl Future<Output = Result<S, BoxError>>,
        watcher: Watcher,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let info = io.info();
        let peer = info.peer_addr();
        let ended = match service.await {
            Ok(service) => {
                let service = TowerToHyperService::new(WithInfo { service, info });
                let Self { builder, version } = self;
                match version {
                    Version::Any => {
                        let connection = builder.serve_connection_with_upgrades(io, service);
                        watcher.watch(connection).await
                    }
                    // The form with upgrades ignores the choice of a version.
                    Version::Http1 => {
                        let builder = builder.http1_only();
                        watcher.watch(builder.serve_connection(io, service)).await
                    }
                    Version::Http2 => {
                        let builder = builder.http2_only();
                        watcher.watch(builder.serve_connection(io, service)).await
                    }
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "connection ended");
        }
    }
}

/// Puts the connection's info into each request.
#[derive(Clone)]
struct WithInfo<S> {
    service: S,
    info: KcpConnectInfo,
}

impl<S, B> Service<Request<B>> for WithInfo<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.info.clone());
        self.service.call(request)
    }
}

/// A running server, see [`serve()`].
///
/// # Cancel safety
///
/// Dropping it is a way to stop: it closes the listener and all connections at once, except those
/// that were upgraded to another protocol.
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

type BoxError = Box<dyn Error + Send + Sync>;
