//! The task that drives one socket and every session on it.

mod accept_queue;
mod admission;
mod closing;
mod demux;
mod idle;
mod ingress;
mod refusals;
mod registry;
mod sessions;
mod timers;
mod warning;

pub(super) use closing::{close, shut_down, wait_idle};
pub(super) use registry::{OpenRequest, Registry};

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use crate::error::ResetCode;
use crate::session::{Destination, Role};
use crate::time::Time;
use crate::wire::ConversationId;

use super::connection::{Connection, Handle};
use super::endpoint::{Closing, Endpoint, SessionKey};
use super::io::{Path, entropy, is_closed};
use ingress::Ingress;
use refusals::NamedRefusals;
use sessions::{Initiator, Sessions};
use timers::Timers;

/// Receives for all sessions of a socket, runs their timers, and sends the data that their streams
/// left to it. It ends when the last session has ended and no listener or endpoint may add more.
#[derive(Debug)]
pub(super) struct Driver {
    registry: Arc<Registry>,
    /// The endpoint of the registry.
    endpoint: Arc<Endpoint>,
    ingress: Ingress,
    sessions: Sessions,
    timers: Timers,
    refusals: NamedRefusals,
    dirty: Vec<SessionKey>,
    deadlines: Vec<(Time, SessionKey)>,
    sleep: Pin<Box<Sleep>>,
    sleeping_until: Option<Time>,
    /// When sessions that are still being reset are given up.
    closes_at: Option<Time>,
}

impl Driver {
    /// Creates a driver without sessions for the endpoint of `registry`. Must be called within a
    /// tokio runtime.
    pub(super) fn new(registry: Arc<Registry>, receive_slots: usize) -> Self {
        let endpoint = Arc::clone(&registry.endpoint);
        let now = endpoint.clock.now();
        let sleep = Box::pin(tokio::time::sleep_until(endpoint.clock.instant(now)));
        Self {
            ingress: Ingress::new(&endpoint, now, receive_slots),
            sessions: Sessions::new(Arc::clone(&registry.tombstones)),
            registry,
            endpoint,
            timers: Timers::default(),
            refusals: NamedRefusals::default(),
            dirty: Vec::new(),
            deadlines: Vec::new(),
            sleep,
            sleeping_until: None,
            closes_at: None,
        }
    }

    /// Opens a session from this side, which sends the first packet.
    pub(super) fn register(
        &mut self,
        now: Time,
        path: Path,
        conversation: ConversationId,
        role: Role,
    ) -> io::Result<Arc<Connection>> {
        let connection = self.sessions.open(
            &self.registry,
            now,
            path,
            conversation,
            Initiator::Local(role),
        )?;
        self.dirty.push(connection.key);
        Ok(connection)
    }

    /// Opens the sessions that clients requested.
    fn open_requested(&mut self) {
        for request in self.registry.drain_requests() {
            let now = self.endpoint.clock.now();
            let (path, role) = (request.path, request.role);
            let opened = self
                .free_conversation(path, request.conversation)
                .and_then(|conversation| self.register(now, path, conversation, role));
            // If the future of the client was dropped, the session is released.
            let _ = request.answer.send(opened.map(Handle));
        }
    }

    /// Moves sessions to the validated new paths of their peers.
    fn relocate_sessions(&mut self) {
        let now = self.endpoint.clock.now();
        for (key, path) in self.endpoint.mailbox.drain_moved() {
            let Some(connection) = self.sessions.get(key).cloned() else {
                continue;
            };
            let from = connection.path().peer;
            if self.sessions.relocate(&self.registry, now, key, path) {
                self.dirty.push(key);
                // The same path may have been validated twice.
                if from != path.peer {
                    let _span = connection.span().enter();
                    tracing::debug!(%from, to = %path.peer, "session migrated");
                    self.ingress.stats.moved += 1;
                }
            }
        }
    }

    /// After a rebind, sends a probe for each session, so that the peers see the new address.
    /// Returns whether the socket was replaced.
    fn probe_after_rebind(&mut self) -> bool {
        let rebound = self.endpoint.mailbox.take_rebound();
        if rebound {
            let now = self.endpoint.clock.now();
            for connection in self.sessions.iter() {
                connection.probe_new_path(now);
                self.dirty.push(connection.key);
            }
        }
        rebound
    }

    /// Ends the sessions as the listener or client endpoint requests.
    fn close_sessions(&mut self) {
        let Some(closing) = self.endpoint.mailbox.take_closing() else {
            return;
        };
        let now = self.endpoint.clock.now();
        for connection in self.sessions.iter() {
            match closing {
                Closing::Drain => connection.hasten(now),
                Closing::Reset(code) => connection.close(now, code),
            }
            self.dirty.push(connection.key);
        }
        if matches!(closing, Closing::Reset(_)) {
            self.closes_at.get_or_insert(now + LONGEST_CLOSE);
        }
    }

    /// Delivers the payloads that other sockets received for sessions of this driver.
    fn deliver_forwarded(&mut self) {
        for forwarded in self.endpoint.mailbox.drain_forwarded() {
            let now = self.endpoint.clock.now();
            Ingress::deliver_forwarded(now, forwarded, &mut self.sessions, &mut self.dirty);
        }
    }

    /// Whether the driver has no work left, now or later.
    fn is_done(&self) -> bool {
        let group = self.registry.group.as_ref();
        let ended = self.sessions.is_empty()
            && !self.endpoint.mailbox.is_held()
            && group.is_none_or(|(group, _)| group.is_empty());
        let now = self.endpoint.clock.now();
        ended || self.closes_at.is_some_and(|at| now >= at)
    }

    /// The given conversation, or a random one that the path has no session for.
    fn free_conversation(
        &self,
        path: Path,
        given: Option<ConversationId>,
    ) -> io::Result<ConversationId> {
        loop {
            let conversation = match given {
                Some(given) => given,
                None => ConversationId::new(u32::from_le_bytes(entropy()?)),
            };
            let taken = Destination::Conversation(conversation);
            if self.sessions.find(path, taken).is_none() {
                return Ok(conversation);
            }
            if given.is_some() {
                let reason = "a connection to the peer has this conversation id already";
                return Err(io::Error::new(io::ErrorKind::AddrInUse, reason));
            }
        }
    }

    /// Receives a bounded number of batches. Ready if more datagrams may be available, with an
    /// error if the transport is closed; pending if none are available or receiving pauses.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut blocks_left = 1;
        for _ in 0..MAX_RECEIVES_PER_POLL {
            if self.ingress.is_paused(self.endpoint.clock.now()) {
                return Poll::Pending;
            }
            ready!(self.endpoint.transport().poll_recv_ready(cx))?;
            let received =
                self.ingress
                    .receive(&self.registry, &mut self.sessions, &mut self.dirty);
            match received {
                Ok(()) => {
                    blocks_left = 2;
                    let _ = self.poll_transmit(cx);
                }
                // One would-block is normal if the transport then reports pending, and so is
                // another one before it where there were datagrams.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && blocks_left > 0 => {
                    blocks_left -= 1;
                }
                Err(error) => self.handle_receive_error(error)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Handles a receive error, which is counted. Only a closed transport ends the sessions.
    fn handle_receive_error(&mut self, error: io::Error) -> io::Result<()> {
        if is_closed(&error) {
            return Err(error);
        }
        tracing::trace!(%error, "receive failed");
        let now = self.endpoint.clock.now();
        self.ingress.stats.receive_errors += 1;
        self.ingress.on_failure(now);
        if error.kind() == io::ErrorKind::ConnectionRefused {
            for connection in self.sessions.iter() {
                connection.refused(now, false);
                self.dirty.push(connection.key);
            }
        }
        Ok(())
    }

    fn handle_named_refusals(&mut self) {
        let now = self.endpoint.clock.now();
        let transport = self.endpoint.transport();
        self.refusals
            .handle(now, &*transport, &self.sessions, &mut self.dirty);
    }

    /// Sends for each session on the dirty list, and removes sessions that have ended.
    ///
    /// Sessions with data left stay on the list. Pending while the socket is blocked.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.endpoint.poll_unblock(cx));
        let mut dirty = std::mem::take(&mut self.dirty);
        // A session with several runs in a row sends once.
        dirty.dedup();
        dirty.retain(|&key| {
            let Some(connection) = self.sessions.get(key) else {
                return false;
            };
            let done = connection.transmit_some();
            if connection.is_over() {
                self.sessions
                    .remove(&self.registry, key, self.endpoint.clock.now());
                return false;
            }
            !done
        });
        self.dirty = dirty;
        Poll::Ready(())
    }

    /// Handles the deadlines that have passed.
    fn handle_timers(&mut self, now: Time) {
        for (at, key) in self.deadlines.drain(..) {
            self.timers.arm(at, key);
        }
        let sessions = &self.sessions;
        self.timers.compact(sessions.len(), |at, key| {
            sessions.get(key).is_some_and(|it| it.is_armed(at))
        });
        while let Some((at, key)) = self.timers.pop_due(now) {
            let Some(connection) = self.sessions.get(key) else {
                continue;
            };
            if connection.expire(now, at).is_some() {
                self.dirty.push(key);
            }
        }
        if self.ingress.release(now) {
            self.endpoint.egress.shrink();
        }
    }

    /// Arms the timer for the earliest deadline. Ready if that deadline has passed.
    fn poll_sleep(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let spare = self.endpoint.egress.has_spares();
        let deadlines = [
            self.timers.next(),
            self.ingress.paused_until(),
            self.ingress.release_at(spare),
            self.refusals.due(),
            self.closes_at,
        ];
        let Some(next) = deadlines.into_iter().flatten().min() else {
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

    fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "transport is closed");
        self.finish(error.kind());
    }

    /// Ends everything: sessions that are left send a last reset, and the socket is closed.
    fn finish(&mut self, kind: io::ErrorKind) {
        let first = self.registry.end(kind);
        let now = self.endpoint.clock.now();
        for connection in self.sessions.drain() {
            connection.close(now, ResetCode::GOING_AWAY);
            connection.transmit_some();
            if let Some((group, _)) = &self.registry.group {
                group.remove(connection.path().peer, connection.conversation);
            }
            self.registry.closed(&connection);
            connection.release();
        }
        self.endpoint.close();
        if first {
            self.registry.idle.driver_ended();
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = &mut *self;
        let began = driver.endpoint.clock.now();
        let polled = driver.poll_rounds(cx);
        let worked = driver.endpoint.clock.now() - began;
        driver.ingress.stats.busy_micros += worked.as_micros() as u64;
        polled
    }
}

impl Driver {
    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self;
        for _ in 0..MAX_ROUNDS_PER_POLL {
            let received = driver.poll_receive(cx);
            if let Poll::Ready(Err(error)) = &received {
                driver.fail(error);
                return Poll::Ready(());
            }
            driver.handle_named_refusals();
            let drained =
                driver
                    .endpoint
                    .mailbox
                    .drain(cx, &mut driver.dirty, &mut driver.deadlines);
            if let Err(error) = &drained {
                driver.fail(error);
                return Poll::Ready(());
            }
            driver.open_requested();
            driver.relocate_sessions();
            let rebound = driver.probe_after_rebind();
            driver.deliver_forwarded();
            driver.close_sessions();
            driver.handle_timers(driver.endpoint.clock.now());
            let transmitted = driver.poll_transmit(cx);
            driver
                .endpoint
                .update_stats(|stats| *stats += std::mem::take(&mut driver.ingress.stats));
            if driver.is_done() {
                driver.finish(io::ErrorKind::NotConnected);
                return Poll::Ready(());
            }
            let more = transmitted.is_ready() && !driver.dirty.is_empty();
            // The waker is not registered with the new socket yet.
            let more = more || rebound;
            if received.is_pending() && !more && driver.poll_sleep(cx).is_pending() {
                return Poll::Pending;
            }
        }
        // Let other tasks of this thread run.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The runtime is shutting down, or the driver has panicked. No task may wait forever for it.
impl Drop for Driver {
    fn drop(&mut self) {
        self.finish(io::ErrorKind::ConnectionAborted);
    }
}

/// How long resets may be repeated when an endpoint closes. A path with a longer time-out than that
/// carries two of them.
const LONGEST_CLOSE: Duration = Duration::from_secs(3);

/// Receive calls between two rounds of timers and pending writes.
const MAX_RECEIVES_PER_POLL: usize = 8;

/// Rounds before the driver yields. A round with full buffers takes about a millisecond.
const MAX_ROUNDS_PER_POLL: usize = 4;
