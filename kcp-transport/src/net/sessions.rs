//! The sessions of one socket.

use std::io;
use std::sync::Arc;

use slab::Slab;

use crate::session::{Destination, Role, Session};
use crate::time::Time;
use crate::wire::ConversationId;

use super::clock::entropy;
use super::endpoint::Endpoint;
use super::shared::Connection;
use super::table::Table;
use super::timers::SessionKey;
use super::transport::Path;

/// Sessions by their place, and by what datagrams call them.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    connections: Slab<Arc<Connection>>,
    table: Table,
    next_generation: u64,
}

impl Sessions {
    /// Opens a session.
    pub(super) fn open(
        &mut self,
        endpoint: &Arc<Endpoint>,
        now: Time,
        path: Path,
        conversation: ConversationId,
        role: Role,
    ) -> io::Result<Arc<Connection>> {
        let luck = u32::from_le_bytes(entropy()?);
        let config = &endpoint.config;
        let session = Session::new(config, endpoint.layout, conversation, role, luck, now);
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
        entry.insert(Arc::clone(&connection));
        endpoint.census.opened(&connection, role);
        self.table.insert(path.peer, conversation, key.slot);
        Ok(connection)
    }

    /// Forgets a session, but not that it was there.
    pub(super) fn remove(&mut self, key: SessionKey, now: Time) {
        let connection = self.connections.remove(key.slot);
        connection.endpoint.census.closed(&connection);
        let peer = connection.path().peer;
        self.table
            .bury(peer, connection.conversation, key.slot, now);
    }

    /// Moves a session to another path: it is found by that, and sends there. Returns whether it is
    /// there now; it stays where it was if it has ended, or if the new name is another's.
    ///
    /// The caller has made sure that the peer receives there.
    pub(super) fn relocate(&mut self, key: SessionKey, path: Path) -> bool {
        let Some(connection) = self.get(key).cloned() else {
            return false;
        };
        let (from, conversation) = (connection.path().peer, connection.conversation);
        let moved = self.table.rename(from, path.peer, conversation, key.slot);
        if moved {
            connection.set_path(path);
        }
        moved
    }

    /// The session of a key, unless it has ended.
    pub(super) fn get(&self, key: SessionKey) -> Option<&Arc<Connection>> {
        self.at(key.slot).filter(|connection| connection.key == key)
    }

    /// The session in a slot.
    pub(super) fn at(&self, slot: usize) -> Option<&Arc<Connection>> {
        self.connections.get(slot)
    }

    /// The slot of the session that a datagram from `path` is for.
    pub(super) fn find(&self, path: Path, destination: Destination) -> Option<usize> {
        match destination {
            Destination::Conversation(conversation) => self.table.find(path.peer, conversation),
            Destination::Parity => self.table.find_parity(path.peer),
            Destination::Malformed => None,
        }
    }

    /// Notes that data came for the session in `slot`: parity that follows is for it too.
    pub(super) fn note_active(&mut self, path: Path, slot: usize) {
        self.table.note_active(path.peer, slot);
    }

    /// Whether a session with this name ended a short while ago.
    pub(super) fn is_buried(
        &mut self,
        path: Path,
        conversation: ConversationId,
        now: Time,
    ) -> bool {
        self.table.is_buried(path.peer, conversation, now)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.connections.iter().map(|(_, connection)| connection)
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Arc<Connection>> {
        self.connections.drain()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}
