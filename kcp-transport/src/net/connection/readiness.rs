//! Waiting until a stream can be read or written, for tasks that share it.

use std::task::{Context, Poll, Waker};

use tokio::io::{Interest, Ready};

use crate::net::sync::{Awaited, Ticket, Waiter, Waiters, Waiting, budgeted, lock};
use crate::session::State;

use super::{Connection, Inner};

/// Tasks that wait for a stream to become ready, apart from those that read and write it.
#[derive(Debug, Default)]
pub(super) struct ReadinessWaiters {
    read: Waiters,
    write: Waiters,
    both: Waiters,
}

/// What one of them waits for.
#[derive(Debug)]
struct Readiness<'a> {
    connection: &'a Connection,
    interest: Interest,
}

impl Connection {
    /// Waits until the stream is ready for something of `interest`; returns for what of it.
    pub(in crate::net) async fn ready(&self, interest: Interest) -> Ready {
        let readiness = Readiness {
            connection: self,
            interest,
        };
        Waiting::new(&readiness).await
    }

    /// As [`Self::ready`], for the task of `cx`.
    pub(in crate::net) fn poll_ready(
        &self,
        interest: Interest,
        cx: &mut Context<'_>,
    ) -> Poll<Ready> {
        let readiness = Readiness {
            connection: self,
            interest,
        };
        budgeted(cx, |cx| readiness.poll_for(&mut Waiter::Task, cx))
    }
}

impl Awaited for Readiness<'_> {
    type Output = Ready;

    fn poll_for(&self, waiter: &mut Waiter, cx: &Context<'_>) -> Poll<Ready> {
        let mut inner = lock(&self.connection.inner);
        let ready = inner.ready(self.interest);
        if !ready.is_empty() {
            return Poll::Ready(ready);
        }
        let waiters = inner.readiness.get_or_insert_default();
        waiters.of(self.interest).register(waiter, cx);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let mut inner = lock(&self.connection.inner);
        let waiters = inner.readiness.as_mut();
        let waker = waiters.and_then(|it| it.of(self.interest).leave(ticket));
        drop(inner);
        drop(waker);
    }
}

impl ReadinessWaiters {
    fn of(&mut self, interest: Interest) -> &mut Waiters {
        match (interest.is_readable(), interest.is_writable()) {
            (true, true) => &mut self.both,
            (_, true) => &mut self.write,
            _ => &mut self.read,
        }
    }

    fn take(&mut self, readable: bool, writable: bool) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if readable {
            wakers.append(&mut self.read.take());
        }
        if writable {
            wakers.append(&mut self.write.take());
        }
        if readable || writable {
            wakers.append(&mut self.both.take());
        }
        wakers
    }
}

impl Inner {
    /// The wakers of tasks that wait for what the stream is ready for.
    pub(super) fn take_readiness(&mut self) -> Vec<Waker> {
        if self.readiness.is_none() {
            return Vec::new();
        }
        let ready = self.ready(Interest::READABLE | Interest::WRITABLE);
        let waiters = self.readiness.as_mut();
        waiters.map_or_else(Vec::new, |it| {
            it.take(ready.is_readable(), ready.is_writable())
        })
    }

    /// What of `interest` the stream is ready for.
    fn ready(&self, interest: Interest) -> Ready {
        let session = &self.session;
        let closed = matches!(session.state(), State::Closed(_));
        let finished = closed || session.is_finished();
        let shut = self.check_writable().is_err();
        let mut ready = Ready::EMPTY;
        if interest.is_readable() && (finished || session.is_readable()) {
            ready |= Ready::READABLE;
        }
        if interest.is_readable() && finished {
            ready |= Ready::READ_CLOSED;
        }
        if interest.is_writable() && (shut || session.is_writable()) {
            ready |= Ready::WRITABLE;
        }
        if interest.is_writable() && shut {
            ready |= Ready::WRITE_CLOSED;
        }
        ready
    }
}
