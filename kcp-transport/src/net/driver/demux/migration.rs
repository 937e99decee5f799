//! Sessions that follow their peers to other addresses.
//!
//! A client whose address changes, or that of the NAT in front of it, goes on sending from there.
//! Its datagrams have no session at the new address. If there is one elsewhere with the same
//! conversation that may move, whoever sent them is challenged: a number that only the receiver at
//! that address learns must come back with the session's secret token. So neither a forged source
//! address nor a guessed conversation moves a session. As with [`crate::net::driver::admission::cookie`], nothing is kept
//! between challenge and response.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::crypto::constant_time_eq;
use crate::net::connection::Connection;
use crate::net::sync::lock;
use crate::wire::{ConversationId, Token};

/// The sessions of a listener, on all of its sockets, by conversation alone.
#[derive(Debug, Default)]
pub(in crate::net) struct MigrationIndex {
    sessions: Mutex<HashMap<ConversationId, Vec<Weak<Connection>>>>,
}

impl MigrationIndex {
    pub(in crate::net) fn insert(&self, connection: &Arc<Connection>) {
        let mut sessions = lock(&self.sessions);
        let candidates = sessions.entry(connection.conversation).or_default();
        candidates.push(Arc::downgrade(connection));
    }

    pub(in crate::net) fn remove(&self, connection: &Arc<Connection>) {
        let mut sessions = lock(&self.sessions);
        if let Some(candidates) = sessions.get_mut(&connection.conversation) {
            candidates.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(connection)));
            if candidates.is_empty() {
                sessions.remove(&connection.conversation);
            }
        }
    }

    /// Whether a session of this name may move.
    pub(in crate::net) fn may_move(&self, conversation: ConversationId) -> bool {
        let candidates = self.candidates(conversation);
        candidates.iter().any(|it| it.migration_token().is_some())
    }

    /// The session of this name that has this token.
    pub(in crate::net) fn find(
        &self,
        conversation: ConversationId,
        tag: Token,
    ) -> Option<Arc<Connection>> {
        let matches = |connection: &Arc<Connection>| {
            connection.migration_token().is_some_and(|token| {
                constant_time_eq(&token.get().to_le_bytes(), &tag.get().to_le_bytes())
            })
        };
        self.candidates(conversation).into_iter().find(matches)
    }

    /// Copied, so that no session is locked under the lock of all.
    fn candidates(&self, conversation: ConversationId) -> Vec<Arc<Connection>> {
        let sessions = lock(&self.sessions);
        let candidates = sessions.get(&conversation).into_iter().flatten();
        candidates
            .filter_map(Weak::upgrade)
            .take(MAX_CANDIDATES)
            .collect()
    }
}

/// Sessions of one name that are looked at for a datagram. Random names meet once in thousands of
/// millions; who gives all clients the same one gives up that most of them can move.
const MAX_CANDIDATES: usize = 8;
