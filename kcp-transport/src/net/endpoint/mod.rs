//! What the driver of a socket and the streams on it share.

mod budget;
mod egress;
mod key;
mod replay;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use tokio::sync::oneshot;

use crate::config::{Config, Extensions};
use crate::crypto::Security;
use crate::packet::{Opener, PacketLayout, Sealer};
use crate::session::Role;
use crate::stats::EndpointStats;
use crate::time::Time;

use self::egress::Outbox;
use self::replay::Replays;
use super::connection::Connection;
use super::driver::accept_queue::{Admission, Backlog};
use super::driver::demux::{Group, Roaming, Tombstones};
use super::driver::registry::Census;
use super::io::{Clock, Movable, Path, Socket, Transport, entropy};
use super::stream::KcpStream;
use super::sync::lock;

pub(super) use self::budget::{Budget, Charge};
pub(super) use self::key::SessionKey;

/// A transport with its cipher, and the mailboxes between its driver and everyone else.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) transport: Arc<dyn Transport>,
    /// The transport, if it is a socket of ours that another may take the place of.
    movable: Option<Arc<Movable>>,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) layout: PacketLayout,
    pub(super) opener: Opener,
    /// What replayed packets are told by.
    pub(super) replays: Arc<Replays>,
    pub(super) census: Census,
    purpose: Purpose,
    pub(super) sealer: Sealer,
    inbox: Mutex<Inbox>,
    pub(super) outbox: Mutex<Outbox>,
    pub(super) backlog: Arc<Backlog>,
    /// The listener's other sockets and this one's place among them, if it has several.
    pub(super) group: Option<(Arc<Group>, usize)>,
    /// The sessions of a listener that may move.
    pub(super) roaming: Option<Arc<Roaming>>,
    /// What is left of sessions that ended or moved.
    pub(super) tombstones: Arc<Tombstones>,
    /// What the sessions of a listener may hold.
    pub(super) budget: Option<Arc<Budget>>,
    pub(super) stats: Mutex<EndpointStats>,
}

/// What others ask of the driver.
#[derive(Debug, Default)]
struct Inbox {
    dirty: Vec<SessionKey>,
    deadlines: Vec<(Time, SessionKey)>,
    asked: Vec<Ask>,
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

    /// An endpoint on a socket that another may take the place of.
    pub(super) fn on_socket(
        socket: Socket,
        security: &Security,
        config: &Config,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let movable = Arc::new(Movable::new(socket));
        let transport = Arc::clone(&movable) as Arc<dyn Transport>;
        let mut endpoint = Self::new(transport, security, config, purpose)?;
        endpoint.movable = Some(movable);
        Ok(endpoint)
    }

    /// Goes on with the socket that `open` makes, and lets all sessions say something from there.
    ///
    /// # Errors
    ///
    /// The transport is not a socket of ours, there is no driver any more, and what `open` says.
    pub(super) fn rebind(&self, open: impl FnOnce() -> io::Result<Socket>) -> io::Result<()> {
        let Some(movable) = &self.movable else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "only connections on a socket that they made themselves can move to another",
            ));
        };
        if let Some(kind) = self.ended() {
            return Err(kind.into());
        }
        movable.replace(open()?);
        self.notify(|inbox| inbox.rebound = true);
        Ok(())
    }

    /// Whether there is another socket than before.
    pub(super) fn take_rebound(&self) -> bool {
        std::mem::take(&mut lock(&self.inbox).rebound)
    }

    /// The endpoints of a listener, one for each transport.
    pub(super) fn listening(
        transports: Vec<Arc<dyn Transport>>,
        security: &Security,
        config: &Config,
    ) -> io::Result<Vec<Arc<Self>>> {
        let sealer = Sealer::new(security, entropy()?);
        let replays = Arc::new(Replays::new(&sealer, Purpose::Accept, transports.len()));
        let backlog = Arc::new(Backlog::new(config.backlog(), true, transports.len()));
        let layout = config.layout(security.overhead())?;
        let budget = Arc::new(Budget::new(config.memory_budget()));
        let tombstones = Arc::new(Tombstones::new(transports.len()));
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
                endpoint.replays = Arc::clone(&replays);
                endpoint.budget = Some(Arc::clone(&budget));
                endpoint.roaming = roaming.clone();
                endpoint.tombstones = Arc::clone(&tombstones);
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
        (config, layout): (&Config, PacketLayout),
        purpose: Purpose,
    ) -> Self {
        Self {
            transport,
            movable: None,
            clock: Clock::start(),
            config: config.clone(),
            layout,
            opener: sealer.opener(),
            replays: Arc::new(Replays::new(&sealer, purpose, 1)),
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
            tombstones: Arc::new(Tombstones::new(1)),
            budget: None,
            stats: Mutex::default(),
        }
    }

    /// Whether it is there for a single session.
    pub(super) fn is_of_one(&self) -> bool {
        self.purpose == Purpose::One
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

    pub(super) fn close(&self, kind: io::ErrorKind) {
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
}

/// Payloads that wait to be handed on: a few receive calls' worth. What is beyond that is lost, as
/// in a socket's buffer.
const MAX_FORWARDED: usize = 256;
