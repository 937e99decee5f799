//! Reading and writing the byte stream.

use std::io;
use std::sync::MutexGuard;
use std::task::{Context, Poll, Waker};

use crate::net::sync::lock;
use crate::session::State;
use crate::time::Time;

use super::{Connection, Inner, end_error, register};

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

    /// Passes available data to `sink`, at most `limit` bytes. The last task to poll is woken.
    pub(in crate::net) fn poll_read(
        &self,
        cx: &Context<'_>,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let blocked = |inner: &mut Inner| register(&mut inner.reader, cx);
        self.read(limit, sink, blocked).map_ok(|_| ())
    }

    /// As [`Self::poll_read`], without waiting; returns the number of bytes.
    pub(in crate::net) fn try_read(
        &self,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        now_or_never(self.read(limit, sink, |_| {}))
    }

    /// Reads, or calls `blocked` under the lock if there is nothing to read.
    fn read(
        &self,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
        blocked: impl FnOnce(&mut Inner),
    ) -> Poll<io::Result<usize>> {
        if limit == 0 {
            return Poll::Ready(Ok(0));
        }
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        let read = inner.session.read_with(now, limit, sink);
        if read == 0 {
            return inner.end_of_data(blocked).map_ok(|()| 0);
        }
        self.after_read(now, inner);
        Poll::Ready(Ok(read))
    }

    /// What a read makes due, and when buffers that it has emptied are freed.
    pub(super) fn after_read(&self, now: Time, mut inner: MutexGuard<'_, Inner>) {
        // The peer may need to learn that the receive window has room.
        let (due, over) = (inner.session.is_due(now), inner.session.is_over());
        let emptied = !due && !inner.session.is_readable();
        let deadline = emptied.then(|| inner.rearm()).flatten();
        drop(inner);
        if let Some(at) = deadline {
            self.endpoint.mailbox.arm(at, self.key);
        }
        if over {
            self.release();
        } else if due {
            self.transmit();
        }
    }

    /// Copies available data to `sink`, at most `limit` bytes, and leaves it there. Returns the
    /// position in the stream of the first. The last task to poll is woken.
    pub(in crate::net) fn poll_peek(
        &self,
        cx: &Context<'_>,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> Poll<io::Result<u64>> {
        let mut inner = lock(&self.inner);
        let position = inner.session.bytes_read();
        if inner.session.peek_with(limit, sink) == 0 {
            let blocked = |inner: &mut Inner| register(&mut inner.reader, cx);
            return inner.end_of_data(blocked).map_ok(|()| position);
        }
        Poll::Ready(Ok(position))
    }

    /// As [`Self::poll_peek`], without waiting; returns the number of bytes.
    pub(in crate::net) fn try_peek(
        &self,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let mut inner = lock(&self.inner);
        let peeked = inner.session.peek_with(limit, sink);
        if peeked == 0 && limit > 0 {
            return now_or_never(inner.end_of_data(|_| {}).map_ok(|()| 0));
        }
        Ok(peeked)
    }

    /// The position of the reader in the stream.
    pub(in crate::net) fn position(&self) -> u64 {
        lock(&self.inner).session.bytes_read()
    }

    /// Discards data up to that position in the stream, as far as it is there.
    pub(in crate::net) fn skip_to(&self, position: u64) {
        let ahead = position.saturating_sub(self.position());
        let limit = usize::try_from(ahead).unwrap_or(usize::MAX);
        // Whether there is data or an end, the next read learns of it.
        let _ = self.read(limit, &mut |_| {}, |_| {});
    }

    /// Queues bytes. Sends at once when several whole segments are queued; otherwise a flush or the
    /// next round of the driver sends. The last task to poll is woken.
    pub(in crate::net) fn poll_write<'a>(
        &self,
        cx: &Context<'_>,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Poll<io::Result<usize>> {
        self.write(slices, |inner| register(&mut inner.writer, cx))
    }

    /// As [`Self::poll_write`], without waiting.
    pub(in crate::net) fn try_write<'a>(
        &self,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> io::Result<usize> {
        now_or_never(self.write(slices, |_| {}))
    }

    /// Writes, or calls `blocked` under the lock if there is no room.
    fn write<'a>(
        &self,
        slices: impl Iterator<Item = &'a [u8]>,
        blocked: impl FnOnce(&mut Inner),
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
            blocked(&mut inner);
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
        let _span = self.span().enter();
        let mut inner = lock(&self.inner);
        inner.session.shutdown(now);
        let waiting = inner.take_readiness();
        waiting.into_iter().for_each(Waker::wake);
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

impl Inner {
    /// What a reader gets that finds no data: the end, an error, or nothing yet.
    fn end_of_data(&mut self, blocked: impl FnOnce(&mut Self)) -> Poll<io::Result<()>> {
        if self.session.is_finished() {
            return Poll::Ready(Ok(()));
        }
        if let State::Closed(error) = self.session.state() {
            return Poll::Ready(Err(end_error(error)));
        }
        blocked(self);
        Poll::Pending
    }
}

fn now_or_never<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Queued segments from which an unflushed write makes a system call of its own.
const INLINE_SEGMENTS: usize = 16;
