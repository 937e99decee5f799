//! Work that sessions, streams and other drivers leave to the driver of an endpoint.

use std::io;
use std::sync::Mutex;
use std::task::{Context, Waker};

use crate::error::ResetCode;
use crate::net::io::Path;
use crate::net::sync::lock;
use crate::time::Time;

use super::SessionKey;

/// Pending work for a driver, and the waker of its task.
#[derive(Debug)]
pub(in crate::net) struct Mailbox(Mutex<Pending>);

/// Work that waits for the driver.
#[derive(Debug, Default)]
struct Pending {
    dirty: Vec<SessionKey>,
    deadlines: Vec<(Time, SessionKey)>,
    /// Sessions to migrate to a path that has been validated.
    moved: Vec<(SessionKey, Path)>,
    /// The socket has been replaced.
    rebound: bool,
    /// Opened payloads that another socket of the listener received.
    forwarded: Vec<(Path, Vec<u8>)>,
    /// A listener or client endpoint may still open or accept sessions.
    held: bool,
    /// How far the end of the endpoint has been passed on to its sessions.
    closing: Option<Closing>,
    /// The reason why the driver has ended.
    ended: Option<io::ErrorKind>,
    /// The error by which a call of another task found the transport closed.
    closed: Option<io::ErrorKind>,
    waker: Option<Waker>,
}

/// How an endpoint ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Closing {
    /// Once its sessions have ended by themselves.
    Drain,
    /// At once: they are reset with this code.
    Reset(ResetCode),
}

impl Mailbox {
    /// No work yet. A `held` driver continues while it has no sessions.
    pub(super) fn new(held: bool) -> Self {
        Self(Mutex::new(Pending {
            held,
            ..Pending::default()
        }))
    }

    pub(in crate::net) fn defer(&self, key: SessionKey) {
        self.notify(|pending| pending.dirty.push(key));
    }

    pub(in crate::net) fn arm(&self, at: Time, key: SessionKey) {
        self.notify(|pending| pending.deadlines.push((at, key)));
    }

    /// Requests migration of a session to a validated path.
    pub(in crate::net) fn relocate(&self, key: SessionKey, path: Path) {
        self.notify(|pending| pending.moved.push((key, path)));
    }

    pub(in crate::net) fn drain_moved(&self) -> Vec<(SessionKey, Path)> {
        std::mem::take(&mut lock(&self.0).moved)
    }

    /// Forwards a payload that another socket received. Returns whether there was room for it.
    pub(in crate::net) fn forward(&self, path: Path, payload: &[u8]) -> bool {
        let mut taken = false;
        self.notify(|pending| {
            taken = pending.forwarded.len() < MAX_FORWARDED && pending.ended.is_none();
            if taken {
                pending.forwarded.push((path, payload.to_vec()));
            }
        });
        taken
    }

    pub(in crate::net) fn drain_forwarded(&self) -> Vec<(Path, Vec<u8>)> {
        std::mem::take(&mut lock(&self.0).forwarded)
    }

    /// The socket has been replaced.
    pub(super) fn note_rebound(&self) {
        self.notify(|pending| pending.rebound = true);
    }

    /// Whether the socket has been replaced since the last call.
    pub(in crate::net) fn take_rebound(&self) -> bool {
        std::mem::take(&mut lock(&self.0).rebound)
    }

    /// Wakes the driver.
    pub(in crate::net) fn wake(&self) {
        self.notify(|_| {});
    }

    /// The driver no longer needs to wait for more sessions. It is woken, since it may have nothing
    /// left to do.
    pub(in crate::net) fn release(&self) {
        self.notify(|pending| pending.held = false);
    }

    /// Ends the endpoint. A reset replaces a drain that the driver has not seen yet.
    pub(in crate::net) fn end_sessions(&self, closing: Closing) {
        self.notify(|pending| {
            pending.held = false;
            if !matches!(pending.closing, Some(Closing::Reset(_))) {
                pending.closing = Some(closing);
            }
        });
    }

    /// How the endpoint is to end, if that is new.
    pub(in crate::net) fn take_closing(&self) -> Option<Closing> {
        lock(&self.0).closing.take()
    }

    /// Whether a listener or client endpoint may still open or accept sessions.
    pub(in crate::net) fn is_held(&self) -> bool {
        lock(&self.0).held
    }

    /// The transport is closed.
    pub(in crate::net) fn close(&self, kind: io::ErrorKind) {
        self.notify(|pending| pending.closed = Some(kind));
    }

    /// Moves the pending work to the lists of the driver, and registers its waker.
    ///
    /// # Errors
    ///
    /// A call of another task found the transport closed.
    pub(in crate::net) fn drain(
        &self,
        cx: &Context<'_>,
        dirty: &mut Vec<SessionKey>,
        deadlines: &mut Vec<(Time, SessionKey)>,
    ) -> io::Result<()> {
        let mut pending = lock(&self.0);
        dirty.append(&mut pending.dirty);
        deadlines.append(&mut pending.deadlines);
        pending.waker = Some(cx.waker().clone());
        pending.closed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// Records that the transport is closed or the driver has ended. Returns whether this is the
    /// first reason. The first reason is the one to report: the end of the driver follows that of
    /// its transport.
    pub(in crate::net) fn end(&self, kind: io::ErrorKind) -> bool {
        let mut first = false;
        self.notify(|pending| {
            pending.held = false;
            first = pending.ended.is_none();
            pending.ended.get_or_insert(kind);
        });
        first
    }

    /// Why the driver has ended, if it has.
    pub(in crate::net) fn ended(&self) -> Option<io::ErrorKind> {
        lock(&self.0).ended
    }

    fn notify(&self, change: impl FnOnce(&mut Pending)) {
        let waker = {
            let mut pending = lock(&self.0);
            change(&mut pending);
            pending.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The largest number of forwarded payloads: those of a few receive calls. More are dropped, as by
/// a full socket buffer.
const MAX_FORWARDED: usize = 256;
