//! Accepted connections as a stream.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::KcpListener;

use crate::KcpIo;

/// A stream of accepted connections.
///
/// What a single peer does never shows up here. If the socket itself fails, the error is yielded
/// once, then the stream ends. Dropping it stops accepting; accepted connections live on.
///
/// With feature `axum` it is an `axum::serve::Listener` as well.
#[derive(Debug)]
pub struct KcpIncoming {
    listener: KcpListener,
    first_byte_timeout: Option<Duration>,
    ended: bool,
}

impl KcpIncoming {
    /// Listens at an address, with the default configuration.
    ///
    /// # Errors
    ///
    /// What binding the socket gives.
    ///
    /// # Cancel safety
    ///
    /// Never waits: a future that is dropped was not polled, and has bound nothing.
    pub async fn bind(addr: SocketAddr, security: &Security) -> io::Result<Self> {
        KcpListener::bind(addr, security).await.map(Self::from)
    }

    /// Listens at an address.
    ///
    /// # Errors
    ///
    /// What binding the socket gives; [`io::ErrorKind::InvalidInput`] if the configuration does
    /// not go with the cipher.
    ///
    /// # Cancel safety
    ///
    /// Never waits: a future that is dropped was not polled, and has bound nothing.
    pub async fn bind_with(
        addr: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        KcpListener::bind_with(addr, security, config)
            .await
            .map(Self::from)
    }

    /// How long a peer may be connected without saying anything. Default 30 s; `None` is for ever.
    ///
    /// After that reads fail with [`io::ErrorKind::TimedOut`], which makes HTTP servers close the
    /// connection. Neither hyper nor axum nor tonic has a limit for this phase of its own. What the
    /// server writes meanwhile does not count: for a protocol in which the server speaks first and the
    /// client need not answer, set none.
    #[must_use]
    pub fn with_first_byte_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.first_byte_timeout = timeout.into();
        self
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// What the system gives.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The listener inside, for its statistics.
    #[must_use]
    pub fn get_ref(&self) -> &KcpListener {
        &self.listener
    }

    /// The listener inside.
    #[must_use]
    pub fn into_inner(self) -> KcpListener {
        self.listener
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

impl From<KcpListener> for KcpIncoming {
    fn from(listener: KcpListener) -> Self {
        Self {
            listener,
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
