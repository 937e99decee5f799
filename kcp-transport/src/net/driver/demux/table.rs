//! The sessions of one socket by address and conversation id.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::time::Time;
use crate::wire::ConversationId;

use super::tombstones::{TimeWaitEntry, Tombstones};

/// Open sessions by address and conversation id, and the tombstones of those that ended or moved.
#[derive(Debug)]
pub(in crate::net) struct DemuxTable {
    sessions: HashMap<(SocketAddr, ConversationId), usize>,
    /// The session of each address for which data arrived last: parity from the address belongs to
    /// it.
    latest: HashMap<SocketAddr, usize>,
    tombstones: Arc<Tombstones>,
}

impl DemuxTable {
    pub(in crate::net) fn new(tombstones: Arc<Tombstones>) -> Self {
        Self {
            sessions: HashMap::new(),
            latest: HashMap::new(),
            tombstones,
        }
    }

    pub(in crate::net) fn find(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
    ) -> Option<usize> {
        self.sessions.get(&(peer, conversation)).copied()
    }

    /// The session that receives parity from `peer`.
    pub(in crate::net) fn find_parity(&self, peer: SocketAddr) -> Option<usize> {
        self.latest.get(&peer).copied()
    }

    /// Records that data arrived for the session in `slot`.
    pub(in crate::net) fn note_active(&mut self, peer: SocketAddr, slot: usize) {
        self.latest.insert(peer, slot);
    }

    /// Records that data arrived for a session of another socket.
    pub(in crate::net) fn note_elsewhere(&mut self, peer: SocketAddr) {
        self.latest.remove(&peer);
    }

    pub(in crate::net) fn insert(
        &mut self,
        peer: SocketAddr,
        conversation: ConversationId,
        slot: usize,
    ) {
        self.sessions.insert((peer, conversation), slot);
    }

    /// Moves a session to another address, unless a session with the same conversation id is there.
    ///
    /// A tombstone stays at the old address, so that late packets from there open no session. If
    /// the session returns, its entry is found before the tombstone.
    pub(in crate::net) fn rename(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        conversation: ConversationId,
        slot: usize,
        end: (TimeWaitEntry, Time),
    ) -> bool {
        if from == to {
            return true;
        }
        if self.sessions.contains_key(&(to, conversation)) {
            return false;
        }
        self.retire(from, conversation, slot, end);
        self.sessions.insert((to, conversation), slot);
        true
    }

    /// Removes a session and leaves a tombstone.
    pub(in crate::net) fn retire(
        &mut self,
        peer: SocketAddr,
        conversation: ConversationId,
        slot: usize,
        end: (TimeWaitEntry, Time),
    ) {
        self.sessions.remove(&(peer, conversation));
        if self.latest.get(&peer) == Some(&slot) {
            self.latest.remove(&peer);
        }
        self.remember(peer, conversation, end);
    }

    /// Adds or replaces a tombstone.
    pub(in crate::net) fn remember(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        (time_wait, now): (TimeWaitEntry, Time),
    ) {
        self.tombstones.insert((peer, conversation), time_wait, now);
    }

    /// The tombstone of a session that ended or moved a short while ago; its late packets open no
    /// session.
    pub(in crate::net) fn time_wait(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        now: Time,
    ) -> Option<TimeWaitEntry> {
        self.tombstones.get((peer, conversation), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn table() -> DemuxTable {
        DemuxTable::new(Arc::new(Tombstones::new(1)))
    }

    #[test]
    fn retired_session_is_remembered_for_two_minutes() {
        let time_wait = TimeWaitEntry::new(Some(5));
        let mut table = table();
        let conversation = ConversationId::new(1);
        table.insert(peer(1), conversation, 7);
        assert_eq!(table.find(peer(1), conversation), Some(7));
        table.retire(peer(1), conversation, 7, (time_wait, Time::ZERO));
        assert_eq!(table.find(peer(1), conversation), None);
        let left = table.time_wait(peer(1), conversation, Time::from_millis(119_999));
        assert_eq!(left, Some(time_wait));
        assert_eq!(table.time_wait(peer(2), conversation, Time::ZERO), None);
        let left = table.time_wait(peer(1), conversation, Time::from_millis(120_000));
        assert_eq!(left, None);
    }

    #[test]
    fn renamed_session_is_found_at_its_new_address_only() {
        let mut table = table();
        let conversation = ConversationId::new(1);
        table.insert(peer(1), conversation, 7);
        table.note_active(peer(1), 7);
        let end = (TimeWaitEntry::Moved(3), Time::ZERO);
        let mut rename = |from, to| table.rename((peer(from), peer(to)), conversation, 7, end);
        assert!(rename(1, 2));
        assert_eq!(table.find(peer(1), conversation), None);
        assert_eq!(table.find(peer(2), conversation), Some(7));
        assert_eq!(table.find_parity(peer(1)), None);
        table.insert(peer(3), conversation, 8);
        assert!(!table.rename((peer(2), peer(3)), conversation, 7, end));
        assert_eq!(table.find(peer(2), conversation), Some(7));
        assert_eq!(table.find(peer(3), conversation), Some(8));
    }

    #[test]
    fn renamed_session_is_remembered_where_it_was_and_found_there_if_it_returns() {
        let mut table = table();
        let conversation = ConversationId::new(1);
        let time_wait = TimeWaitEntry::Moved(3);
        table.insert(peer(1), conversation, 7);
        for (from, to) in [(1, 2), (2, 1), (1, 3)] {
            let end = (time_wait, Time::ZERO);
            assert!(table.rename((peer(from), peer(to)), conversation, 7, end));
            assert_eq!(table.find(peer(to), conversation), Some(7));
            let left = table.time_wait(peer(from), conversation, Time::ZERO);
            assert_eq!(left, Some(time_wait));
        }
    }

    #[test]
    fn parity_goes_where_data_went_last() {
        let mut table = table();
        table.insert(peer(1), ConversationId::new(1), 0);
        table.insert(peer(1), ConversationId::new(2), 1);
        assert_eq!(table.find_parity(peer(1)), None);
        table.note_active(peer(1), 0);
        table.note_active(peer(1), 1);
        assert_eq!(table.find_parity(peer(1)), Some(1));
        let end = (TimeWaitEntry::new(None), Time::ZERO);
        table.retire(peer(1), ConversationId::new(2), 1, end);
        assert_eq!(table.find_parity(peer(1)), None);
    }
}
