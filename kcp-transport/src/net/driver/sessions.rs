//! The sessions of one socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use slab::Slab;

use crate::net::connection::Connection;
use crate::net::endpoint::SessionKey;
use crate::net::io::{Path, entropy};
use crate::net::sync::lock;
use crate::session::{Destination, Role, Session};
use crate::time::Time;
use crate::wire::ConversationId;

use super::demux::{DemuxTable, TimeWaitEntry, Tombstones};
use super::registry::Registry;

/// The side that opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Initiator {
    /// This side.
    Local(Role),
    /// A peer whose address may be forged.
    Peer,
    /// A peer with a validated address.
    ValidatedPeer,
}

impl Initiator {
    fn role(self) -> Role {
        match self {
            Self::Local(role) => role,
            Self::Peer | Self::ValidatedPeer => Role::Accept,
        }
    }
}

/// Sessions by slot, and by the address and conversation of their datagrams.
#[derive(Debug)]
pub(in crate::net) struct Sessions {
    connections: Slab<Entry>,
    table: DemuxTable,
    next_generation: u64,
    /// The number of `unvalidated` entries.
    unvalidated: usize,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    /// The peer opened the session, and its address is not validated yet.
    unvalidated: bool,
    /// Earlier addresses of the peer, oldest first.
    former: Vec<SocketAddr>,
}

impl Sessions {
    /// No sessions yet. Sessions that end or move leave entries in `tombstones`.
    pub(in crate::net) fn new(tombstones: Arc<Tombstones>) -> Self {
        Self {
            connections: Slab::new(),
            table: DemuxTable::new(tombstones),
            next_generation: 0,
            unvalidated: 0,
        }
    }

    /// Opens a session.
    pub(in crate::net) fn open(
        &mut self,
        registry: &Registry,
        now: Time,
        path: Path,
        conversation: ConversationId,
        initiator: Initiator,
    ) -> io::Result<Arc<Connection>> {
        let role = initiator.role();
        let seed = u128::from_le_bytes(entropy()?);
        let endpoint = &registry.endpoint;
        let config = &endpoint.config;
        let mut session = Session::new(config, endpoint.layout, conversation, role, seed, now);
        if initiator == Initiator::ValidatedPeer {
            session.accept_validated();
        }
        if role == Role::Accept && endpoint.listener.mirror_fec() {
            session.mirror_fec();
        }
        if endpoint.is_single() {
            session.set_alone();
        }
        let unvalidated = !session.is_validated();
        self.unvalidated += usize::from(unvalidated);
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
        entry.insert(Entry {
            connection: Arc::clone(&connection),
            unvalidated,
            former: Vec::new(),
        });
        registry.opened(&connection, role);
        self.table.insert(path.peer, conversation, key.slot);
        if let Some((group, shard)) = &registry.group {
            group.insert(path.peer, conversation, *shard);
        }
        if let Some(migration) = &registry.migration {
            migration.insert(&connection);
        }
        Ok(connection)
    }

    /// Removes a session and leaves a tombstone. Data that can still be read stays with its stream.
    pub(in crate::net) fn remove(&mut self, registry: &Registry, key: SessionKey, now: Time) {
        let entry = self.connections.remove(key.slot);
        self.unvalidated -= usize::from(entry.unvalidated);
        let connection = entry.connection;
        registry.closed(&connection);
        if let Some(migration) = &registry.migration {
            migration.remove(&connection);
        }
        let peer = connection.path().peer;
        let end = (connection.time_wait(), now);
        self.table
            .retire(peer, connection.conversation, key.slot, end);
        for former in entry.former {
            self.table.remember(former, connection.conversation, end);
        }
        connection.release();
        if let Some((group, _)) = &registry.group {
            group.remove(peer, connection.conversation);
        }
    }

    /// Moves a session to another path, on which it then receives and sends. Returns whether it was
    /// moved. It is not if the session has ended, or if another session has the same address and
    /// conversation.
    ///
    /// The caller has validated the path.
    pub(in crate::net) fn relocate(
        &mut self,
        registry: &Registry,
        now: Time,
        key: SessionKey,
        path: Path,
    ) -> bool {
        let Some(connection) = self.get(key).cloned() else {
            return false;
        };
        let (from, conversation) = (connection.path().peer, connection.conversation);
        let end = (connection.time_wait().elsewhere(), now);
        let moved = self
            .table
            .rename((from, path.peer), conversation, key.slot, end);
        if moved {
            connection.set_path(path);
            if from != path.peer {
                self.connections[key.slot].leave(from);
            }
            if let Some((group, shard)) = &registry.group {
                group.insert(path.peer, conversation, *shard);
                if from != path.peer {
                    group.remove(from, conversation);
                }
            }
        }
        moved
    }

    /// The session of a key, unless it was removed.
    pub(in crate::net) fn get(&self, key: SessionKey) -> Option<&Arc<Connection>> {
        self.at(key.slot).filter(|connection| connection.key == key)
    }

    /// The session in a slot.
    pub(in crate::net) fn at(&self, slot: usize) -> Option<&Arc<Connection>> {
        self.connections.get(slot).map(|entry| &entry.connection)
    }

    /// The slot of the session that receives a datagram from `path`.
    pub(in crate::net) fn find(&self, path: Path, destination: Destination) -> Option<usize> {
        match destination {
            Destination::Conversation(conversation) => self.table.find(path.peer, conversation),
            Destination::Parity => self.table.find_parity(path.peer),
            Destination::Malformed => None,
        }
    }

    /// Records that data arrived for the session in `slot`; parity that follows belongs to it.
    pub(in crate::net) fn note_active(&mut self, path: Path, slot: usize) {
        self.table.note_active(path.peer, slot);
    }

    /// Records that data arrived for a session of another socket; parity that follows is not for
    /// this one.
    pub(in crate::net) fn note_elsewhere(&mut self, path: Path) {
        self.table.note_elsewhere(path.peer);
    }

    /// The tombstone of a session that ended or moved away a short while ago.
    pub(in crate::net) fn time_wait(
        &self,
        path: Path,
        conversation: ConversationId,
        now: Time,
    ) -> Option<TimeWaitEntry> {
        self.table.time_wait(path.peer, conversation, now)
    }

    /// Updates the count of unvalidated sessions after the session in `slot` has received packets.
    pub(in crate::net) fn note_validation(&mut self, slot: usize) {
        if let Some(entry) = self.connections.get_mut(slot)
            && entry.unvalidated
            && lock(&entry.connection.inner).session.is_validated()
        {
            entry.unvalidated = false;
            self.unvalidated -= 1;
        }
    }

    /// The number of sessions with an unvalidated peer.
    pub(in crate::net) fn unvalidated(&self) -> usize {
        self.unvalidated
    }

    pub(in crate::net) fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.iter().map(|(_, entry)| &entry.connection)
    }

    pub(in crate::net) fn drain(&mut self) -> impl Iterator<Item = Arc<Connection>> {
        self.unvalidated = 0;
        self.connections.drain().map(|entry| entry.connection)
    }

    pub(in crate::net) fn len(&self) -> usize {
        self.connections.len()
    }

    pub(in crate::net) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}

impl Entry {
    /// Adds `from` to the earlier addresses.
    fn leave(&mut self, from: SocketAddr) {
        self.former.retain(|former| *former != from);
        if self.former.len() == MAX_FORMER {
            self.former.remove(0);
        }
        self.former.push(from);
    }
}

impl Connection {
    /// The tombstone for an address that the session leaves.
    fn time_wait(&self) -> TimeWaitEntry {
        TimeWaitEntry::new(lock(&self.inner).session.received_until())
    }
}

/// Earlier addresses that get a final tombstone when the session ends. Late packets from older
/// addresses are still answered from the tombstone that was made when the session moved.
const MAX_FORMER: usize = 4;
