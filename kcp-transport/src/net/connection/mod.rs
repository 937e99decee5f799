//! One session as its stream and its driver share it.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::error::{ConnectionError, ResetCode};
use crate::packet::TransmitBatch;
use crate::session::{Session, State};
use crate::stats::Stats;
use crate::time::Time;
use crate::wire::{ConversationId, Token};

use super::endpoint::{Charge, Endpoint, SessionKey};
use super::io::Path;
use super::sync::{Waiters, lock};

/// A session behind its lock, with what seldom or never changes beside it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) endpoint: Arc<Endpoint>,
    path: Mutex<Path>,
    pub(super) conversation: ConversationId,
    pub(super) key: SessionKey,
    pub(super) charge: Charge,
    pub(super) inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) session: Session,
    pub(super) reader: Option<Waker>,
    /// Waits for room to write, or for the end of a shutdown.
    pub(super) writer: Option<Waker>,
    /// Wait for datagrams out of band.
    pub(super) datagram_readers: Waiters,
    /// The deadline the driver will wake for.
    armed: Option<Time>,
    /// The driver knows that something may be due.
    deferred: bool,
    /// The reader waits for the peer's first sign of life.
    connecting: bool,
}

/// Tasks to wake once the lock is released.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Wakers {
    reader: Option<Waker>,
    writer: Option<Waker>,
    datagram_readers: Vec<Waker>,
}

/// What came of filling a batch.
#[derive(Debug)]
pub(super) struct Filled {
    /// A deadline that is earlier than what the driver knows.
    pub(super) deadline: Option<Time>,
}

impl Wakers {
    pub(super) fn wake(self) {
        [self.reader, self.writer]
            .into_iter()
            .flatten()
            .chain(self.datagram_readers)
            .for_each(Waker::wake);
    }
}

impl Connection {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        path: Path,
        conversation: ConversationId,
        key: SessionKey,
        session: Session,
    ) -> Self {
        let connecting = session.state() == State::Connecting;
        let budget = endpoint.budget.clone();
        let inner = Inner {
            session,
            reader: None,
            writer: None,
            datagram_readers: Waiters::default(),
            armed: None,
            deferred: false,
            connecting,
        };
        Self {
            endpoint,
            path: Mutex::new(path),
            conversation,
            key,
            charge: Charge::new(budget),
            inner: Mutex::new(inner),
        }
    }

    /// Where the session sends, and where its datagrams come from.
    pub(super) fn path(&self) -> Path {
        *lock(&self.path)
    }

    /// Sends elsewhere from now on. Only for the driver, whose table must agree.
    pub(super) fn set_path(&self, path: Path) {
        *lock(&self.path) = path;
    }

    /// Hands a run of opened payloads to the session.
    pub(super) fn deliver<'a>(&self, now: Time, payloads: impl Iterator<Item = &'a [u8]>) -> State {
        let mut inner = lock(&self.inner);
        inner.session.handle_datagrams(now, payloads);
        let state = inner.session.state();
        let wakers = inner.take_wakers();
        drop(inner);
        wakers.wake();
        state
    }

    /// A deadline passed. Returns the session's state, or `None` if the deadline no longer counts.
    pub(super) fn expire(&self, now: Time, deadline: Time) -> Option<State> {
        let mut inner = lock(&self.inner);
        if inner.armed != Some(deadline) {
            return None;
        }
        inner.armed = None;
        inner.session.handle_timeout(now);
        let state = inner.session.state();
        let wakers = inner.take_wakers();
        drop(inner);
        wakers.wake();
        Some(state)
    }

    /// Whether the driver is to wake the session at that time.
    pub(super) fn is_armed(&self, at: Time) -> bool {
        lock(&self.inner).armed == Some(at)
    }

    /// Lays out what is due, and says if the driver must learn of a new deadline.
    pub(super) fn fill(&self, now: Time, batch: &mut TransmitBatch) -> Filled {
        let mut inner = lock(&self.inner);
        inner.deferred = false;
        let before = inner.session.state();
        inner.session.poll_transmit(now, batch);
        let deadline = inner.rearm();
        // The last thing that was to be said may be all that somebody waits for.
        let wakers = (inner.session.state() != before).then(|| inner.take_wakers());
        drop(inner);
        if let Some(wakers) = wakers {
            wakers.wake();
        }
        Filled { deadline }
    }

    /// Leaves the rest to the driver.
    pub(super) fn defer(&self) {
        let known = std::mem::replace(&mut lock(&self.inner).deferred, true);
        if !known {
            self.endpoint.defer(self.key);
        }
    }

    pub(super) fn refused(&self, now: Time) {
        self.change(|session| session.handle_refused(now));
    }

    /// Asks the peer for a sign of life.
    pub(super) fn probe(&self, now: Time) {
        lock(&self.inner).session.probe(now);
    }

    pub(super) fn abort(&self, error: ConnectionError) {
        self.change(|session| session.abort(error));
    }

    /// What the peer must show to move the session to another address, if it may.
    pub(super) fn migration_token(&self) -> Option<Token> {
        lock(&self.inner).session.migration_token()
    }

    /// Gives the session up at once.
    pub(super) fn reset(&self, code: ResetCode) {
        let now = self.endpoint.clock.now();
        self.change(|session| session.reset(now, code));
        self.endpoint.transmit(self);
        // The driver repeats it, and forgets the session.
        self.defer();
    }

    /// Whether the session has ended and has nothing more to say.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.inner).session.is_over()
    }

    /// The stream was dropped.
    pub(super) fn abandon(&self) {
        let now = self.endpoint.clock.now();
        self.change(|session| session.abandon(now));
        // The session may linger; the tasks that last polled the stream need not.
        let idle = {
            let mut inner = lock(&self.inner);
            [inner.reader.take(), inner.writer.take()]
        };
        drop(idle);
        if self.is_over() {
            // What was not read is of no use any more.
            self.release();
        }
        self.defer();
    }

    fn change(&self, change: impl FnOnce(&mut Session)) {
        let mut inner = lock(&self.inner);
        change(&mut inner.session);
        let wakers = inner.take_wakers();
        drop(inner);
        wakers.wake();
    }

    pub(super) fn stats(&self) -> Stats {
        lock(&self.inner).session.stats()
    }

    pub(super) fn state(&self) -> State {
        lock(&self.inner).session.state()
    }

    /// Ready once the peer has answered.
    pub(super) fn poll_connected(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = lock(&self.inner);
        match inner.session.state() {
            State::Connecting => {
                inner.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Closed(error) => Poll::Ready(Err(end(error))),
            _ => {
                inner.connecting = false;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Reads what is there through `sink`, at most `limit` bytes.
    pub(super) fn poll_read(
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
                return Poll::Ready(Err(end(error)));
            }
            register(&mut inner.reader, cx);
            return Poll::Pending;
        }
        // Room in the receive window may be news to the peer.
        let (due, over) = (inner.session.is_due(now), inner.session.is_over());
        drop(inner);
        if over {
            self.release();
        } else if due {
            self.endpoint.transmit(self);
        }
        Poll::Ready(Ok(()))
    }

    /// Queues bytes; sends at once when whole datagrams are waiting, else leaves that to a flush or
    /// to the driver's next turn.
    pub(super) fn poll_write<'a>(
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
            self.endpoint.transmit(self);
        } else if written > 0 {
            self.defer();
        }
        Poll::Ready(Ok(written))
    }

    /// Sends what is queued as far as window and socket allow; never waits.
    pub(super) fn poll_flush(&self) -> Poll<io::Result<()>> {
        let inner = lock(&self.inner);
        if let State::Closed(error) = inner.session.state() {
            return Poll::Ready(Err(end(error)));
        }
        let unsent = inner.deferred;
        drop(inner);
        if unsent {
            self.endpoint.transmit(self);
        }
        Poll::Ready(Ok(()))
    }

    /// Takes no more writes; ready once everything written is acknowledged.
    pub(super) fn poll_shutdown(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        inner.session.shutdown(now);
        match inner.session.state() {
            State::Drained => return Poll::Ready(Ok(())),
            State::Closed(error) => return Poll::Ready(Err(end(error))),
            _ => {}
        }
        register(&mut inner.writer, cx);
        // The linger time must reach the driver even if nothing is left to send.
        drop(inner);
        self.endpoint.transmit(self);
        Poll::Pending
    }
}

impl Inner {
    pub(super) fn check_writable(&self) -> io::Result<()> {
        match self.session.state() {
            State::Closed(error) => Err(end(error)),
            State::Draining | State::Drained | State::Lingering => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "stream was shut down for writing",
            )),
            State::Connecting | State::Established => Ok(()),
        }
    }

    /// The deadline the driver must learn of: only one that is earlier than what it knows.
    fn rearm(&mut self) -> Option<Time> {
        let deadline = self.session.poll_timeout()?;
        if self.armed.is_some_and(|armed| armed <= deadline) {
            return None;
        }
        self.armed = Some(deadline);
        Some(deadline)
    }

    pub(super) fn take_wakers(&mut self) -> Wakers {
        let state = self.session.state();
        let over = matches!(state, State::Closed(_));
        let connected = self.connecting && state != State::Connecting;
        let wake_reader =
            over || connected || self.session.is_readable() || self.session.is_finished();
        let wake_writer = over || state == State::Drained || self.session.is_writable();
        Wakers {
            reader: if wake_reader {
                self.reader.take()
            } else {
                None
            },
            writer: if wake_writer {
                self.writer.take()
            } else {
                None
            },
            datagram_readers: if over || self.session.has_out_of_band() {
                self.datagram_readers.take()
            } else {
                Vec::new()
            },
        }
    }
}

pub(super) fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// The error of an ended session. Its user let go if there is none, and asks no more.
pub(super) fn end(error: Option<ConnectionError>) -> io::Error {
    error.map_or_else(|| io::ErrorKind::NotConnected.into(), io::Error::from)
}

/// Segments that make an unflushed write worth a system call of its own.
const INLINE_SEGMENTS: usize = 16;
