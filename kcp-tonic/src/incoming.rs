//! Accepted connections as tonic's server takes them.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use kcp_tower::kcp_transport::config::Config;
use kcp_tower::kcp_transport::crypto::Security;
use kcp_tower::kcp_transport::net::KcpListener;
use kcp_tower::{KcpConnectInfo, KcpIo};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// Accepted connections, for `serve_with_incoming` and `serve_with_incoming_shutdown` of tonic's
/// server. The counterpart of tonic's `TcpIncoming`.
///
/// What a single peer does never shows up here. If the socket itself fails, the error is yielded
/// once, then the stream ends. tonic does no more about the error than to trace it: its server
/// returns `Ok` at the end of the stream, as after a shutdown signal. Who wants to know keeps an eye
/// on the items, by `TryStreamExt::inspect_err` for one.
///
/// Dropping it stops accepting, as tonic does before it waits for the calls at work; accepted
/// connections live on.
#[derive(Debug)]
pub struct KcpIncoming {
    inner: kcp_tower::KcpIncoming,
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
        let inner = kcp_tower::KcpIncoming::bind(addr, security).await?;
        Ok(inner.into())
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
        let inner = kcp_tower::KcpIncoming::bind_with(addr, security, config).await?;
        Ok(inner.into())
    }

    /// How long a peer may be connected without saying anything. Default 30 s; `None` is for ever.
    ///
    /// The settings that a server of HTTP/2 sends first do not count. Without a limit a peer that
    /// never speaks holds up tonic's graceful shutdown for as long as it lives.
    #[must_use]
    pub fn with_first_byte_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.inner.with_first_byte_timeout(timeout).into()
    }

    /// The address of the socket.
    ///
    /// # Errors
    ///
    /// What the system gives.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The listener inside, for its statistics.
    #[must_use]
    pub fn get_ref(&self) -> &KcpListener {
        self.inner.get_ref()
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

/// A connection that tells tonic's server about its peer.
///
/// The [`KcpConnectInfo`] is in the extensions of each request: see
/// [`KcpRequestExt`](crate::KcpRequestExt).
#[derive(Debug)]
pub struct KcpServerIo {
    inner: KcpIo,
}

impl KcpServerIo {
    /// The stream inside.
    #[must_use]
    pub fn get_ref(&self) -> &KcpIo {
        &self.inner
    }

    /// The stream inside.
    #[must_use]
    pub fn into_inner(self) -> KcpIo {
        self.inner
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut KcpIo> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl From<KcpIo> for KcpServerIo {
    fn from(inner: KcpIo) -> Self {
        Self { inner }
    }
}

impl Connected for KcpServerIo {
    type ConnectInfo = KcpConnectInfo;

    fn connect_info(&self) -> KcpConnectInfo {
        self.inner.info()
    }
}

impl AsyncRead for KcpServerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        AsyncRead::poll_read(self.io(), cx, buf)
    }
}

impl AsyncWrite for KcpServerIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
