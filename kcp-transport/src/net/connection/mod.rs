//! One session, shared by its stream and its driver.

mod datagram_io;
mod handle;
mod memory;
mod message_io;
mod options;
mod readiness;
mod rebind;
mod stream_io;
mod transmit;

pub(super) use handle::Handle;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use tracing::Span;

use crate::config::Config;
use crate::error::{ConnectionError, ResetCode, SystemError};
use crate::session::{Session, State};
use crate::stats::Stats;
use crate::time::Time;
use crate::wire::{ConversationId, Token};

use super::endpoint::{Charge, Endpoint, Host, SessionKey};
use super::io::Path;
use super::sync::{Waiters, lock};
use memory::PER_SESSION;
use readiness::ReadinessWaiters;

/// A session behind its lock, beside fields that seldom or never change.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) endpoint: Arc<Endpoint>,
    path: Mutex<Path>,
    pub(super) conversation: ConversationId,
    pub(super) key: SessionKey,
    pub(super) charge: Charge,
    /// The span of all events of the session.
    span: Span,
    pub(super) inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) session: Session,
    /// The host of the peer, if there may be other connections to it.
    host: Option<Arc<Host>>,
    pub(super) reader: Option<Waker>,
    /// Waits for room in the send buffer, or for the end of a shutdown.
    pub(super) writer: Option<Waker>,
    /// Wait for out-of-band datagrams.
    pub(super) datagram_readers: Waiters,
    /// Made by the first task that waits for readiness.
    readiness: Option<Box<ReadinessWaiters>>,
    /// The options, if they have changed since the connection was opened with those of the endpoint.
    config: Option<Box<Config>>,
    /// The deadline at which the driver will wake the session.
    armed: Option<Time>,
    /// The session is queued for sending at the driver.
    deferred: bool,
    /// The reader waits for the first packet of the peer.
    connecting: bool,
}

/// Wakers to call after the lock is released.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Wakers {
    reader: Option<Waker>,
    writer: Option<Waker>,
    datagram_readers: Vec<Waker>,
    readiness: Vec<Waker>,
}

impl Wakers {
    pub(super) fn wake(self) {
        [self.reader, self.writer]
            .into_iter()
            .flatten()
            .chain(self.datagram_readers)
            .chain(self.readiness)
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
        let endpoint_side = if endpoint.accepts() {
            "server"
        } else {
            "client"
        };
        let inner = Inner {
            session,
            host: endpoint.host(path.peer),
            reader: None,
            writer: None,
            datagram_readers: Waiters::default(),
            readiness: None,
            config: None,
            armed: None,
            deferred: false,
            connecting,
        };
        Self {
            endpoint,
            path: Mutex::new(path),
            conversation,
            key,
            charge: Charge::new(budget, PER_SESSION),
            span: connection_span(path, conversation, endpoint_side),
            inner: Mutex::new(inner),
        }
    }

    /// The path on which the session sends and receives.
    pub(super) fn path(&self) -> Path {
        *lock(&self.path)
    }

    /// The local address as the peer sees it, as far as the system reports it.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut addr = self.endpoint.transport().local_addr()?;
        if let Some(ip) = self.path().local {
            addr.set_ip(ip);
        }
        Ok(addr)
    }

    /// The span of all events of the session.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Changes the path. Only the driver may call it, and must update its table too.
    pub(super) fn set_path(&self, path: Path) {
        *lock(&self.path) = path;
        let host = self.endpoint.host(path.peer);
        let mut inner = lock(&self.inner);
        inner.host = host;
        inner.session.handle_new_path();
    }

    /// The socket was replaced: the peer is to see the new address.
    pub(super) fn probe_new_path(&self, now: Time) {
        let mut inner = lock(&self.inner);
        inner.session.handle_new_path();
        inner.session.probe(now);
    }

    /// Passes a run of opened payloads to the session.
    pub(super) fn deliver<'a>(&self, now: Time, payloads: impl Iterator<Item = &'a [u8]>) -> State {
        let _span = self.span.enter();
        let mut inner = lock(&self.inner);
        inner.session.handle_datagrams(now, payloads);
        let state = inner.session.state();
        let wakers = inner.take_wakers();
        drop(inner);
        wakers.wake();
        state
    }

    /// Handles a deadline that has passed. Returns the state of the session, or `None` if the
    /// deadline is no longer armed.
    pub(super) fn expire(&self, now: Time, deadline: Time) -> Option<State> {
        let _span = self.span.enter();
        let mut inner = lock(&self.inner);
        if inner.armed != Some(deadline) {
            return None;
        }
        inner.armed = None;
        inner.session.handle_timeout(now);
        let state = inner.session.state();
        let is_idle = inner.session.is_shrunk();
        let wakers = inner.take_wakers();
        drop(inner);
        wakers.wake();
        if is_idle && self.endpoint.is_single() {
            // Each of many idle sockets would hold a batch.
            self.endpoint.egress.shrink();
        }
        Some(state)
    }

    /// Whether `at` is the armed deadline of the session.
    pub(super) fn is_armed(&self, at: Time) -> bool {
        lock(&self.inner).armed == Some(at)
    }

    /// A host refused datagrams. On a socket with other peers it is unknown whether it is this one's,
    /// unless the system has named it.
    pub(super) fn refused(&self, now: Time, is_named: bool) {
        let certain = is_named || self.endpoint.is_single();
        self.change(|session| {
            if certain || !session.is_heard() {
                session.handle_refused(now);
            }
        });
    }

    pub(super) fn unsent(&self, now: Time, error: SystemError) {
        self.change(|session| session.handle_send_error(now, error));
    }

    /// Gives up connecting after that time since the beginning, if the configuration does not before.
    pub(super) fn limit_connecting(&self, limit: Duration) {
        lock(&self.inner).session.limit_connecting(limit);
        // The driver learns of the deadline.
        self.defer();
    }

    /// Ends the session since the endpoint closes. The driver sends the reset.
    pub(super) fn close(&self, now: Time, code: ResetCode) {
        self.change(|session| session.close(now, code));
    }

    /// The endpoint closes once its sessions have ended.
    pub(super) fn hasten(&self, now: Time) {
        self.change(|session| session.hasten(now));
    }

    pub(super) fn abort(&self, error: ConnectionError) {
        self.change(|session| session.abort(error));
    }

    /// The token that the peer must send to migrate the session, if migration is enabled.
    pub(super) fn migration_token(&self) -> Option<Token> {
        lock(&self.inner).session.migration_token()
    }

    /// Resets the session.
    pub(super) fn reset(&self, code: ResetCode) {
        let now = self.endpoint.clock.now();
        self.change(|session| session.reset(now, code));
        self.transmit();
        // The driver repeats the reset and removes the session.
        self.defer();
    }

    /// Whether the session has ended and has nothing left to send.
    pub(super) fn is_over(&self) -> bool {
        lock(&self.inner).session.is_over()
    }

    /// Releases the session after its stream was dropped.
    pub(super) fn abandon(&self) {
        let now = self.endpoint.clock.now();
        self.change(|session| session.abandon(now));
        // The session may linger. The wakers of tasks that polled the stream are not kept with it.
        let idle = {
            let mut inner = lock(&self.inner);
            [inner.reader.take(), inner.writer.take()]
        };
        drop(idle);
        if self.is_over() {
            // Data that was not read has no reader any more.
            self.release();
        }
        self.defer();
    }

    fn change(&self, change: impl FnOnce(&mut Session)) {
        let _span = self.span.enter();
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
}

impl Inner {
    pub(super) fn check_writable(&self) -> io::Result<()> {
        match self.session.state() {
            State::Closed(error) => Err(end_error(error)),
            State::Draining | State::Drained | State::Lingering => Err(io::Error::new(
                io::ErrorKind::BrokenPipe,
                "stream was shut down for writing",
            )),
            State::Connecting | State::Established => Ok(()),
        }
    }

    /// The next deadline, if it is earlier than the one armed at the driver.
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
        let readiness = self.take_readiness();
        Wakers {
            readiness,
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

/// A span that names the connection. After a migration it still names the first address of the peer;
/// an event has the new one.
fn connection_span(path: Path, conversation: ConversationId, side: &'static str) -> Span {
    tracing::debug_span!("connection", side, peer = %path.peer, %conversation)
}

pub(super) fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// The error of a closed session. There is none if its own user dropped the stream, whose handles
/// then report `NotConnected`.
pub(super) fn end_error(error: Option<ConnectionError>) -> io::Error {
    error.map_or_else(|| io::ErrorKind::NotConnected.into(), io::Error::from)
}
