//! Accepted connections as a stream for tonic's server.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use kcp_tower::kcp_transport::ToAddrs;
use kcp_tower::{Config, KcpListener, ListenerConfig, Security, Transport};
use tonic::transport::Server;
use tower_layer::{Identity, Stack};

use super::{KcpServerIo, RemoteAddrLayer, server_builder_for};

/// Accepted connections, for [`serve`](crate::serve()), and for `serve_with_incoming` and
/// `serve_with_incoming_shutdown` of tonic's server. The counterpart of tonic's `TcpIncoming`.
///
/// No single peer can make it fail. If the socket itself fails, the error is yielded once, then the
/// stream ends. tonic logs the error and returns `Ok`, as after a shutdown signal;
/// [`serve`](crate::serve()) returns it.
///
/// Dropping it stops accepting; accepted connections go on.
///
/// Clones share the socket: each connection is accepted by one of them, and the last one that is
/// dropped stops accepting. A clone lets another server take over within the same program, see
/// [`Serve::with_graceful_shutdown`](crate::Serve::with_graceful_shutdown).
#[derive(Clone, Debug)]
pub struct KcpIncoming {
    inner: kcp_tower::KcpIncoming,
}

impl KcpIncoming {
    /// Listens on `addr`, anything that tokio resolves, with the default [`Config`]. Port 0 picks a
    /// free port.
    ///
    /// # Errors
    ///
    /// As [`KcpIncomingBuilder::bind`].
    ///
    /// # Cancel safety
    ///
    /// As [`KcpIncomingBuilder::bind`].
    pub async fn bind(addr: impl ToAddrs, security: &Security) -> io::Result<Self> {
        Self::builder(security).bind(addr).await
    }

    /// Everything else: configuration, time-outs, a socket or a transport of one's own.
    pub fn builder(security: &Security) -> KcpIncomingBuilder {
        KcpIncomingBuilder {
            inner: kcp_tower::KcpIncoming::builder(security),
        }
    }

    /// As [`server_builder`](crate::server_builder), with HTTP/2 windows that fit the configuration
    /// of these connections.
    #[must_use]
    pub fn server_builder(&self) -> Server<Stack<RemoteAddrLayer, Identity>> {
        server_builder_for(self.inner.http2_windows())
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// The system's, if the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The listener inside, for its statistics.
    #[must_use]
    pub fn get_ref(&self) -> &KcpListener {
        self.inner.get_ref()
    }

    /// The listener inside; `None` if there are clones. Of clones that are taken apart at the same time,
    /// one returns the listener.
    #[must_use]
    pub fn into_inner(self) -> Option<KcpListener> {
        self.inner.into_inner()
    }
}

impl From<kcp_tower::KcpIncoming> for KcpIncoming {
    fn from(inner: kcp_tower::KcpIncoming) -> Self {
        Self { inner }
    }
}

impl From<KcpListener> for KcpIncoming {
    fn from(listener: KcpListener) -> Self {
        kcp_tower::KcpIncoming::from(listener).into()
    }
}

impl Stream for KcpIncoming {
    type Item = io::Result<KcpServerIo>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = self.get_mut().inner.poll_accept(cx);
        accepted.map(|item| item.map(|io| io.map(KcpServerIo::from)))
    }
}

/// Makes a [`KcpIncoming`].
///
/// ```no_run
/// use kcp_tonic::{Config, FecRatio, KcpIncoming, Security};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config::builder().fec(FecRatio::new(10, 3)?).build()?;
/// let incoming = KcpIncoming::builder(&Security::Plaintext)
///     .config(&config)
///     .bind("[::]:4000")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it binds"]
pub struct KcpIncomingBuilder {
    inner: kcp_tower::KcpIncomingBuilder,
}

impl KcpIncomingBuilder {
    /// The configuration of the connections. Default [`Config::default`].
    pub fn config(mut self, config: &Config) -> Self {
        self.inner = self.inner.config(config);
        self
    }

    /// The options of the listener itself. Default [`ListenerConfig::default`].
    pub fn listener_config(mut self, config: &ListenerConfig) -> Self {
        self.inner = self.inner.listener_config(config);
        self
    }

    /// Calls `hook` with each socket that is made, before it is bound. See
    /// [`ListenerBuilder::prepare_socket`](kcp_tower::ListenerBuilder::prepare_socket).
    pub fn prepare_socket(
        mut self,
        hook: impl Fn(&UdpSocket) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.inner = self.inner.prepare_socket(hook);
        self
    }

    /// How long a peer may be connected before its first byte arrives. Default 30 s; `None` is no
    /// limit.
    ///
    /// The settings that a server of HTTP/2 sends first do not count. Without a limit, a peer that
    /// never sends anything holds up a graceful shutdown.
    pub fn first_byte_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.inner = self.inner.first_byte_timeout(timeout);
        self
    }

    /// Listens on the first of the addresses that can be bound. Port 0 picks a free port.
    ///
    /// # Errors
    ///
    /// Errors of resolving the address and of binding the socket; [`io::ErrorKind::InvalidInput`] if
    /// the mtu has no room for data under the cipher.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future binds nothing. It waits for the resolution of names only.
    pub async fn bind(self, addr: impl ToAddrs) -> io::Result<KcpIncoming> {
        self.inner.bind(addr).await.map(KcpIncoming::from)
    }

    /// Listens on a socket that the caller has bound. It is made non-blocking.
    ///
    /// # Errors
    ///
    /// As [`KcpIncomingBuilder::bind`]. Must be called within a tokio runtime.
    pub fn on_socket(self, socket: UdpSocket) -> io::Result<KcpIncoming> {
        self.inner.on_socket(socket).map(KcpIncoming::from)
    }

    /// Listens on any transport of datagrams.
    ///
    /// # Errors
    ///
    /// As [`KcpIncomingBuilder::bind`]. Must be called within a tokio runtime.
    pub fn on_transport(self, transport: Arc<dyn Transport>) -> io::Result<KcpIncoming> {
        self.inner.on_transport(transport).map(KcpIncoming::from)
    }
}
