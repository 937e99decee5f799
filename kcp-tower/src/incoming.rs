//! Accepted connections as a stream.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use kcp_transport::ToAddrs;
use kcp_transport::{Config, KcpListener, ListenerBuilder, ListenerConfig, Security, Transport};

use crate::KcpIo;
use crate::http2::Windows;

/// A stream of accepted connections.
///
/// No single peer can make it fail. If the socket itself fails, the error is yielded once, then the
/// stream ends. Dropping it stops accepting; accepted connections go on.
///
/// Clones share the socket: each connection is accepted by one of them, and the last one that is
/// dropped stops accepting. A clone lets another server take over within the same program, see
/// [`Serve::with_graceful_shutdown`](crate::Serve::with_graceful_shutdown).
///
/// With feature `axum` it is an `axum::serve::Listener` as well.
#[derive(Clone, Debug)]
pub struct KcpIncoming {
    listener: Arc<KcpListener>,
    windows: Windows,
    first_byte_timeout: Option<Duration>,
    ended: bool,
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
        KcpIncomingBuilder::new(security)
    }

    /// The HTTP/2 windows that fit the configuration of the connections.
    #[must_use]
    pub fn http2_windows(&self) -> Windows {
        self.windows
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// The system's, if the socket is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The listener inside, for its statistics.
    #[must_use]
    pub fn get_ref(&self) -> &KcpListener {
        &self.listener
    }

    /// The listener inside; `None` if there are clones. Of clones that are taken apart at the same time,
    /// one returns the listener.
    #[must_use]
    pub fn into_inner(self) -> Option<KcpListener> {
        Arc::into_inner(self.listener)
    }

    /// Waits for a connection; `None` after an error.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<KcpIo>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let accepted = ready!(self.listener.poll_accept(cx));
        self.ended = accepted.is_err();
        Poll::Ready(Some(accepted.map(|(stream, _)| {
            let io = KcpIo::new(stream);
            match self.first_byte_timeout {
                Some(timeout) => io.with_first_byte_timeout(timeout),
                None => io,
            }
        })))
    }
}

/// Makes a [`KcpIncoming`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use kcp_tower::{KcpIncoming, Security};
///
/// # async fn run() -> std::io::Result<()> {
/// let incoming = KcpIncoming::builder(&Security::Plaintext)
///     .first_byte_timeout(Duration::from_secs(5))
///     .bind("[::]:4000")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it binds"]
pub struct KcpIncomingBuilder {
    listener: ListenerBuilder,
    security: Security,
    config: Config,
    first_byte_timeout: Option<Duration>,
}

impl KcpIncomingBuilder {
    fn new(security: &Security) -> Self {
        Self {
            listener: KcpListener::builder(security),
            security: security.clone(),
            config: Config::default(),
            first_byte_timeout: Some(FIRST_BYTE_TIMEOUT),
        }
    }

    /// The configuration of the connections. Default [`Config::default`].
    pub fn config(mut self, config: &Config) -> Self {
        self.listener = self.listener.config(config);
        self.config = config.clone();
        self
    }

    /// The options of the listener itself. Default [`ListenerConfig::default`].
    pub fn listener_config(mut self, config: &ListenerConfig) -> Self {
        self.listener = self.listener.listener_config(config);
        self
    }

    /// Calls `hook` with each socket that is made, before it is bound. See
    /// [`ListenerBuilder::prepare_socket`].
    pub fn prepare_socket(
        mut self,
        hook: impl Fn(&UdpSocket) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.listener = self.listener.prepare_socket(hook);
        self
    }

    /// How long a peer may be connected before its first byte arrives. Default 30 s; `None` is no
    /// limit.
    ///
    /// After that, reads fail with [`io::ErrorKind::TimedOut`], which makes HTTP servers close the
    /// connection. hyper, axum and tonic have no limit of their own for this phase, and such a peer
    /// holds up a graceful shutdown. What the server writes meanwhile does not count: for a protocol in
    /// which the server sends first and the client need not answer, set no limit.
    pub fn first_byte_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.first_byte_timeout = timeout.into();
        self
    }

    /// Listens on the first of the addresses that can be bound. Port 0 picks a free port.
    ///
    /// # Errors
    ///
    /// As [`KcpListener::bind`]; and [`io::ErrorKind::InvalidInput`] if the mtu has no room for data
    /// under the cipher.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future binds nothing. It waits for the resolution of names only.
    pub async fn bind(self, addr: impl ToAddrs) -> io::Result<KcpIncoming> {
        let (listener, rest) = self.split()?;
        Ok(rest.incoming(listener.bind(addr).await?))
    }

    /// Listens on a socket that the caller has bound. It is made non-blocking.
    ///
    /// # Errors
    ///
    /// As [`KcpIncomingBuilder::bind`]. Must be called within a tokio runtime.
    pub fn on_socket(self, socket: UdpSocket) -> io::Result<KcpIncoming> {
        let (listener, rest) = self.split()?;
        Ok(rest.incoming(listener.on_socket(socket)?))
    }

    /// Listens on any transport of datagrams.
    ///
    /// # Errors
    ///
    /// As [`KcpIncomingBuilder::bind`]. Must be called within a tokio runtime.
    pub fn on_transport(self, transport: Arc<dyn Transport>) -> io::Result<KcpIncoming> {
        let (listener, rest) = self.split()?;
        Ok(rest.incoming(listener.on_transport(transport)?))
    }

    fn split(self) -> io::Result<(ListenerBuilder, Options)> {
        let options = Options {
            windows: Windows::for_config(&self.config, &self.security)?,
            first_byte_timeout: self.first_byte_timeout,
        };
        Ok((self.listener, options))
    }
}

/// What [`KcpIncoming`] has besides its listener.
struct Options {
    windows: Windows,
    first_byte_timeout: Option<Duration>,
}

impl Options {
    fn incoming(self, listener: KcpListener) -> KcpIncoming {
        KcpIncoming {
            listener: Arc::new(listener),
            windows: self.windows,
            first_byte_timeout: self.first_byte_timeout,
            ended: false,
        }
    }
}

impl From<KcpListener> for KcpIncoming {
    fn from(listener: KcpListener) -> Self {
        Self {
            listener: Arc::new(listener),
            windows: Windows::default(),
            first_byte_timeout: Some(FIRST_BYTE_TIMEOUT),
            ended: false,
        }
    }
}

impl Stream for KcpIncoming {
    type Item = io::Result<KcpIo>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_accept(cx)
    }
}

/// As long as hyper waits for the headers of an HTTP/1 request.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
