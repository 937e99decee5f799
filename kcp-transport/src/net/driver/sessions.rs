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

/// Who opens a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Initiator {
    /// This side.
    Local(Role),
    /// A peer whose address may be forged.
    Peer,
    /// A peer that has proved its address.
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

/// Sessions by their place, and by what datagrams call them.
#[derive(Debug)]
pub(in crate::net) struct Sessions {
    connections: Slab<Entry>,
    table: DemuxTable,
    next_generation: u64,
    /// How many entries are `unvalidated`.
    unvalidated: usize,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    /// The peer opened the session and has not been seen to receive what we send.
    unvalidated: bool,
    /// Where the peer was before, most lately last.
    former: Vec<SocketAddr>,
}

impl Sessions {
    /// No sessions yet; what is left of those that end or move goes to `tombstones`.
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

    /// Forgets a session, but not that it was there. Of its memory, what can still be read stays
    /// with its stream.
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

    /// Moves a session to another path: it is found by that, and sends there. Returns whether it is
    /// there now; it stays where it was if it has ended, or if the new name is another's.
    ///
    /// The caller has made sure that the peer receives there.
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

    /// The session of a key, unless it has ended.
    pub(in crate::net) fn get(&self, key: SessionKey) -> Option<&Arc<Connection>> {
        self.at(key.slot).filter(|connection| connection.key == key)
    }

    /// The session in a slot.
    pub(in crate::net) fn at(&self, slot: usize) -> Option<&Arc<Connection>> {
        self.connections.get(slot).map(|entry| &entry.connection)
    }

    /// The slot of the session that a datagram from `path` is for.
    pub(in crate::net) fn find(&self, path: Path, destination: Destination) -> Option<usize> {
        match destination {
            Destination::Conversation(conversation) => self.table.find(path.peer, conversation),
            Destination::Parity => self.table.find_parity(path.peer),
            Destination::Malformed => None,
        }
    }

    /// Notes that data came for the session in `slot`: parity that follows is for it too.
    pub(in crate::net) fn note_active(&mut self, path: Path, slot: usize) {
        self.table.note_active(path.peer, slot);
    }

    /// Notes that data came for a session at another socket: parity that follows is not for ours.
    pub(in crate::net) fn note_elsewhere(&mut self, path: Path) {
        self.table.note_elsewhere(path.peer);
    }

    /// What is left of a session with this name, if one ended a short while ago.
    pub(in crate::net) fn time_wait(
        &self,
        path: Path,
        conversation: ConversationId,
        now: Time,
    ) -> Option<TimeWaitEntry> {
        self.table.time_wait(path.peer, conversation, now)
    }

    /// Something came for the session in `slot`: it may have proved the peer's address.
    pub(in crate::net) fn note_validation(&mut self, slot: usize) {
        if let Some(entry) = self.connections.get_mut(slot)
            && entry.unvalidated
            && lock(&entry.connection.inner).session.is_validated()
        {
            entry.unvalidated = false;
            self.unvalidated -= 1;
        }
    }

    /// How many sessions have a peer that proved nothing yet.
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
    /// The peer is no longer at `from`.
    fn leave(&mut self, from: SocketAddr) {
        self.former.retain(|former| *former != from);
        if self.former.len() == MAX_FORMER {
            self.former.remove(0);
        }
        self.former.push(from);
    }
}

impl Connection {
    /// What is remembered of the session under a name that it gives up.
    fn time_wait(&self) -> TimeWaitEntry {
        TimeWaitEntry::new(lock(&self.inner).session.received_until())
    }
}

/// Addresses of which the peer is told how the session ended. Of those before, whatever comes late
/// is answered as when the session left them.
const MAX_FORMER: usize = 4;
