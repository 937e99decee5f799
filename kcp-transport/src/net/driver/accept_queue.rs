//! The queue of sessions that wait to be accepted.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::net::connection::Connection;
use crate::net::sync::{Awaited, Ticket, Waiter, Waiters, lock};

/// A bounded queue of sessions that peers have opened.
#[derive(Debug)]
pub(in crate::net) struct AcceptQueue {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Arc<Connection>>,
    waiters: Waiters,
    accepting: bool,
    /// Drivers that have not ended.
    sources: usize,
    /// Why nothing will be accepted any more: the listener is closed, or all drivers have ended.
    ended: Option<io::ErrorKind>,
}

/// Whether a new session can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum AcceptState {
    Open,
    Full,
    /// The memory budget is spent.
    Spent,
    Closed,
}

impl AcceptQueue {
    /// A queue for the sessions of `sources` drivers.
    pub(in crate::net) fn new(capacity: usize, accepting: bool, sources: usize) -> Self {
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

    /// Whether the queue has room for one more session.
    pub(in crate::net) fn admits(&self) -> AcceptState {
        let inner = lock(&self.inner);
        if !inner.accepting {
            AcceptState::Closed
        } else if inner.queue.len() >= self.capacity {
            AcceptState::Full
        } else {
            AcceptState::Open
        }
    }

    /// Queues a new session. Returns it if the listener has been dropped on another thread since
    /// the last call of [`Self::admits`].
    pub(in crate::net) fn offer(&self, connection: Arc<Connection>) -> Result<(), Arc<Connection>> {
        let wakers = {
            let mut inner = lock(&self.inner);
            if !inner.accepting {
                return Err(connection);
            }
            inner.queue.push_back(connection);
            inner.waiters.take()
        };
        wakers.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Refuses further sessions and returns those that were not accepted. Accepting fails from now
    /// on.
    pub(in crate::net) fn close(&self) -> VecDeque<Arc<Connection>> {
        let (queue, wakers) = {
            let mut inner = lock(&self.inner);
            inner.accepting = false;
            inner.ended.get_or_insert(io::ErrorKind::NotConnected);
            (std::mem::take(&mut inner.queue), inner.waiters.take())
        };
        wakers.into_iter().for_each(Waker::wake);
        queue
    }

    /// Records that a driver has ended. After the last one, accepting fails once the queue is
    /// empty.
    pub(in crate::net) fn end(&self, kind: io::ErrorKind) {
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

impl Awaited for AcceptQueue {
    type Output = io::Result<Arc<Connection>>;

    fn poll_for(&self, waiter: &mut Waiter, cx: &Context<'_>) -> Poll<Self::Output> {
        let mut inner = lock(&self.inner);
        if let Some(connection) = inner.queue.pop_front() {
            return Poll::Ready(Ok(connection));
        }
        if let Some(kind) = inner.ended {
            return Poll::Ready(Err(io::Error::new(kind, "the listener is closed")));
        }
        inner.waiters.register(waiter, cx);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let waker = lock(&self.inner).waiters.leave(ticket);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSliceMut;
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::config::Config;
    use crate::crypto::Security;
    use crate::net::driver::registry::Registry;
    use crate::net::driver::sessions::{Initiator, Sessions};
    use crate::net::endpoint::{Endpoint, Purpose};
    use crate::net::io::{Path, Received, Transport};
    use crate::packet::SegmentRun;
    use crate::time::Time;
    use crate::wire::ConversationId;

    const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    /// A transport that carries no datagrams.
    #[derive(Debug)]
    struct Closed;

    impl Transport for Closed {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(NOWHERE)
        }

        fn poll_recv_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_send_ready(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn try_recv(&self, _: &mut [IoSliceMut<'_>], _: &mut [Received]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }

        fn try_send(&self, _: Path, _: SegmentRun<'_>) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn session() -> Arc<Connection> {
        let (security, config) = (Security::Plaintext, Config::default());
        let endpoint = Endpoint::new(Arc::new(Closed), &security, &config, Purpose::Accept);
        let registry = Registry::new(Arc::new(endpoint.expect("in range")));
        let path = Path::new(NOWHERE);
        let conversation = ConversationId::new(7);
        Sessions::new(Arc::clone(&registry.tombstones))
            .open(&registry, Time::ZERO, path, conversation, Initiator::Peer)
            .expect("has entropy")
    }

    #[test]
    fn session_that_comes_after_the_end_is_given_back() {
        let queue = AcceptQueue::new(2, true, 1);
        let (early, late) = (session(), session());
        assert!(queue.offer(Arc::clone(&early)).is_ok());
        assert_eq!(queue.admits(), AcceptState::Open);
        assert!(Arc::ptr_eq(&queue.close()[0], &early));
        let back = queue.offer(Arc::clone(&late));
        assert!(back.is_err_and(|back| Arc::ptr_eq(&back, &late)));
        assert!(queue.close().is_empty(), "no listener would take it out");
    }
}
