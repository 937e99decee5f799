//! An HTTP/1 and HTTP/2 server for any tower service.

mod accept;
mod connection;
mod handshake;
mod http1_only;
mod with_info;

use std::fmt;
use std::future::{Pending, pending};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tower_service::Service;

use self::connection::{Server, Version};
use self::handshake::Handshake;
use crate::{BoxError, ConnectionLimits, KcpConnectInfo, KcpIncoming, KcpIo};

/// Serves HTTP/1 and HTTP/2 on the connections of `incoming`.
///
/// `make_service` makes a service for each connection. `tower::make::Shared` does so from a service
/// that can be cloned, and axum's `Router::into_make_service` from a router. Requests carry a
/// [`KcpConnectInfo`] in their extensions. Upgrades work, WebSockets over HTTP/1 and HTTP/2 among
/// them; `hyper_util::server::conn::auto::upgrade::downcast` finds a `TokioIo<KcpIo>`.
///
/// The server accepts until the signal of [`Serve::with_graceful_shutdown`] comes. It also ends, with
/// an error, when the socket has failed or `make_service` does not become ready. In each case the
/// connections drain as after a signal, and the future completes with the last of them. A service that
/// cannot be made ends the one connection that it was for. Dropping the future closes all connections
/// at once, except those that were upgraded to another protocol.
pub fn serve<M>(incoming: impl Into<KcpIncoming>, make_service: M) -> Serve<M> {
    let incoming = incoming.into();
    Serve {
        server: Server::new(incoming.http2_windows()),
        incoming,
        make_service,
        handshake: Handshake::none(),
        limits: ConnectionLimits::default(),
        signal: pending(),
        drain_timeout: Some(DRAIN_TIMEOUT),
    }
}

/// A server that is being configured, see [`serve()`]. It runs when awaited.
///
/// `I` is the stream that HTTP runs on, see [`Serve::with_handshake`].
#[must_use = "a server does nothing unless awaited"]
pub struct Serve<M, F = Pending<()>, I = KcpIo> {
    incoming: KcpIncoming,
    make_service: M,
    server: Server,
    handshake: Handshake<I>,
    limits: ConnectionLimits,
    signal: F,
    drain_timeout: Option<Duration>,
}

impl<M, F, I> Serve<M, F, I> {
    /// Stops when `signal` completes: the server refuses new connections at once, and requests that
    /// have begun and connections that were upgraded may finish within [`Serve::drain_timeout`].
    ///
    /// When the server returns, its port is free, unless another server has a clone of its
    /// [`KcpIncoming`]: then that one goes on accepting, and no client is refused. A new server in the
    /// same program can so take over on every platform. Each request of HTTP/2 is then handled by one of
    /// both, but for those that the client began after GOAWAY, which it can send again (RFC 9113,
    /// section 6.8). A request of HTTP/1 is lost if it is on its way while its idle connection closes, as
    /// over TCP.
    pub fn with_graceful_shutdown<G>(self, signal: G) -> Serve<M, G, I>
    where
        G: Future<Output = ()>,
    {
        Serve {
            incoming: self.incoming,
            make_service: self.make_service,
            server: self.server,
            handshake: self.handshake,
            limits: self.limits,
            signal,
            drain_timeout: self.drain_timeout,
        }
    }

    /// How long requests and upgraded connections may take to finish after the shutdown signal;
    /// connections that are still open then are reset with
    /// [`ResetCode::GOING_AWAY`](kcp_transport::error::ResetCode::GOING_AWAY). Default 30 s; `None` is
    /// no limit.
    pub fn drain_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.drain_timeout = timeout.into();
        self
    }

    /// How many connections there may be, and how long. Default: no limits.
    pub fn connection_limits(mut self, limits: ConnectionLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Does a handshake on each connection before HTTP, such as that of TLS.
    ///
    /// A connection whose handshake fails or takes too long is closed, and others do not wait for it.
    /// Graceful shutdown and [`KcpConnectInfo`] work as without a handshake. For TLS with HTTP/2, let
    /// the TLS configuration offer the ALPN protocol `h2`.
    ///
    /// ```no_run
    /// # async fn run(
    /// #     router: axum::Router,
    /// #     config: std::sync::Arc<tokio_rustls::rustls::ServerConfig>,
    /// # ) -> std::io::Result<()> {
    /// use kcp_tower::{KcpIncoming, Security, serve};
    /// use tokio_rustls::TlsAcceptor;
    ///
    /// let acceptor = TlsAcceptor::from(config);
    /// let incoming = KcpIncoming::bind("[::]:443", &Security::Plaintext).await?;
    /// serve(incoming, router.into_make_service())
    ///     .with_handshake(move |io| acceptor.accept(io))
    ///     .await
    /// # }
    /// ```
    pub fn with_handshake<H, R, J>(self, handshake: H) -> Serve<M, F, J>
    where
        H: Fn(KcpIo) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<J>> + Send + 'static,
    {
        Serve {
            incoming: self.incoming,
            make_service: self.make_service,
            server: self.server,
            handshake: Handshake::new(handshake),
            limits: self.limits,
            signal: self.signal,
            drain_timeout: self.drain_timeout,
        }
    }

    /// Puts a value into the extensions of each request, made once for each connection after its
    /// handshake: the client's certificate, for one.
    pub fn with_handshake_info<T>(mut self, info: impl Fn(&I) -> T + Send + Sync + 'static) -> Self
    where
        T: Clone + Send + Sync + 'static,
        I: 'static,
    {
        self.handshake = self.handshake.with_info(info);
        self
    }

    /// How long the handshake of [`Serve::with_handshake`] may take. Default 10 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake.timeout = timeout;
        self
    }

    /// HTTP/1 only. By default the first bytes of the client decide.
    pub fn http1_only(mut self) -> Self {
        self.server.version = Version::Http1;
        self
    }

    /// HTTP/2 only, as gRPC servers do.
    pub fn http2_only(mut self) -> Self {
        self.server.version = Version::Http2;
        self
    }

    /// Changes settings of HTTP/1 and HTTP/2.
    ///
    /// Set before are timers for both versions, extended CONNECT for WebSockets over HTTP/2, and what
    /// [`http2`](crate::http2) describes.
    ///
    /// Among them are the limits of a request's headers, beyond which the answer is 431. For bodies, axum
    /// has `DefaultBodyLimit` and http-body-util `Limited`; axum's answer is 413, and its default limit
    /// 2 MiB.
    ///
    /// ```no_run
    /// # async fn run(router: axum::Router) -> std::io::Result<()> {
    /// # #[cfg(feature = "axum")] {
    /// use axum::extract::DefaultBodyLimit;
    /// use kcp_tower::{KcpIncoming, Security, serve};
    ///
    /// let incoming = KcpIncoming::bind("0.0.0.0:4000", &Security::Plaintext).await?;
    /// let router = router.layer(DefaultBodyLimit::max(64 << 10));
    /// serve(incoming, router.into_make_service())
    ///     .configure(|http| {
    ///         // Defaults: 100 headers in about 400 KiB, and 16 KiB.
    ///         http.http1().max_headers(50).max_buf_size(16 << 10);
    ///         http.http2().max_header_list_size(8 << 10);
    ///     })
    ///     .await?;
    /// # }
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut auto::Builder<TokioExecutor>)) -> Self {
        change(&mut self.server.builder);
        self
    }
}

impl<M, F, I> fmt::Debug for Serve<M, F, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("incoming", &self.incoming)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

impl<M, F, I, S, B> IntoFuture for Serve<M, F, I>
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
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = io::Result<()>;
    type IntoFuture = Serving;

    fn into_future(self) -> Serving {
        Serving {
            run: Box::pin(self.run()),
        }
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

/// As long as Kubernetes gives a container to end after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
