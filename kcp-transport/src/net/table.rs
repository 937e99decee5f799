//! Which session a datagram is for.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Time;
use crate::wire::{ConversationId, SeqNumber};

/// Sessions by address and conversation, and those that ended a short while ago.
#[derive(Debug, Default)]
pub(super) struct Table {
    sessions: HashMap<(SocketAddr, ConversationId), usize>,
    /// The session of each address that data came for last: where its parity belongs.
    latest: HashMap<SocketAddr, usize>,
    tombstones: Tombstones,
}

impl Table {
    pub(super) fn find(&self, peer: SocketAddr, conversation: ConversationId) -> Option<usize> {
        self.sessions.get(&(peer, conversation)).copied()
    }

    /// The session that parity from `peer` is for.
    pub(super) fn find_parity(&self, peer: SocketAddr) -> Option<usize> {
        self.latest.get(&peer).copied()
    }

    /// Notes that data came for the session in `slot`.
    pub(super) fn note_active(&mut self, peer: SocketAddr, slot: usize) {
        self.latest.insert(peer, slot);
    }

    pub(super) fn insert(&mut self, peer: SocketAddr, conversation: ConversationId, slot: usize) {
        self.sessions.insert((peer, conversation), slot);
    }

    /// Gives a session the name it has at another address, if that is free.
    ///
    /// What comes late from the old address is for an unknown conversation from now on.
    pub(super) fn rename(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        conversation: ConversationId,
        slot: usize,
    ) -> bool {
        if from == to {
            return true;
        }
        if self.sessions.contains_key(&(to, conversation)) {
            return false;
        }
        self.sessions.remove(&(from, conversation));
        self.sessions.insert((to, conversation), slot);
        if self.latest.get(&from) == Some(&slot) {
            self.latest.remove(&from);
        }
        true
    }

    /// Forgets a session and remembers that it was there.
    pub(super) fn bury(
        &mut self,
        peer: SocketAddr,
        conversation: ConversationId,
        slot: usize,
        (epitaph, now): (Epitaph, Time),
    ) {
        self.sessions.remove(&(peer, conversation));
        if self.latest.get(&peer) == Some(&slot) {
            self.latest.remove(&peer);
        }
        self.tombstones.insert((peer, conversation), epitaph, now);
    }

    /// What is left of a session with this name, if one ended a short while ago: its late packets
    /// open no new one.
    pub(super) fn epitaph(
        &mut self,
        peer: SocketAddr,
        conversation: ConversationId,
        now: Time,
    ) -> Option<Epitaph> {
        self.tombstones.get((peer, conversation), now)
    }
}

/// What is remembered of a session that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epitaph {
    /// The number after the last segment it received in order, if that is still worth telling.
    received_until: Option<u32>,
}

impl Epitaph {
    pub(super) fn new(received_until: Option<u32>) -> Self {
        Self { received_until }
    }

    /// What to acknowledge to a peer that repeats a segment which had been received.
    pub(super) fn acknowledged(self, sequence: u32) -> Option<u32> {
        let until = SeqNumber::first(self.received_until?);
        (until.widen(sequence) < until).then_some(until.to_wire())
    }
}

/// Names are kept as a number of 64 bits under a secret key: a third of their size, and nobody can
/// choose two that are taken for each other.
#[derive(Debug, Default)]
struct Tombstones {
    key: RandomState,
    until: HashMap<u64, (Time, Epitaph)>,
    /// In the order of their ends, which is that of their making.
    order: VecDeque<u64>,
}

impl Tombstones {
    fn insert(&mut self, name: (SocketAddr, ConversationId), epitaph: Epitaph, now: Time) {
        self.expire(now);
        if self.order.len() == MAX_TOMBSTONES
            && let Some(oldest) = self.order.pop_front()
        {
            self.until.remove(&oldest);
        }
        let (name, until) = (self.key.hash_one(name), now + TOMBSTONE_TIME);
        if self.until.insert(name, (until, epitaph)).is_none() {
            self.order.push_back(name);
        }
    }

    fn get(&mut self, name: (SocketAddr, ConversationId), now: Time) -> Option<Epitaph> {
        self.expire(now);
        let name = self.key.hash_one(name);
        self.until.get(&name).map(|(_, epitaph)| *epitaph)
    }

    fn expire(&mut self, now: Time) {
        while let Some(oldest) = self.order.front()
            && self
                .until
                .get(oldest)
                .is_none_or(|(until, _)| *until <= now)
        {
            self.until.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// Twice the longest RTO: a peer that still retransmits has done so by then.
const TOMBSTONE_TIME: Duration = Duration::from_secs(120);

/// Bounds their memory to 5 MiB; the oldest are forgotten first.
const MAX_TOMBSTONES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn buried_session_is_remembered_for_two_minutes() {
        let epitaph = Epitaph::new(Some(5));
        let mut table = Table::default();
        let conversation = ConversationId::new(1);
        table.insert(peer(1), conversation, 7);
        assert_eq!(table.find(peer(1), conversation), Some(7));
        table.bury(peer(1), conversation, 7, (epitaph, Time::ZERO));
        assert_eq!(table.find(peer(1), conversation), None);
        let left = table.epitaph(peer(1), conversation, Time::from_millis(119_999));
        assert_eq!(left, Some(epitaph));
        assert_eq!(table.epitaph(peer(2), conversation, Time::ZERO), None);
        let left = table.epitaph(peer(1), conversation, Time::from_millis(120_000));
        assert_eq!(left, None);
    }

    #[test]
    fn renamed_session_is_found_at_its_new_address_only() {
        let mut table = Table::default();
        let conversation = ConversationId::new(1);
        table.insert(peer(1), conversation, 7);
        table.note_active(peer(1), 7);
        assert!(table.rename(peer(1), peer(2), conversation, 7));
        assert_eq!(table.find(peer(1), conversation), None);
        assert_eq!(table.find(peer(2), conversation), Some(7));
        assert_eq!(table.find_parity(peer(1)), None);
        table.insert(peer(3), conversation, 8);
        assert!(!table.rename(peer(2), peer(3), conversation, 7));
        assert_eq!(table.find(peer(2), conversation), Some(7));
        assert_eq!(table.find(peer(3), conversation), Some(8));
    }

    #[test]
    fn tombstones_are_bounded() {
        let mut tombstones = Tombstones::default();
        for id in 0..=MAX_TOMBSTONES as u32 {
            let name = (peer(1), ConversationId::new(id));
            tombstones.insert(name, Epitaph::new(None), Time::ZERO);
        }
        assert_eq!(tombstones.order.len(), MAX_TOMBSTONES);
        assert_eq!(tombstones.until.len(), MAX_TOMBSTONES);
        let mut left = |id| tombstones.get((peer(1), ConversationId::new(id)), Time::ZERO);
        assert_eq!(left(0), None);
        assert_eq!(left(1), Some(Epitaph::new(None)));
    }

    #[test]
    fn parity_goes_where_data_went_last() {
        let mut table = Table::default();
        table.insert(peer(1), ConversationId::new(1), 0);
        table.insert(peer(1), ConversationId::new(2), 1);
        assert_eq!(table.find_parity(peer(1)), None);
        table.note_active(peer(1), 0);
        table.note_active(peer(1), 1);
        assert_eq!(table.find_parity(peer(1)), Some(1));
        let end = (Epitaph::new(None), Time::ZERO);
        table.bury(peer(1), ConversationId::new(2), 1, end);
        assert_eq!(table.find_parity(peer(1)), None);
    }
}
