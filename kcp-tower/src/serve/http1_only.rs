//! Keeps HTTP/2 off a server of HTTP/1.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

/// A stream whose reads fail when the peer begins with the preface of HTTP/2.
pub(super) struct Http1Only<I> {
    inner: I,
    /// How much of [`PREFACE`] has been read; `None` once something else was.
    matched: Option<usize>,
}

impl<I> Http1Only<I> {
    pub(super) fn new(inner: I) -> Self {
        Self {
            inner,
            matched: Some(0),
        }
    }

    fn inner(self: Pin<&mut Self>) -> Pin<&mut I>
    where
        I: Unpin,
    {
        Pin::new(&mut self.get_mut().inner)
    }

    fn check(&mut self, read: &[u8], matched: usize) -> io::Result<()> {
        let expected = &PREFACE[matched..];
        let len = read.len().min(expected.len());
        if read.is_empty() || read[..len] != expected[..len] {
            self.matched = None;
        } else if len == expected.len() {
            let refused = "HTTP/2 on a server of HTTP/1 only";
            return Err(io::Error::new(io::ErrorKind::InvalidData, refused));
        } else {
            self.matched = Some(matched + len);
        }
        Ok(())
    }
}

impl<I: Read + Unpin> Read for Http1Only<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(matched) = self.matched else {
            return self.inner().poll_read(cx, buf);
        };
        let mut start = [0; PREFACE.len()];
        let room = start.len().min(buf.remaining());
        let mut read = ReadBuf::new(&mut start[..room]);
        ready!(self.as_mut().inner().poll_read(cx, read.unfilled()))?;
        self.check(read.filled(), matched)?;
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for Http1Only<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// The start of HTTP/2's preface. No method of HTTP/1 is called so: RFC 9113, section 3.4.
const PREFACE: &[u8; 4] = b"PRI ";
