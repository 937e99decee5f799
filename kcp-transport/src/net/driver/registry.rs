//! The registry of sessions that a driver shares with other tasks.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::oneshot;

use crate::config::Extensions;
use crate::error::ResetCode;
use crate::net::connection::{Connection, Handle};
use crate::net::endpoint::{Closing, Endpoint, SessionKey};
use crate::net::io::Path;
use crate::net::sync::lock;
use crate::session::Role;
use crate::stats::Stats;
use crate::wire::ConversationId;

use super::accept_queue::AcceptQueue;
use super::demux::{MigrationIndex, ShardGroup, Tombstones};
use super::idle::Idle;

/// The sessions of an endpoint: accepted, requested, moved and counted. The driver shares it with
/// the listener or client endpoint.
#[derive(Debug)]
pub(in crate::net) struct Registry {
    pub(in crate::net) endpoint: Arc<Endpoint>,
    pub(in crate::net) accept_queue: Arc<AcceptQueue>,
    /// Shared by the sockets of a listener.
    pub(in crate::net) idle: Arc<Idle>,
    /// The sockets of the listener and the index of this one, if there are several.
    pub(super) group: Option<(Arc<ShardGroup>, usize)>,
    /// The sessions of a listener that may migrate.
    pub(super) migration: Option<Arc<MigrationIndex>>,
    /// Tombstones of sessions that ended or moved.
    pub(super) tombstones: Arc<Tombstones>,
    /// Sessions that clients want to open; `None` once the driver has ended.
    requests: Mutex<Option<Vec<OpenRequest>>>,
    connections: Mutex<Connections>,
}

/// A request to open a session.
#[derive(Debug)]
pub(in crate::net) struct OpenRequest {
    pub(in crate::net) path: Path,
    pub(in crate::net) role: Role,
    /// Random if there is none.
    pub(in crate::net) conversation: Option<ConversationId>,
    pub(in crate::net) answer: oneshot::Sender<io::Result<Handle>>,
}

#[derive(Debug, Default)]
struct Connections {
    live: HashMap<SessionKey, Weak<Connection>>,
    /// The sum of the counters of closed connections.
    ended: Stats,
}

impl Registry {
    /// The registry of a single endpoint.
    pub(in crate::net) fn new(endpoint: Arc<Endpoint>) -> Arc<Self> {
        let accept_queue = AcceptQueue::new(endpoint.listener.backlog(), endpoint.accepts(), 1);
        let tombstones = Arc::new(Tombstones::new(1));
        let idle = Arc::new(Idle::new(1));
        Arc::new(Self::with(
            endpoint,
            Arc::new(accept_queue),
            idle,
            tombstones,
        ))
    }

    /// The registries of the endpoints of a listener, which share most of their parts.
    pub(in crate::net) fn listening(endpoints: Vec<Arc<Endpoint>>) -> Vec<Arc<Self>> {
        let Some(first) = endpoints.first() else {
            return Vec::new();
        };
        let (config, most) = (&first.config, first.listener.backlog());
        let accept_queue = Arc::new(AcceptQueue::new(most, true, endpoints.len()));
        let idle = Arc::new(Idle::new(endpoints.len()));
        let tombstones = Arc::new(Tombstones::new(endpoints.len()));
        let group = (endpoints.len() > 1).then(|| Arc::new(ShardGroup::new(&endpoints)));
        let migration = (config.extensions() == Extensions::Migration)
            .then(|| Arc::new(MigrationIndex::default()));
        let registries = endpoints.into_iter().enumerate().map(|(shard, endpoint)| {
            let queue = Arc::clone(&accept_queue);
            let mut registry =
                Self::with(endpoint, queue, Arc::clone(&idle), Arc::clone(&tombstones));
            registry.group = group.clone().map(|group| (group, shard));
            registry.migration = migration.clone();
            Arc::new(registry)
        });
        registries.collect()
    }

    fn with(
        endpoint: Arc<Endpoint>,
        accept_queue: Arc<AcceptQueue>,
        idle: Arc<Idle>,
        tombstones: Arc<Tombstones>,
    ) -> Self {
        Self {
            endpoint,
            accept_queue,
            idle,
            group: None,
            migration: None,
            tombstones,
            requests: Mutex::new(Some(Vec::new())),
            connections: Mutex::default(),
        }
    }

    /// Requests a session from the driver. The request is dropped if the driver has ended.
    pub(in crate::net) fn request(&self, request: OpenRequest) {
        let refused = match &mut *lock(&self.requests) {
            Some(requests) => {
                requests.push(request);
                None
            }
            None => Some(request),
        };
        // Dropping the sender fails the request. It is dropped outside of the lock.
        drop(refused);
        self.endpoint.mailbox.wake();
    }

    pub(super) fn drain_requests(&self) -> Vec<OpenRequest> {
        let mut requests = lock(&self.requests);
        requests.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Refuses further sessions, and ends those there are. The driver ends with the last one.
    pub(in crate::net) fn close(&self, closing: Closing) {
        self.idle.close();
        let unanswered = lock(&self.requests).take();
        drop(unanswered);
        self.stop_accepting();
        self.endpoint.mailbox.end_sessions(closing);
    }

    /// Refuses further sessions, and resets those that were not accepted. The driver ends with the
    /// last session.
    pub(in crate::net) fn stop_accepting(&self) {
        for connection in self.accept_queue.close() {
            connection.reset(ResetCode::GOING_AWAY);
            drop(Handle(connection));
        }
        self.endpoint.mailbox.release();
    }

    /// Records that the transport is closed or the driver has ended, and fails all requests. Returns
    /// whether this is the first reason.
    pub(super) fn end(&self, kind: io::ErrorKind) -> bool {
        let first = self.endpoint.mailbox.end(kind);
        let unanswered = lock(&self.requests).take();
        drop(unanswered);
        if first {
            self.accept_queue.end(kind);
        }
        first
    }

    /// Counts a session that opens.
    pub(super) fn opened(&self, connection: &Arc<Connection>, role: Role) {
        self.idle.session_opened();
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
            drop(connections);
            self.idle.session_closed();
        }
    }

    /// The sum of the counters of all connections, open and closed.
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
