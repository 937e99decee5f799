//! A KCP stream with the I/O traits of both tokio and hyper.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::ReadBufCursor;
use hyper_util::rt::TokioIo;
use kcp_transport::KcpStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::KcpConnectInfo;

/// A [`KcpStream`] for hyper, tonic and axum.
///
/// It implements the I/O traits of tokio and of hyper, both as plain forwards: it buffers nothing,
/// initialises no buffer, and passes vectored writes on to the stream. It needs no `TokioIo` around it.
#[derive(Debug)]
pub struct KcpIo {
    inner: TokioIo<KcpStream>,
    /// The end of the wait for the peer's first byte; `None` once it has arrived.
    ///
    /// A write does not end the wait: servers of HTTP/2 send their settings before the client's first
    /// byte.
    first_byte: Option<Pin<Box<Sleep>>>,
}

impl KcpIo {
    /// Wraps a stream.
    #[must_use]
    pub fn new(stream: KcpStream) -> Self {
        Self {
            inner: TokioIo::new(stream),
            first_byte: None,
        }
    }

    /// Makes reads fail with [`io::ErrorKind::TimedOut`] if nothing arrives in that time.
    pub(crate) fn with_first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.first_byte = Some(Box::pin(tokio::time::sleep(timeout)));
        self
    }

    /// The stream inside.
    #[must_use]
    pub fn get_ref(&self) -> &KcpStream {
        self.inner.inner()
    }

    /// The stream inside.
    #[must_use]
    pub fn into_inner(self) -> KcpStream {
        self.inner.into_inner()
    }

    /// A handle for addresses and live statistics that outlives the stream.
    #[must_use]
    pub fn info(&self) -> KcpConnectInfo {
        self.get_ref().info().into()
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut KcpStream> {
        Pin::new(self.get_mut().inner.inner_mut())
    }

    /// Ends the wait for the first byte, or fails if it took too long.
    fn on_read(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        if let Some(timeout) = &mut self.first_byte {
            if read.is_pending() {
                ready!(timeout.as_mut().poll(cx));
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "peer connected but sent nothing",
                )));
            }
            self.first_byte = None;
        }
        read
    }
}

impl From<KcpStream> for KcpIo {
    fn from(stream: KcpStream) -> Self {
        Self::new(stream)
    }
}

impl AsyncRead for KcpIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.as_mut().stream().poll_read(cx, buf);
        self.on_read(cx, read)
    }
}

impl AsyncWrite for KcpIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.get_ref().is_write_vectored()
    }
}

impl hyper::rt::Read for KcpIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = hyper::rt::Read::poll_read(Pin::new(&mut self.inner), cx, buf);
        self.on_read(cx, read)
    }
}

impl hyper::rt::Write for KcpIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(self, cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(self, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write_vectored(self, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        AsyncWrite::is_write_vectored(self)
    }
}

/// Puts a [`KcpConnectInfo`] into the extensions of each response.
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
impl hyper_util::client::legacy::connect::Connection for KcpIo {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        hyper_util::client::legacy::connect::Connected::new().extra(self.info())
    }
}
