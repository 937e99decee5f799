//! What the driver of a socket and the streams on it share.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::config::{Config, Extensions};
use crate::crypto::Security;
use crate::packet::{Layout, Opener, ReplayFilter, Sealer, TransmitBatch};
use crate::session::Role;
use crate::stats::EndpointStats;
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SegmentHeader};

use super::backlog::{Admission, Backlog};
use super::budget::Budget;
use super::census::Census;
use super::clock::{Clock, entropy};
use super::group::Group;
use super::roaming::Roaming;
use super::shared::Connection;
use super::stream::KcpStream;
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
    purpose: Purpose,
    sealer: Sealer,
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
    pub(super) backlog: Arc<Backlog>,
    /// The listener's other sockets and this one's place among them, if it has several.
    pub(super) group: Option<(Arc<Group>, usize)>,
    /// The sessions of a listener that may move.
    pub(super) roaming: Option<Arc<Roaming>>,
    /// What the sessions of a listener may hold.
    pub(super) budget: Option<Arc<Budget>>,
    stats: Mutex<EndpointStats>,
}

/// What others ask of the driver.
#[derive(Debug, Default)]
struct Inbox {
    dirty: Vec<SessionKey>,
    deadlines: Vec<(Time, SessionKey)>,
    asked: Vec<Ask>,
    /// Sessions whose peers were proved to be elsewhere.
    moved: Vec<(SessionKey, Path)>,
    /// Opened payloads that came in at another socket.
    forwarded: Vec<(Path, Vec<u8>)>,
    /// Someone may want more sessions.
    held: bool,
    /// Why there is no driver any more.
    ended: Option<io::ErrorKind>,
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

/// What an endpoint is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One session, given from the beginning.
    One,
    /// Sessions that are asked for.
    Connect,
    /// Sessions that peers open.
    Accept,
}

impl Purpose {
    /// Random nonces, or runs of 64 counted ones, in a generation of the replay filter. Just below
    /// what a table of 2^17 or 2^14 places takes.
    const fn replay_capacity(self) -> usize {
        match self {
            Self::Accept => 114_000,
            Self::Connect | Self::One => 14_000,
        }
    }
}

/// A session someone wants to open.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) path: Path,
    pub(super) role: Role,
    pub(super) answer: oneshot::Sender<io::Result<KcpStream>>,
}

impl Endpoint {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        security: &Security,
        config: &Config,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let sealer = Sealer::new(security, entropy()?);
        let backlog = Arc::new(Backlog::new(
            config.backlog(),
            purpose == Purpose::Accept,
            1,
        ));
        let layout = config.layout(security.overhead())?;
        Ok(Self::with(
            transport,
            sealer,
            backlog,
            (config, layout),
            purpose,
        ))
    }

    /// The endpoints of a listener, one for each transport.
    pub(super) fn listening(
        transports: Vec<Arc<dyn Transport>>,
        security: &Security,
        config: &Config,
    ) -> io::Result<Vec<Arc<Self>>> {
        let sealer = Sealer::new(security, entropy()?);
        let backlog = Arc::new(Backlog::new(config.backlog(), true, transports.len()));
        let layout = config.layout(security.overhead())?;
        let budget = Arc::new(Budget::new(config.memory_budget()));
        let group = (transports.len() > 1).then(|| Arc::new(Group::default()));
        let roaming =
            (config.extensions() == Extensions::Migration).then(|| Arc::new(Roaming::default()));
        let endpoints: Vec<_> = transports
            .into_iter()
            .enumerate()
            .map(|(shard, transport)| {
                let (sealer, backlog) = (sealer.clone(), Arc::clone(&backlog));
                let config = (config, layout);
                let mut endpoint = Self::with(transport, sealer, backlog, config, Purpose::Accept);
                endpoint.budget = Some(Arc::clone(&budget));
                endpoint.roaming = roaming.clone();
                endpoint.group = group.clone().map(|group| (group, shard));
                Arc::new(endpoint)
            })
            .collect();
        if let Some(group) = group {
            group.complete(&endpoints);
        }
        Ok(endpoints)
    }

    fn with(
        transport: Arc<dyn Transport>,
        sealer: Sealer,
        backlog: Arc<Backlog>,
        (config, layout): (&Config, Layout),
        purpose: Purpose,
    ) -> Self {
        Self {
            transport,
            clock: Clock::start(),
            config: config.clone(),
            layout,
            opener: sealer.opener(),
            census: Census::default(),
            purpose,
            sealer,
            inbox: Mutex::new(Inbox {
                held: purpose != Purpose::One,
                ..Inbox::default()
            }),
            outbox: Mutex::default(),
            backlog,
            group: None,
            roaming: None,
            budget: None,
            stats: Mutex::default(),
        }
    }

    /// What the driver tells replayed packets by.
    pub(super) fn replay_filter(&self) -> ReplayFilter {
        self.sealer.replay_filter(self.purpose.replay_capacity())
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
        connection.account();
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
        if let Err(error) = self.sealer.seal(&mut batch) {
            self.outbox().recycle(batch);
            connection.abort(error.into());
            return;
        }
        let path = connection.path();
        let sent = self.send(now, Some(connection), path, &batch, 0);
        let mut outbox = self.outbox();
        if sent == batch.len() {
            outbox.recycle(batch);
        } else {
            outbox.blocked.push_back(Blocked { batch, sent, path });
            drop(outbox);
            self.notify(|_| {});
        }
    }

    /// Sends one segment without a session. Lost if the socket takes nothing now, or the mtu has
    /// no room for its payload: whoever waits for it asks again.
    pub(super) fn reply(&self, now: Time, path: Path, header: &SegmentHeader, payload: &[u8]) {
        let Some(mut batch) = self.take_batch() else {
            return;
        };
        batch.push_with(|packet| {
            let len = SEGMENT_HEADER_LEN + payload.len();
            let Some(place) = packet.get_mut(SEGMENT_HEADER_LEN..len) else {
                return 0;
            };
            place.copy_from_slice(payload);
            header.encode(packet);
            len
        });
        // A key that is used up seals nothing more; there is nobody to tell.
        if self.sealer.seal(&mut batch).is_ok() {
            self.send(now, None, path, &batch, 0);
        }
        self.outbox().recycle(batch);
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

    /// Asks the driver to move a session to another path, where its peer was proved to receive.
    pub(super) fn relocate(&self, key: SessionKey, path: Path) {
        self.notify(|inbox| inbox.moved.push((key, path)));
    }

    /// Hands on a payload that came in at another socket. Returns whether it was taken.
    pub(super) fn forward(&self, path: Path, payload: &[u8]) -> bool {
        let mut taken = false;
        self.notify(|inbox| {
            taken = inbox.forwarded.len() < MAX_FORWARDED && inbox.ended.is_none();
            if taken {
                inbox.forwarded.push((path, payload.to_vec()));
            }
        });
        taken
    }

    pub(super) fn drain_forwarded(&self) -> Vec<(Path, Vec<u8>)> {
        std::mem::take(&mut lock(&self.inbox).forwarded)
    }

    /// Lets the driver look again.
    pub(super) fn wake(&self) {
        self.notify(|_| {});
    }

    pub(super) fn drain_moved(&self) -> Vec<(SessionKey, Path)> {
        std::mem::take(&mut lock(&self.inbox).moved)
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

    /// Takes no more sessions, asked for or offered, and returns those nobody accepted. The driver
    /// looks again, since it may have nothing left to do.
    pub(super) fn release(&self) -> VecDeque<Arc<Connection>> {
        let queue = self.backlog.close();
        self.notify(|inbox| inbox.held = false);
        queue
    }

    /// Whether peers may open one more session.
    pub(super) fn admits(&self) -> Admission {
        match self.backlog.admits() {
            Admission::Open if self.budget.as_ref().is_some_and(|it| it.is_spent()) => {
                Admission::Spent
            }
            admission => admission,
        }
    }

    /// Whether someone may want more sessions.
    pub(super) fn is_held(&self) -> bool {
        lock(&self.inbox).held
    }

    /// Asks the driver for a session that speaks first; it answers even if its end is near.
    pub(super) fn ask(&self, ask: Ask) {
        self.notify(|inbox| {
            // Dropping it is the answer that nobody is there to give one.
            if inbox.ended.is_none() {
                inbox.asked.push(ask);
            }
        });
    }

    pub(super) fn drain_asked(&self) -> Vec<Ask> {
        std::mem::take(&mut lock(&self.inbox).asked)
    }

    /// The transport or the driver is gone.
    pub(super) fn die(&self, kind: io::ErrorKind) {
        let mut first = false;
        self.notify(|inbox| {
            inbox.held = false;
            // The driver's own end follows; the first reason is the one to tell.
            first = inbox.ended.is_none();
            inbox.ended.get_or_insert(kind);
        });
        drop(self.drain_asked());
        if first {
            self.backlog.end(kind);
        }
    }

    /// Why the driver has ended, if it has.
    pub(super) fn ended(&self) -> Option<io::ErrorKind> {
        lock(&self.inbox).ended
    }

    pub(super) fn stats(&self) -> EndpointStats {
        let mut stats = *lock(&self.stats);
        self.census.stats_into(&mut stats);
        stats.memory = self.budget.as_ref().map_or(0, |budget| budget.held());
        stats.sealed_under_key = usize::try_from(self.sealer.sealed()).unwrap_or(usize::MAX);
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

/// Payloads that wait to be handed on: a few receive calls' worth. What is beyond that is lost, as
/// in a socket's buffer.
const MAX_FORWARDED: usize = 256;

/// Empty batches kept per socket: the driver uses one, and so does each writer at a time.
const MAX_SPARES: usize = 2;
