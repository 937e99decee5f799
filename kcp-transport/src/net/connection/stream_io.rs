//! Reading and writing the byte stream.

use std::io;
use std::task::{Context, Poll};

use crate::net::sync::lock;
use crate::session::State;

use super::{Connection, end_error, register};

impl Connection {
    /// Ready once the peer has answered.
    pub(in crate::net) fn poll_connected(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        match inner.session.state() {
            State::Connecting => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Closed(error) => Poll::Ready(Err(end_error(error))),
            _ => {
                inner.connecting = false;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Passes available data to `sink`, at most `limit` bytes.
    pub(in crate::net) fn poll_read(
        &self,
        cx: &Context<'_>,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        if limit == 0 {
            return Poll::Ready(Ok(()));
        }
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        if inner.session.read_with(now, limit, sink) == 0 {
            if inner.session.is_finished() {
                return Poll::Ready(Ok(()));
            }
            if let State::Closed(error) = inner.session.state() {
                return Poll::Ready(Err(end_error(error)));
            }
            register(&mut inner.reader, cx);
            return Poll::Pending;
        }
        // The peer may need to learn that the receive window has room.
        let (due, over) = (inner.session.is_due(now), inner.session.is_over());
        drop(inner);
        if over {
            self.release();
        } else if due {
            self.transmit();
        }
        Poll::Ready(Ok(()))
    }

    /// Queues bytes. Sends at once when several whole segments are queued; otherwise a flush or the
    /// next round of the driver sends.
    pub(in crate::net) fn poll_write<'a>(
        &self,
        cx: &Context<'_>,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        inner.check_writable()?;
        let mut written = 0;
        let mut offered = 0;
        for slice in slices {
            offered += slice.len();
            written += inner.session.write(now, slice);
            if written < offered {
                break;
            }
        }
        if written == 0 && offered > 0 {
            register(&mut inner.writer, cx);
            return Poll::Pending;
        }
        let inline = inner.session.queued() >= INLINE_SEGMENTS;
        drop(inner);
        if inline {
            self.transmit();
        } else if written > 0 {
            self.defer();
        }
        Poll::Ready(Ok(written))
    }

    /// Sends queued data as far as the window and the socket allow; never waits.
    pub(in crate::net) fn poll_flush(&self) -> Poll<io::Result<()>> {
        let inner = lock(&self.inner);
        if let State::Closed(error) = inner.session.state() {
            return Poll::Ready(Err(end_error(error)));
        }
        let unsent = inner.deferred;
        drop(inner);
        if unsent {
            self.transmit();
        }
        Poll::Ready(Ok(()))
    }

    /// Refuses further writes; ready once all written data is acknowledged.
    pub(in crate::net) fn poll_shutdown(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        inner.session.shutdown(now);
        match inner.session.state() {
            State::Drained => return Poll::Ready(Ok(())),
            State::Closed(error) => return Poll::Ready(Err(end_error(error))),
            _ => {}
        }
        register(&mut inner.writer, cx);
        // The driver must learn of the linger deadline even if nothing is left to send.
        drop(inner);
        self.transmit();
        Poll::Pending
    }
}

/// Queued segments from which an unflushed write makes a system call of its own.
const INLINE_SEGMENTS: usize = 16;
