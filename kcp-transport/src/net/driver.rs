//! The task that drives one socket and every session on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn_udp::RecvMeta;
use slab::Slab;
use tokio::time::Sleep;

use crate::error::ConnectionError;
use crate::session::{Destination, Role, Session, State, opens_session};
use crate::stats::EndpointStats;
use crate::time::Time;
use crate::wire::ConversationId;

use super::clock::entropy;
use super::endpoint::{Admission, Endpoint};
use super::shared::Connection;
use super::socket::{Path, ReceiveBuffers};
use super::table::Table;
use super::timers::{SessionKey, Timers};

/// Receives for all sessions of a socket, wakes them when their time comes, and sends what their
/// streams left to it. Ends when the last session has ended and no listener wants more.
#[derive(Debug)]
pub(super) struct Driver {
    endpoint: Arc<Endpoint>,
    connections: Slab<Arc<Connection>>,
    table: Table,
    timers: Timers,
    buffers: ReceiveBuffers,
    /// Payloads of the buffer at hand, opened and routed.
    opened: Vec<Opened>,
    dirty: Vec<SessionKey>,
    deadlines: Vec<(Time, SessionKey)>,
    sleep: Pin<Box<Sleep>>,
    sleeping_until: Option<Time>,
    last_received: Time,
    next_generation: u64,
    stats: EndpointStats,
}

/// One opened payload, as a place in the receive buffer, and the session it is for.
#[derive(Clone, Copy, Debug)]
struct Opened {
    slot: usize,
    start: usize,
    end: usize,
}

impl Driver {
    /// A driver for `endpoint` without sessions; needs a tokio context.
    pub(super) fn new(endpoint: Arc<Endpoint>, receive_slots: usize) -> Self {
        let now = endpoint.clock.now();
        let sleep = Box::pin(tokio::time::sleep_until(endpoint.clock.instant(now)));
        Self {
            endpoint,
            connections: Slab::new(),
            table: Table::default(),
            timers: Timers::default(),
            buffers: ReceiveBuffers::new(receive_slots),
            opened: Vec::new(),
            dirty: Vec::new(),
            deadlines: Vec::new(),
            sleep,
            sleeping_until: None,
            last_received: now,
            next_generation: 0,
            stats: EndpointStats::default(),
        }
    }

    /// Adds a session.
    pub(super) fn register(
        &mut self,
        now: Time,
        path: Path,
        conversation: ConversationId,
        role: Role,
    ) -> io::Result<Arc<Connection>> {
        let endpoint = &self.endpoint;
        let luck = u32::from_le_bytes(entropy()?);
        let session = Session::new(
            &endpoint.config,
            endpoint.layout,
            conversation,
            role,
            luck,
            now,
        );
        let entry = self.connections.vacant_entry();
        let key = SessionKey {
            slot: entry.key(),
            generation: self.next_generation,
        };
        self.next_generation += 1;
        let connection = Arc::new(Connection::new(
            Arc::clone(endpoint),
            path,
            conversation,
            key,
            session,
        ));
        entry.insert(Arc::clone(&connection));
        endpoint.census.opened(&connection, role);
        self.table.insert(path.peer, conversation, key.slot);
        self.dirty.push(key);
        Ok(connection)
    }

    /// Receives a bounded number of batches. Ready if there may be more, with an error when the
    /// socket is gone; pending when nothing is left.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut failures = 0;
        for _ in 0..MAX_RECEIVES_PER_POLL {
            ready!(self.endpoint.socket.poll_recv_ready(cx))?;
            match self.endpoint.socket.try_recv(&mut self.buffers) {
                Ok(count) => {
                    let now = self.endpoint.clock.now();
                    self.last_received = now;
                    for index in 0..count {
                        self.handle_buffer(now, index);
                    }
                    let _ = self.poll_transmit(cx);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.handle_receive_error(&error)?;
                    failures += 1;
                    if failures == MAX_FAILURES_PER_POLL {
                        break;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Receive errors are hints, counted; only a socket that is gone ends its sessions.
    fn handle_receive_error(&mut self, error: &io::Error) -> io::Result<()> {
        tracing::trace!(%error, "receive failed");
        self.stats.receive_errors += 1;
        if error.raw_os_error() == Some(EBADF) {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        if error.kind() == io::ErrorKind::ConnectionRefused {
            let now = self.endpoint.clock.now();
            for (_, connection) in &self.connections {
                connection.refused(now);
                self.dirty.push(connection.key);
            }
        }
        Ok(())
    }

    /// Opens and routes every datagram of one receive buffer, then gives each session its run.
    fn handle_buffer(&mut self, now: Time, index: usize) {
        let (bytes, meta) = self.buffers.get_mut(index);
        let overhead = self.endpoint.layout.overhead();
        let mut routes = Vec::new();
        std::mem::swap(&mut routes, &mut self.opened);
        routes.clear();
        let mut start = 0;
        let mut datagrams = 0_u64;
        let mut too_short = 0_u64;
        let mut unauthentic = 0_u64;
        for datagram in bytes.chunks_mut(meta.stride.max(1)) {
            let len = datagram.len();
            datagrams += 1;
            match self.endpoint.opener.open(datagram) {
                Ok(_) => routes.push(Opened {
                    slot: usize::MAX,
                    start: start + overhead.front,
                    end: start + len - overhead.back,
                }),
                Err(crate::error::OpenError::TooShort) => too_short += 1,
                Err(_) => unauthentic += 1,
            }
            start += len;
        }
        self.stats.datagrams_received += datagrams;
        self.stats.wire_bytes_received += start as u64;
        self.stats.too_short += too_short;
        self.stats.unauthentic += unauthentic;
        self.route(now, index, meta, &mut routes);
        self.deliver(now, index, &routes);
        self.opened = routes;
    }

    /// Finds the session of each payload, and drops those that have none.
    fn route(&mut self, now: Time, index: usize, meta: RecvMeta, routes: &mut Vec<Opened>) {
        let mut previous = None;
        routes.retain_mut(|opened| {
            let (bytes, _) = self.buffers.get_mut(index);
            let payload = &bytes[opened.start..opened.end];
            let destination = Destination::of(payload);
            let slot = match (previous, destination) {
                // Most runs are for one session.
                (Some((same, slot)), _) if same == destination => Some(slot),
                (_, Destination::Conversation(conversation)) => {
                    self.table.find(meta.addr, conversation)
                }
                (_, Destination::Parity) => self.table.find_parity(meta.addr),
                (_, Destination::Malformed) => {
                    self.stats.malformed += 1;
                    return false;
                }
            };
            let slot = slot.or_else(|| {
                let opens = opens_session(
                    &self.buffers.get_mut(index).0[opened.start..opened.end],
                    self.endpoint.config.receive_window(),
                );
                self.admit(now, meta, destination, opens)
            });
            let Some(slot) = slot else { return false };
            if previous != Some((destination, slot)) && destination != Destination::Parity {
                self.table.note_active(meta.addr, slot);
            }
            previous = Some((destination, slot));
            opened.slot = slot;
            true
        });
    }

    /// Opens a session for a payload that belongs to none, if it may.
    fn admit(
        &mut self,
        now: Time,
        meta: RecvMeta,
        destination: Destination,
        opens: bool,
    ) -> Option<usize> {
        let Destination::Conversation(conversation) = destination else {
            self.stats.stray += 1;
            return None;
        };
        if self.table.is_buried(meta.addr, conversation, now) {
            self.stats.late += 1;
            return None;
        }
        match self.endpoint.admits() {
            Admission::Open if opens => {}
            Admission::Full if opens => {
                self.stats.backlog_full += 1;
                return None;
            }
            _ => {
                self.stats.stray += 1;
                return None;
            }
        }
        let path = Path {
            peer: meta.addr,
            local: meta.dst_ip,
        };
        let connection = self.register(now, path, conversation, Role::Accept).ok()?;
        tracing::debug!(peer = %meta.addr, %conversation, "session opened");
        let slot = connection.key.slot;
        self.endpoint.offer(connection);
        Some(slot)
    }

    fn deliver(&mut self, now: Time, index: usize, routes: &[Opened]) {
        let (bytes, _) = self.buffers.get_mut(index);
        let bytes = &*bytes;
        for run in routes.chunk_by(|a, b| a.slot == b.slot) {
            let Some(connection) = self.connections.get(run[0].slot) else {
                continue;
            };
            let payloads = run.iter().map(|opened| &bytes[opened.start..opened.end]);
            connection.deliver(now, payloads);
            self.dirty.push(connection.key);
        }
    }

    fn connection(&self, key: SessionKey) -> Option<&Arc<Connection>> {
        self.connections
            .get(key.slot)
            .filter(|connection| connection.key == key)
    }

    /// Lets every session that was touched send what is due, and removes those that have ended.
    ///
    /// What could not be sent stays on the list. Pending while the socket takes nothing.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.endpoint.poll_unblock(cx));
        let mut dirty = std::mem::take(&mut self.dirty);
        // A session touched by several runs sends once.
        dirty.dedup();
        dirty.retain(|&key| {
            let Some(connection) = self.connection(key) else {
                return false;
            };
            let done = self.endpoint.transmit_some(connection);
            if matches!(connection.state(), State::Closed(_)) {
                self.remove(key);
                return false;
            }
            !done
        });
        self.dirty = dirty;
        Poll::Ready(())
    }

    fn remove(&mut self, key: SessionKey) {
        let connection = self.connections.remove(key.slot);
        self.endpoint.census.closed(&connection);
        let now = self.endpoint.clock.now();
        self.table
            .bury(connection.path.peer, connection.conversation, key.slot, now);
    }

    /// Wakes every session whose deadline has passed.
    fn handle_timers(&mut self, now: Time) {
        while let Some((at, key)) = self.timers.pop_due(now) {
            let Some(connection) = self.connection(key) else {
                continue;
            };
            if connection.expire(now, at).is_some() {
                self.dirty.push(key);
            }
        }
        if now - self.last_received >= RELEASE_AFTER {
            self.buffers.release();
            self.endpoint.shrink();
        }
    }

    /// Arms the one timer for the earliest deadline. Ready when that has passed already.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(next) = self.timers.next() else {
            return Poll::Pending;
        };
        if self.sleeping_until != Some(next) {
            self.sleep.as_mut().reset(self.endpoint.clock.instant(next));
            self.sleeping_until = Some(next);
        }
        ready!(self.sleep.as_mut().poll(cx));
        self.sleeping_until = None;
        Poll::Ready(())
    }

    fn finish(&mut self, kind: io::ErrorKind) {
        self.endpoint.die(kind);
        for connection in self.connections.drain() {
            connection.abort(ConnectionError::EndpointClosed);
            self.endpoint.census.closed(&connection);
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        for _ in 0..MAX_ROUNDS_PER_POLL {
            let received = driver.poll_receive(cx);
            if let Poll::Ready(Err(error)) = &received {
                tracing::error!(%error, "socket is gone");
                driver.finish(error.kind());
                return Poll::Ready(());
            }
            driver
                .endpoint
                .drain_inbox(cx, &mut driver.dirty, &mut driver.deadlines);
            for (at, key) in driver.deadlines.drain(..) {
                driver.timers.arm(at, key);
            }
            driver.handle_timers(driver.endpoint.clock.now());
            let transmitted = driver.poll_transmit(cx);
            driver
                .endpoint
                .update_stats(|stats| stats.absorb(&std::mem::take(&mut driver.stats)));
            if driver.connections.is_empty() && !driver.endpoint.is_accepting() {
                driver.finish(io::ErrorKind::NotConnected);
                return Poll::Ready(());
            }
            let more = transmitted.is_ready() && !driver.dirty.is_empty();
            if received.is_pending() && !more && driver.poll_sleep(cx).is_pending() {
                return Poll::Pending;
            }
        }
        // Others on this thread want to run too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The runtime is shutting down, or the driver has panicked: nobody may wait for it.
impl Drop for Driver {
    fn drop(&mut self) {
        self.finish(io::ErrorKind::ConnectionAborted);
    }
}

/// Receive calls between two looks at timers and at what writers left.
const MAX_RECEIVES_PER_POLL: usize = 8;

/// Rounds before the driver yields. A round with full buffers takes about a millisecond.
const MAX_ROUNDS_PER_POLL: usize = 4;

/// Failed receive calls in one poll: a socket that only fails must not spin.
const MAX_FAILURES_PER_POLL: usize = 4;

/// Silence after which the memory for receiving is given back.
const RELEASE_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// The descriptor is closed; the same number on every Unix.
const EBADF: i32 = 9;
