//! Which session a datagram is for.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::time::Time;
use crate::wire::{ConversationId, SeqNumber};

use super::endpoint::lock;

/// Sessions by address and conversation, and those that ended or moved a short while ago.
#[derive(Debug)]
pub(super) struct Table {
    sessions: HashMap<(SocketAddr, ConversationId), usize>,
    /// The session of each address that data came for last: where its parity belongs.
    latest: HashMap<SocketAddr, usize>,
    tombstones: Arc<Tombstones>,
}

impl Table {
    pub(super) fn new(tombstones: Arc<Tombstones>) -> Self {
        Self {
            sessions: HashMap::new(),
            latest: HashMap::new(),
            tombstones,
        }
    }

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

    /// Notes that data came for a session that is not here.
    pub(super) fn note_elsewhere(&mut self, peer: SocketAddr) {
        self.latest.remove(&peer);
    }

    pub(super) fn insert(&mut self, peer: SocketAddr, conversation: ConversationId, slot: usize) {
        self.sessions.insert((peer, conversation), slot);
    }

    /// Gives a session the name it has at another address, if that is free.
    ///
    /// What comes late from the old address opens no session: it is remembered as that of one that
    /// ended. Should this one come back, its name is found before what is remembered of it.
    pub(super) fn rename(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        conversation: ConversationId,
        slot: usize,
        end: (Epitaph, Time),
    ) -> bool {
        if from == to {
            return true;
        }
        if self.sessions.contains_key(&(to, conversation)) {
            return false;
        }
        self.bury(from, conversation, slot, end);
        self.sessions.insert((to, conversation), slot);
        true
    }

    /// Forgets a session and remembers that it was there.
    pub(super) fn bury(
        &mut self,
        peer: SocketAddr,
        conversation: ConversationId,
        slot: usize,
        end: (Epitaph, Time),
    ) {
        self.sessions.remove(&(peer, conversation));
        if self.latest.get(&peer) == Some(&slot) {
            self.latest.remove(&peer);
        }
        self.remember(peer, conversation, end);
    }

    /// Remembers that there was a session of this name, or remembers it in another way.
    pub(super) fn remember(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        (epitaph, now): (Epitaph, Time),
    ) {
        self.tombstones.insert((peer, conversation), epitaph, now);
    }

    /// What is left of a session with this name, if one ended a short while ago: its late packets
    /// open no new one.
    pub(super) fn epitaph(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        now: Time,
    ) -> Option<Epitaph> {
        self.tombstones.get((peer, conversation), now)
    }
}

/// What is remembered of a session that ended, or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Epitaph {
    /// It ended well, and had received what comes before this number.
    Ended(u32),
    /// It ended with an error, and acknowledges nothing any more.
    Failed,
    /// It is elsewhere, and had received what comes before this number when it left.
    Moved(u32),
}

impl Epitaph {
    /// That of a session that ended: with the number after the last segment it received in order,
    /// if that is still worth telling.
    pub(super) fn new(received_until: Option<u32>) -> Self {
        received_until.map_or(Self::Failed, Self::Ended)
    }

    /// The same for one that only has another name now.
    pub(super) fn elsewhere(self) -> Self {
        match self {
            Self::Ended(until) => Self::Moved(until),
            other => other,
        }
    }

    /// What to acknowledge to a peer that repeats a segment which had been received.
    pub(super) fn acknowledged(self, sequence: u32) -> Option<u32> {
        let (Self::Ended(until) | Self::Moved(until)) = self else {
            return None;
        };
        let until = SeqNumber::first(until);
        (until.widen(sequence) < until).then_some(until.to_wire())
    }
}

/// What is remembered of sessions, the same at all sockets of a listener: a session that has moved
/// may have its late packets come in at another socket than its own.
///
/// Names are kept as a number of 64 bits under a secret key: a third of their size, and nobody can
/// choose two that are taken for each other.
#[derive(Debug)]
pub(super) struct Tombstones {
    key: RandomState,
    capacity: usize,
    graves: Mutex<Graves>,
}

#[derive(Debug, Default)]
struct Graves {
    until: HashMap<u64, (Time, Epitaph)>,
    /// In the order of their ends, which is that of their making. Those that were made anew are in
    /// it again.
    order: VecDeque<(u64, Time)>,
}

impl Tombstones {
    /// None yet, with room for those of so many sockets.
    pub(super) fn new(sockets: usize) -> Self {
        Self {
            key: RandomState::new(),
            capacity: MAX_TOMBSTONES * sockets,
            graves: Mutex::default(),
        }
    }

    fn insert(&self, name: (SocketAddr, ConversationId), epitaph: Epitaph, now: Time) {
        let (name, until) = (self.key.hash_one(name), now + TOMBSTONE_TIME);
        let mut graves = lock(&self.graves);
        graves.expire(now);
        if graves.order.len() == self.capacity {
            graves.forget_oldest();
        }
        graves.until.insert(name, (until, epitaph));
        graves.order.push_back((name, until));
    }

    fn get(&self, name: (SocketAddr, ConversationId), now: Time) -> Option<Epitaph> {
        let name = self.key.hash_one(name);
        let mut graves = lock(&self.graves);
        graves.expire(now);
        graves.until.get(&name).map(|(_, epitaph)| *epitaph)
    }
}

impl Graves {
    fn expire(&mut self, now: Time) {
        while self.order.front().is_some_and(|(_, until)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        // One that was made anew since stays.
        if let Some((name, end)) = self.order.pop_front()
            && self
                .until
                .get(&name)
                .is_some_and(|(until, _)| *until == end)
        {
            self.until.remove(&name);
        }
    }
}

/// Twice the longest RTO: a peer that still retransmits has done so by then.
const TOMBSTONE_TIME: Duration = Duration::from_secs(120);

/// Bounds their memory to 5 MiB for each socket; the oldest are forgotten first.
const MAX_TOMBSTONES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn table() -> Table {
        Table::new(Arc::new(Tombstones::new(1)))
    }

    #[test]
    fn buried_session_is_remembered_for_two_minutes() {
        let epitaph = Epitaph::new(Some(5));
        let mut table = table();
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
        let mut table = table();
        let conversation = ConversationId::new(1);
        table.insert(peer(1), conversation, 7);
        table.note_active(peer(1), 7);
        let end = (Epitaph::Moved(3), Time::ZERO);
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
        let epitaph = Epitaph::Moved(3);
        table.insert(peer(1), conversation, 7);
        for (from, to) in [(1, 2), (2, 1), (1, 3)] {
            let end = (epitaph, Time::ZERO);
            assert!(table.rename((peer(from), peer(to)), conversation, 7, end));
            assert_eq!(table.find(peer(to), conversation), Some(7));
            let left = table.epitaph(peer(from), conversation, Time::ZERO);
            assert_eq!(left, Some(epitaph));
        }
    }

    #[test]
    fn tombstone_made_anew_lasts_from_then_on_and_keeps_no_other() {
        let tombstones = Tombstones::new(1);
        let name = |id| (peer(1), ConversationId::new(id));
        let insert = |id, until, ms| {
            tombstones.insert(name(id), Epitaph::new(Some(until)), Time::from_millis(ms));
        };
        insert(1, 5, 0);
        insert(2, 5, 1000);
        insert(1, 6, 60_000);
        let left = |id, ms| tombstones.get(name(id), Time::from_millis(ms));
        assert_eq!(left(1, 120_000), Some(Epitaph::new(Some(6))));
        assert_eq!(left(2, 121_000), None);
        assert_eq!(left(1, 180_000), None);
    }

    #[test]
    fn tombstones_are_bounded() {
        let tombstones = Tombstones::new(1);
        for id in 0..=MAX_TOMBSTONES as u32 {
            let name = (peer(1), ConversationId::new(id));
            tombstones.insert(name, Epitaph::new(None), Time::ZERO);
        }
        {
            let graves = lock(&tombstones.graves);
            assert_eq!(graves.order.len(), MAX_TOMBSTONES);
            assert_eq!(graves.until.len(), MAX_TOMBSTONES);
        }
        let left = |id| tombstones.get((peer(1), ConversationId::new(id)), Time::ZERO);
        assert_eq!(left(0), None);
        assert_eq!(left(1), Some(Epitaph::new(None)));
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
        let end = (Epitaph::new(None), Time::ZERO);
        table.bury(peer(1), ConversationId::new(2), 1, end);
        assert_eq!(table.find_parity(peer(1)), None);
    }
}
