//! What sessions, their streams and the drivers of other sockets leave to the driver of an endpoint.

use std::io;
use std::sync::Mutex;
use std::task::{Context, Waker};

use crate::net::io::Path;
use crate::net::sync::lock;
use crate::time::Time;

use super::SessionKey;

/// Work for a driver, and the waker that tells it so.
#[derive(Debug)]
pub(in crate::net) struct Mailbox(Mutex<Pending>);

/// What others ask of the driver.
#[derive(Debug, Default)]
struct Pending {
    dirty: Vec<SessionKey>,
    deadlines: Vec<(Time, SessionKey)>,
    /// Sessions whose peers were proved to be elsewhere.
    moved: Vec<(SessionKey, Path)>,
    /// The transport is another socket than before.
    rebound: bool,
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

impl Mailbox {
    /// Nothing to do yet. While it is `held`, the driver goes on without sessions too.
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

    /// Asks the driver to move a session to another path, where its peer was proved to receive.
    pub(in crate::net) fn relocate(&self, key: SessionKey, path: Path) {
        self.notify(|pending| pending.moved.push((key, path)));
    }

    pub(in crate::net) fn drain_moved(&self) -> Vec<(SessionKey, Path)> {
        std::mem::take(&mut lock(&self.0).moved)
    }

    /// Hands on a payload that came in at another socket. Returns whether it was taken.
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

    /// The transport is another socket than before.
    pub(super) fn note_rebound(&self) {
        self.notify(|pending| pending.rebound = true);
    }

    /// Whether there is another socket than before.
    pub(in crate::net) fn take_rebound(&self) -> bool {
        std::mem::take(&mut lock(&self.0).rebound)
    }

    /// Lets the driver look again.
    pub(in crate::net) fn wake(&self) {
        self.notify(|_| {});
    }

    /// Nobody wants more sessions. The driver looks again, since it may have nothing left to do.
    pub(in crate::net) fn release(&self) {
        self.notify(|pending| pending.held = false);
    }

    /// Whether someone may want more sessions.
    pub(in crate::net) fn is_held(&self) -> bool {
        lock(&self.0).held
    }

    /// The transport is closed.
    pub(in crate::net) fn close(&self, kind: io::ErrorKind) {
        self.notify(|pending| pending.closed = Some(kind));
    }

    /// Moves what others asked for to the driver's own lists, and registers the driver for more.
    ///
    /// # Errors
    ///
    /// Someone found the transport closed.
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

    /// The transport or the driver is gone. Returns whether this is the first reason, which is the
    /// one to tell: after that of the transport comes the driver's own end.
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

    fn notify(&self, ask: impl FnOnce(&mut Pending)) {
        let waker = {
            let mut pending = lock(&self.0);
            ask(&mut pending);
            pending.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Payloads that wait to be handed on: a few receive calls' worth. What is beyond that is lost, as
/// in a socket's buffer.
const MAX_FORWARDED: usize = 256;
