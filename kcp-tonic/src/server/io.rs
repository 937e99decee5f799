//! Accepted connections as tonic's server takes them.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use kcp_tower::{KcpConnectInfo, KcpIo, OpenRequests};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tonic::transport::server::Connected;

use super::abort::AbortSignal;

/// A connection that describes itself to tonic's server.
///
/// The [`KcpConnectInfo`] is in the extensions of each request: see
/// [`KcpRequestExt`](crate::KcpRequestExt).
#[derive(Debug)]
pub struct KcpServerIo {
    inner: KcpIo,
    abort: Option<AbortSignal>,
    requests: OpenRequests,
    /// Dropped with the connection.
    _closed: Option<oneshot::Sender<Infallible>>,
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

    pub(super) fn with_abort(mut self, abort: AbortSignal) -> Self {
        self.abort = Some(abort);
        self
    }

    /// Counts the requests of the connection; the receiver fails when the connection has closed.
    pub(super) fn counted(
        mut self,
        requests: &OpenRequests,
    ) -> (Self, oneshot::Receiver<Infallible>) {
        let (open, closed) = oneshot::channel();
        self.requests = requests.clone();
        self._closed = Some(open);
        (self, closed)
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut KcpIo> {
        Pin::new(&mut self.get_mut().inner)
    }

    /// Fails once the connection has to end, where the stream itself is pending.
    fn or_abort<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match (&mut self.abort, poll) {
            (Some(abort), Poll::Pending) => abort.poll(cx),
            (_, poll) => poll,
        }
    }
}

impl From<KcpIo> for KcpServerIo {
    fn from(inner: KcpIo) -> Self {
        Self {
            inner,
            abort: None,
            requests: OpenRequests::default(),
            _closed: None,
        }
    }
}

impl Connected for KcpServerIo {
    type ConnectInfo = KcpConnectInfo;

    fn connect_info(&self) -> KcpConnectInfo {
        self.inner.info().with_requests(&self.requests)
    }
}

impl AsyncRead for KcpServerIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = AsyncRead::poll_read(self.as_mut().io(), cx, buf);
        self.or_abort(cx, read)
    }
}

impl AsyncWrite for KcpServerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = AsyncWrite::poll_write(self.as_mut().io(), cx, buf);
        self.or_abort(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = AsyncWrite::poll_flush(self.as_mut().io(), cx);
        self.or_abort(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = AsyncWrite::poll_shutdown(self.as_mut().io(), cx);
        self.or_abort(cx, shut)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = AsyncWrite::poll_write_vectored(self.as_mut().io(), cx, bufs);
        self.or_abort(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        AsyncWrite::is_write_vectored(&self.inner)
    }
}
