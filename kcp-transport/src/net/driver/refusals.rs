//! Refusals that name their peers, handed on to the sessions with these peers.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::net::endpoint::SessionKey;
use crate::net::io::Transport;
use crate::time::Time;

use super::sessions::Sessions;

/// Peers that were reported and not handled yet.
///
/// All sessions are searched for them, so they are handled in groups: a flood of forged reports must not
/// cost a search each.
#[derive(Debug, Default)]
pub(super) struct NamedRefusals {
    peers: HashSet<SocketAddr>,
    handled_at: Option<Time>,
}

impl NamedRefusals {
    /// Collects what the transport knows, and passes it to the sessions if it is time to.
    pub(super) fn handle(
        &mut self,
        now: Time,
        transport: &dyn Transport,
        sessions: &Sessions,
        dirty: &mut Vec<SessionKey>,
    ) {
        let reported = transport.take_refusals().unwrap_or_default();
        let room = MAX_PEERS - self.peers.len();
        self.peers.extend(reported.into_iter().take(room));
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        self.handled_at = Some(now);
        let peers = std::mem::take(&mut self.peers);
        for connection in sessions.iter() {
            if peers.contains(&connection.path().peer) {
                connection.refused(now, true);
                dirty.push(connection.key);
            }
        }
    }

    /// When the collected refusals are to be handled, if there are any.
    pub(super) fn due(&self) -> Option<Time> {
        let due = self.handled_at.map_or(Time::ZERO, |at| at + INTERVAL);
        (!self.peers.is_empty()).then_some(due)
    }
}

/// The shortest time between two searches: several fit into the second after which refusals end a
/// session.
const INTERVAL: Duration = Duration::from_millis(50);

/// Peers that are kept until the next search. Those beyond are reported again, after their next
/// datagram.
const MAX_PEERS: usize = 64;
