//! What the driver of a socket and the streams on it share.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::config::Config;
use crate::crypto::Security;
use crate::packet::{Layout, Opener, Sealer, TransmitBatch};
use crate::stats::EndpointStats;
use crate::time::Time;

use super::census::Census;
use super::clock::{Clock, entropy};
use super::shared::Connection;
use super::timers::SessionKey;
use super::transport::{Path, Transport, is_closed};

/// A transport with its cipher, and the mailboxes between its driver and everyone else.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) layout: Layout,
    pub(super) opener: Opener,
    pub(super) census: Census,
    sealer: Sealer,
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
    backlog: Mutex<Backlog>,
    stats: Mutex<EndpointStats>,
}

/// What others ask of the driver.
#[derive(Debug, Default)]
struct Inbox {
    dirty: Vec<SessionKey>,
    deadlines: Vec<(Time, SessionKey)>,
    /// A call other than the driver's own has shown that the transport is closed.
    closed: Option<io::ErrorKind>,
    waker: Option<Waker>,
}

/// Sealed datagrams the socket did not take yet, and batches for the next ones.
#[derive(Debug, Default)]
struct Outbox {
    blocked: VecDeque<Blocked>,
    spares: Vec<TransmitBatch>,
}

#[derive(Debug)]
struct Blocked {
    batch: TransmitBatch,
    sent: usize,
    path: Path,
}

/// Sessions that wait to be accepted.
#[derive(Debug, Default)]
struct Backlog {
    queue: VecDeque<Arc<Connection>>,
    wakers: Vec<Waker>,
    accepting: bool,
    /// Why nothing comes any more.
    dead: Option<io::ErrorKind>,
}

impl Endpoint {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        security: &Security,
        config: &Config,
        accepting: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            transport,
            clock: Clock::start(),
            config: config.clone(),
            layout: config.layout(security.overhead())?,
            opener: Opener::new(security),
            census: Census::default(),
            sealer: Sealer::new(security, entropy()?),
            inbox: Mutex::default(),
            outbox: Mutex::default(),
            backlog: Mutex::new(Backlog {
                accepting,
                ..Backlog::default()
            }),
            stats: Mutex::default(),
        })
    }

    /// Sends what is due for `connection`; the driver does what is left.
    pub(super) fn transmit(&self, connection: &Connection) {
        if !self.transmit_some(connection) {
            connection.defer();
        }
    }

    /// Sends what is due for `connection` as far as the socket takes it, and a bounded number of
    /// batches. Returns whether nothing was left.
    pub(super) fn transmit_some(&self, connection: &Connection) -> bool {
        let now = self.clock.now();
        for _ in 0..MAX_BATCHES_PER_CALL {
            let Some(mut batch) = self.take_batch() else {
                return false;
            };
            let filled = connection.fill(now, &mut batch);
            if let Some(at) = filled.deadline {
                self.arm(at, connection.key);
            }
            let full = batch.remaining() == 0;
            self.dispatch(now, connection, batch);
            if !full {
                return true;
            }
        }
        false
    }

    /// Seals a batch and sends it.
    pub(super) fn dispatch(&self, now: Time, connection: &Connection, mut batch: TransmitBatch) {
        if batch.is_empty() {
            self.outbox().recycle(batch);
            return;
        }
        self.sealer.seal(&mut batch);
        let sent = self.send(now, Some(connection), connection.path, &batch, 0);
        let mut outbox = self.outbox();
        if sent == batch.len() {
            outbox.recycle(batch);
        } else {
            outbox.blocked.push_back(Blocked {
                batch,
                sent,
                path: connection.path,
            });
            drop(outbox);
            self.notify(|_| {});
        }
    }

    /// An empty batch, or `None` while the socket takes nothing.
    pub(super) fn take_batch(&self) -> Option<TransmitBatch> {
        let mut outbox = self.outbox();
        if !outbox.blocked.is_empty() {
            return None;
        }
        let spare = outbox.spares.pop();
        Some(spare.unwrap_or_else(|| TransmitBatch::new(self.layout, BATCH_DATAGRAMS)))
    }

    /// Sends from the datagram `from` on and returns how many of all are done.
    ///
    /// Only would-block stops it. Every other error is a lost datagram: routes flap, firewalls
    /// refuse, buffers run out, and retransmission deals with all of that. Of a closed transport the
    /// driver learns.
    fn send(
        &self,
        now: Time,
        connection: Option<&Connection>,
        path: Path,
        batch: &TransmitBatch,
        from: usize,
    ) -> usize {
        let mut sent = from;
        for run in batch.runs_from(from, self.transport.max_run()) {
            match self.transport.try_send(path, run) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return sent,
                Err(error) => {
                    lock(&self.stats).send_errors += run.datagrams as u64;
                    tracing::trace!(%error, peer = %path.peer, "datagrams not sent");
                    if let (io::ErrorKind::ConnectionRefused, Some(connection)) =
                        (error.kind(), connection)
                    {
                        connection.refused(now);
                    }
                    if is_closed(&error) {
                        self.close(error.kind());
                        return batch.len();
                    }
                }
            }
            sent += run.datagrams;
        }
        sent
    }

    /// Sends what the socket did not take before; ready once nothing is left.
    pub(super) fn poll_unblock(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut attempts = 0;
        loop {
            let Some(mut blocked) = self.outbox().blocked.pop_front() else {
                return Poll::Ready(());
            };
            let ready = self.transport.poll_send_ready(cx);
            if let Poll::Ready(Err(error)) = &ready {
                self.close(error.kind());
            } else if ready.is_ready() {
                let now = self.clock.now();
                let before = blocked.sent;
                blocked.sent = self.send(now, None, blocked.path, &blocked.batch, before);
                attempts = if blocked.sent > before {
                    0
                } else {
                    attempts + 1
                };
            }
            // A transport that says ready and takes nothing must not make us spin.
            let lost = attempts == MAX_ATTEMPTS || matches!(ready, Poll::Ready(Err(_)));
            if lost {
                let left = blocked.batch.len() - blocked.sent;
                lock(&self.stats).send_errors += left as u64;
                attempts = 0;
            }
            let mut outbox = self.outbox();
            if lost || blocked.sent == blocked.batch.len() {
                outbox.recycle(blocked.batch);
            } else {
                outbox.blocked.push_front(blocked);
                if ready.is_pending() {
                    return Poll::Pending;
                }
            }
        }
    }

    /// Forgets spare memory.
    pub(super) fn shrink(&self) {
        self.outbox().spares = Vec::new();
    }

    pub(super) fn defer(&self, key: SessionKey) {
        self.notify(|inbox| inbox.dirty.push(key));
    }

    pub(super) fn arm(&self, at: Time, key: SessionKey) {
        self.notify(|inbox| inbox.deadlines.push((at, key)));
    }

    fn close(&self, kind: io::ErrorKind) {
        self.notify(|inbox| inbox.closed = Some(kind));
    }

    fn notify(&self, ask: impl FnOnce(&mut Inbox)) {
        let waker = {
            let mut inbox = lock(&self.inbox);
            ask(&mut inbox);
            inbox.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves what others asked for to the driver's own lists, and registers the driver for more.
    ///
    /// # Errors
    ///
    /// Someone found the transport closed.
    pub(super) fn drain_inbox(
        &self,
        cx: &Context<'_>,
        dirty: &mut Vec<SessionKey>,
        deadlines: &mut Vec<(Time, SessionKey)>,
    ) -> io::Result<()> {
        let mut inbox = lock(&self.inbox);
        dirty.append(&mut inbox.dirty);
        deadlines.append(&mut inbox.deadlines);
        inbox.waker = Some(cx.waker().clone());
        inbox.closed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Whether there is room for one more session to accept.
    pub(super) fn admits(&self) -> Admission {
        let backlog = lock(&self.backlog);
        if !backlog.accepting {
            Admission::Closed
        } else if backlog.queue.len() >= self.config.backlog() {
            Admission::Full
        } else {
            Admission::Open
        }
    }

    /// Offers a new session to whoever accepts.
    pub(super) fn offer(&self, connection: Arc<Connection>) {
        let wakers = {
            let mut backlog = lock(&self.backlog);
            backlog.queue.push_back(connection);
            std::mem::take(&mut backlog.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn poll_accept(&self, cx: &Context<'_>) -> Poll<io::Result<Arc<Connection>>> {
        let mut backlog = lock(&self.backlog);
        if let Some(connection) = backlog.queue.pop_front() {
            return Poll::Ready(Ok(connection));
        }
        if let Some(kind) = backlog.dead {
            return Poll::Ready(Err(io::Error::new(kind, "the listener's socket is closed")));
        }
        if !backlog
            .wakers
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            backlog.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes no more sessions and returns those nobody accepted. The driver looks again, since it
    /// may have nothing left to do.
    pub(super) fn stop_accepting(&self) -> VecDeque<Arc<Connection>> {
        let queue = {
            let mut backlog = lock(&self.backlog);
            backlog.accepting = false;
            std::mem::take(&mut backlog.queue)
        };
        self.notify(|_| {});
        queue
    }

    pub(super) fn is_accepting(&self) -> bool {
        lock(&self.backlog).accepting
    }

    /// The socket or the driver is gone.
    pub(super) fn die(&self, kind: io::ErrorKind) {
        let wakers = {
            let mut backlog = lock(&self.backlog);
            backlog.accepting = false;
            // The driver's own end follows; the first reason is the one to tell.
            backlog.dead.get_or_insert(kind);
            std::mem::take(&mut backlog.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn stats(&self) -> EndpointStats {
        let mut stats = *lock(&self.stats);
        self.census.stats_into(&mut stats);
        stats
    }

    pub(super) fn update_stats(&self, update: impl FnOnce(&mut EndpointStats)) {
        update(&mut lock(&self.stats));
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.outbox)
    }
}

impl Outbox {
    fn recycle(&mut self, mut batch: TransmitBatch) {
        if self.spares.len() < MAX_SPARES {
            batch.clear();
            self.spares.push(batch);
        }
    }
}

/// Whether a new session can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Open,
    Full,
    Closed,
}

/// Locks a mutex whose data stays sound if another holder panicked: every critical section leaves
/// it so at each point that can panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Datagrams in one batch: at mtu 1400, about what one segmentation-offload call takes.
const BATCH_DATAGRAMS: usize = 46;

/// Batches one call sends before it leaves the rest to the driver, so that a writer with a large
/// window does not hold its task for long.
const MAX_BATCHES_PER_CALL: usize = 8;

/// Calls in a row that may take nothing after the socket was said to be ready. One is usual, since a
/// writer can be faster; then the datagrams are given up as lost.
const MAX_ATTEMPTS: usize = 4;

/// Empty batches kept per socket: the driver uses one, and so does each writer at a time.
const MAX_SPARES: usize = 2;
