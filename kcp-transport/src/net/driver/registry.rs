//! What is known of the sessions of an endpoint, beside its driver.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::oneshot;

use crate::config::Extensions;
use crate::net::connection::{Connection, Handle};
use crate::net::endpoint::{Endpoint, SessionKey};
use crate::net::io::Path;
use crate::net::sync::lock;
use crate::session::Role;
use crate::stats::Stats;

use super::accept_queue::AcceptQueue;
use super::demux::{MigrationIndex, ShardGroup, Tombstones};

/// The sessions of an endpoint, as its driver and those who open, accept and count them share it.
#[derive(Debug)]
pub(in crate::net) struct Registry {
    pub(in crate::net) endpoint: Arc<Endpoint>,
    pub(in crate::net) accept_queue: Arc<AcceptQueue>,
    /// The listener's other sockets and this one's place among them, if it has several.
    pub(super) group: Option<(Arc<ShardGroup>, usize)>,
    /// The sessions of a listener that may move.
    pub(super) migration: Option<Arc<MigrationIndex>>,
    /// What is left of sessions that ended or moved.
    pub(super) tombstones: Arc<Tombstones>,
    /// Sessions that others ask for; `None` once there is no driver any more.
    requests: Mutex<Option<Vec<OpenRequest>>>,
    connections: Mutex<Connections>,
}

/// A session someone wants to open.
#[derive(Debug)]
pub(in crate::net) struct OpenRequest {
    pub(in crate::net) path: Path,
    pub(in crate::net) role: Role,
    pub(in crate::net) answer: oneshot::Sender<io::Result<Handle>>,
}

#[derive(Debug, Default)]
struct Connections {
    live: HashMap<SessionKey, Weak<Connection>>,
    /// What the connections that ended have left.
    ended: Stats,
}

impl Registry {
    /// That of an endpoint of its own.
    pub(in crate::net) fn new(endpoint: Arc<Endpoint>) -> Arc<Self> {
        let accept_queue = AcceptQueue::new(endpoint.config.backlog(), endpoint.accepts(), 1);
        let tombstones = Arc::new(Tombstones::new(1));
        Arc::new(Self::with(endpoint, Arc::new(accept_queue), tombstones))
    }

    /// Those of the endpoints of a listener, which have most in common.
    pub(in crate::net) fn listening(endpoints: Vec<Arc<Endpoint>>) -> Vec<Arc<Self>> {
        let Some(config) = endpoints.first().map(|endpoint| &endpoint.config) else {
            return Vec::new();
        };
        let accept_queue = Arc::new(AcceptQueue::new(config.backlog(), true, endpoints.len()));
        let tombstones = Arc::new(Tombstones::new(endpoints.len()));
        let group = (endpoints.len() > 1).then(|| Arc::new(ShardGroup::new(&endpoints)));
        let migration = (config.extensions() == Extensions::Migration)
            .then(|| Arc::new(MigrationIndex::default()));
        let registries = endpoints.into_iter().enumerate().map(|(shard, endpoint)| {
            let mut registry =
                Self::with(endpoint, Arc::clone(&accept_queue), Arc::clone(&tombstones));
            registry.group = group.clone().map(|group| (group, shard));
            registry.migration = migration.clone();
            Arc::new(registry)
        });
        registries.collect()
    }

    fn with(
        endpoint: Arc<Endpoint>,
        accept_queue: Arc<AcceptQueue>,
        tombstones: Arc<Tombstones>,
    ) -> Self {
        Self {
            endpoint,
            accept_queue,
            group: None,
            migration: None,
            tombstones,
            requests: Mutex::new(Some(Vec::new())),
            connections: Mutex::default(),
        }
    }

    /// Asks the driver for a session that speaks first; it answers even if its end is near.
    pub(in crate::net) fn request(&self, request: OpenRequest) {
        let refused = match &mut *lock(&self.requests) {
            Some(requests) => {
                requests.push(request);
                None
            }
            None => Some(request),
        };
        // Dropping it is the answer that nobody is there to give one.
        drop(refused);
        self.endpoint.mailbox.wake();
    }

    pub(super) fn drain_requests(&self) -> Vec<OpenRequest> {
        let mut requests = lock(&self.requests);
        requests.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes no more sessions, asked for or offered, and returns those nobody accepted. The driver
    /// looks again, since it may have nothing left to do.
    pub(in crate::net) fn release(&self) -> VecDeque<Arc<Connection>> {
        let queue = self.accept_queue.close();
        self.endpoint.mailbox.release();
        queue
    }

    /// The transport or the driver is gone.
    pub(super) fn end(&self, kind: io::ErrorKind) {
        let first = self.endpoint.mailbox.end(kind);
        let unanswered = lock(&self.requests).take();
        drop(unanswered);
        if first {
            self.accept_queue.end(kind);
        }
    }

    /// Counts a session that is open now.
    pub(super) fn opened(&self, connection: &Arc<Connection>, role: Role) {
        let mut connections = lock(&self.connections);
        let weak = Arc::downgrade(connection);
        connections.live.insert(connection.key, weak);
        let live = connections.live.len();
        self.endpoint.update_stats(|stats| {
            match role {
                Role::Connect | Role::ConnectLazy => stats.active_opens += 1,
                Role::Accept => stats.passive_opens += 1,
            }
            stats.connections = live;
            stats.max_connections = stats.max_connections.max(live);
        });
    }

    /// Counts a session that has ended.
    pub(super) fn closed(&self, connection: &Connection) {
        let stats = connection.stats().counters_only();
        let mut connections = lock(&self.connections);
        if connections.live.remove(&connection.key).is_some() {
            connections.ended += stats;
            let live = connections.live.len();
            self.endpoint.update_stats(|stats| stats.connections = live);
        }
    }

    /// The sum over all connections there are and were.
    pub(in crate::net) fn totals(&self) -> Stats {
        let (live, mut totals) = {
            let connections = lock(&self.connections);
            let live: Vec<_> = connections
                .live
                .values()
                .filter_map(Weak::upgrade)
                .collect();
            (live, connections.ended)
        };
        for connection in live {
            totals += connection.stats();
        }
        totals
    }
}
