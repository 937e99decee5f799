//! Sending and receiving messages.

use std::io;
use std::sync::MutexGuard;
use std::task::{Context, Poll};

use crate::config::Mode;
use crate::net::sync::lock;
use crate::session::State;

use super::{Connection, Inner, end_error, register};

impl Connection {
    pub(in crate::net) fn set_mode(&self, mode: Mode) {
        lock(&self.inner).session.set_mode(mode);
    }

    pub(in crate::net) fn max_message_len(&self) -> usize {
        lock(&self.inner).session.max_message_len()
    }

    pub(in crate::net) fn poll_send_message(
        &self,
        cx: &Context<'_>,
        message: &[u8],
    ) -> Poll<io::Result<()>> {
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        inner.check_writable()?;
        if !inner.session.write_message(now, message)? {
            register(&mut inner.writer, cx);
            // A probe for the window of the peer may be due.
            let due = inner.session.is_due(now);
            drop(inner);
            if due {
                self.transmit();
            }
            return Poll::Pending;
        }
        drop(inner);
        self.transmit();
        Poll::Ready(Ok(()))
    }

    pub(in crate::net) fn poll_recv_message(
        &self,
        cx: &Context<'_>,
        message: &mut Vec<u8>,
    ) -> Poll<io::Result<()>> {
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        if inner.session.is_readable() {
            message.clear();
            if !inner.session.read_message(now, message) {
                return Poll::Ready(Err(self.broken(inner)));
            }
            self.after_read(now, inner);
            return Poll::Ready(Ok(()));
        }
        if inner.session.is_finished() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the peer sends no more messages",
            )));
        }
        if let State::Closed(error) = inner.session.state() {
            return Poll::Ready(Err(end_error(error)));
        }
        register(&mut inner.reader, cx);
        Poll::Pending
    }

    /// Handles fragments that form no message, which have ended the session. The reader receives
    /// the error; all other waiting tasks are woken.
    fn broken(&self, mut inner: MutexGuard<'_, Inner>) -> io::Error {
        let error = match inner.session.state() {
            State::Closed(error) => error,
            _ => None,
        };
        let wakers = inner.take_wakers();
        drop(inner);
        wakers.wake();
        self.defer();
        end_error(error)
    }
}
