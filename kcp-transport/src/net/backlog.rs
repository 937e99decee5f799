//! Sessions that wait to be accepted.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::endpoint::lock;
use super::shared::Connection;
use super::waiters::{Awaited, Place, Ticket, Waiters};

/// A bounded queue of sessions that peers have opened.
#[derive(Debug)]
pub(super) struct Backlog {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Arc<Connection>>,
    waiters: Waiters,
    accepting: bool,
    /// Drivers that may still offer something.
    sources: usize,
    /// Why nothing comes any more.
    ended: Option<io::ErrorKind>,
}

/// Whether a new session can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    Full,
    /// There is no memory for it.
    Spent,
    Closed,
}

impl Backlog {
    /// For sessions from that many drivers.
    pub(super) fn new(capacity: usize, accepting: bool, sources: usize) -> Self {
        let inner = Inner {
            accepting,
            sources,
            ..Inner::default()
        };
        Self {
            capacity,
            inner: Mutex::new(inner),
        }
    }

    /// Whether there is room for one more session to accept.
    pub(super) fn admits(&self) -> Admission {
        let inner = lock(&self.inner);
        if !inner.accepting {
            Admission::Closed
        } else if inner.queue.len() >= self.capacity {
            Admission::Full
        } else {
            Admission::Open
        }
    }

    /// Offers a new session to whoever accepts.
    pub(super) fn offer(&self, connection: Arc<Connection>) {
        let wakers = {
            let mut inner = lock(&self.inner);
            inner.queue.push_back(connection);
            inner.waiters.take()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes no more sessions and returns those nobody accepted. Nobody can wait any more: the last
    /// tasks that did are forgotten, since sessions keep the backlog for longer.
    pub(super) fn close(&self) -> VecDeque<Arc<Connection>> {
        let (queue, waiters) = {
            let mut inner = lock(&self.inner);
            inner.accepting = false;
            (
                std::mem::take(&mut inner.queue),
                std::mem::take(&mut inner.waiters),
            )
        };
        drop(waiters);
        queue
    }

    /// From one driver nothing comes any more. If it was the last, accepting ends after what came
    /// before.
    pub(super) fn end(&self, kind: io::ErrorKind) {
        let wakers = {
            let mut inner = lock(&self.inner);
            inner.sources = inner.sources.saturating_sub(1);
            if inner.sources > 0 {
                return;
            }
            inner.accepting = false;
            inner.ended.get_or_insert(kind);
            inner.waiters.take()
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Awaited for Backlog {
    type Output = io::Result<Arc<Connection>>;

    fn poll_for(&self, place: &mut Place, cx: &Context<'_>) -> Poll<Self::Output> {
        let mut inner = lock(&self.inner);
        if let Some(connection) = inner.queue.pop_front() {
            return Poll::Ready(Ok(connection));
        }
        if let Some(kind) = inner.ended {
            return Poll::Ready(Err(io::Error::new(kind, "the listener's socket is closed")));
        }
        inner.waiters.register(place, cx);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let waker = lock(&self.inner).waiters.leave(ticket);
        drop(waker);
    }
}
