//! Sessions whose peers move to other addresses.
//!
//! When the address of a client or of its NAT changes, its datagrams arrive from an address without
//! a session. If a session with the same conversation id may migrate, the sender is challenged: it
//! must return a number, which only the host at that address receives, together with the secret
//! token of the session. So neither a forged source address nor a guessed conversation id moves a
//! session. As with the cookies of [`admission`](crate::net::driver::admission), no state is kept
//! between challenge and response.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use crate::crypto::constant_time_eq;
use crate::net::connection::Connection;
use crate::net::sync::lock;
use crate::wire::{ConversationId, Token};

/// The sessions of a listener, on all of its sockets, by conversation id alone.
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

    /// Whether a session with this conversation id may migrate.
    pub(in crate::net) fn may_move(&self, conversation: ConversationId) -> bool {
        let candidates = self.candidates(conversation);
        candidates.iter().any(|it| it.migration_token().is_some())
    }

    /// The session with this conversation id and token.
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

    /// Copies the list, so that no session is locked while the index is locked.
    fn candidates(&self, conversation: ConversationId) -> Vec<Arc<Connection>> {
        let sessions = lock(&self.sessions);
        let candidates = sessions.get(&conversation).into_iter().flatten();
        candidates
            .filter_map(Weak::upgrade)
            .take(MAX_CANDIDATES)
            .collect()
    }
}

/// Sessions with one conversation id that are checked for a datagram. Random ids collide about once
/// in 2^32. Clients that all use one fixed id cannot be told apart after a move.
const MAX_CANDIDATES: usize = 8;
