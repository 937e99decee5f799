//! The connections of an endpoint, those that ended included, as numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::net::connection::Connection;
use crate::net::endpoint::SessionKey;
use crate::net::sync::lock;
use crate::session::Role;
use crate::stats::{EndpointStats, Stats};

/// Counts connections as they come and go.
#[derive(Debug, Default)]
pub(in crate::net) struct Census(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live: HashMap<SessionKey, Weak<Connection>>,
    /// What the connections that ended have left.
    ended: Stats,
    active_opens: u64,
    passive_opens: u64,
    max_connections: usize,
}

impl Census {
    pub(in crate::net) fn opened(&self, connection: &Arc<Connection>, role: Role) {
        let mut counts = lock(&self.0);
        match role {
            Role::Connect | Role::ConnectLazy => counts.active_opens += 1,
            Role::Accept => counts.passive_opens += 1,
        }
        let weak = Arc::downgrade(connection);
        counts.live.insert(connection.key, weak);
        counts.max_connections = counts.max_connections.max(counts.live.len());
    }

    pub(in crate::net) fn closed(&self, connection: &Connection) {
        let stats = connection.stats().counters_only();
        let mut counts = lock(&self.0);
        if counts.live.remove(&connection.key).is_some() {
            counts.ended += stats;
        }
    }

    /// Fills in what is counted here; leaves the rest alone.
    pub(in crate::net) fn stats_into(&self, stats: &mut EndpointStats) {
        let counts = lock(&self.0);
        stats.active_opens = counts.active_opens;
        stats.passive_opens = counts.passive_opens;
        stats.connections = counts.live.len();
        stats.max_connections = counts.max_connections;
    }

    /// The sum over all connections there are and were.
    pub(in crate::net) fn totals(&self) -> Stats {
        let (live, mut totals) = {
            let counts = lock(&self.0);
            let live: Vec<_> = counts.live.values().filter_map(Weak::upgrade).collect();
            (live, counts.ended)
        };
        for connection in live {
            totals += connection.stats();
        }
        totals
    }
}
