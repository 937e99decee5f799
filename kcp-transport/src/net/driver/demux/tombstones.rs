//! Tombstones of sessions that ended or moved a short while ago.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use crate::net::sync::lock;
use crate::time::Time;
use crate::wire::{ConversationId, SeqNumber};

/// The state that a session leaves behind when it ends or moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum TimeWaitEntry {
    /// The session ended in good order; it had received all segments before this number.
    Ended(u32),
    /// The session ended with an error; nothing is acknowledged any more.
    Failed,
    /// The session has moved; it had received all segments before this number.
    Moved(u32),
}

impl TimeWaitEntry {
    /// The entry of a session that ended, with the number after the last segment it received in
    /// order, if late segments may still be acknowledged.
    pub(in crate::net) fn new(received_until: Option<u32>) -> Self {
        received_until.map_or(Self::Failed, Self::Ended)
    }

    /// The entry of a session that moved instead.
    pub(in crate::net) fn elsewhere(self) -> Self {
        match self {
            Self::Ended(until) => Self::Moved(until),
            other => other,
        }
    }

    /// The acknowledgement for a peer that repeats a segment which the session had received.
    pub(in crate::net) fn acknowledged(self, sequence: u32) -> Option<u32> {
        let (Self::Ended(until) | Self::Moved(until)) = self else {
            return None;
        };
        let until = SeqNumber::first(until);
        (until.widen(sequence) < until).then_some(until.to_wire())
    }
}

/// The tombstones of all sockets of a listener. They are shared, since late packets of a session
/// that has moved may arrive at another socket.
///
/// Address and conversation id are stored as a keyed hash of 64 bits, a third of their size. The
/// key is secret, so an attacker cannot choose two that collide.
#[derive(Debug)]
pub(in crate::net) struct Tombstones {
    key: RandomState,
    capacity: usize,
    queue: Mutex<TimeWaitQueue>,
}

#[derive(Debug, Default)]
struct TimeWaitQueue {
    until: HashMap<u64, (Time, TimeWaitEntry)>,
    /// Ordered by expiry: every entry lives equally long, so insertion order is expiry order. A
    /// replaced entry is in it twice.
    order: VecDeque<(u64, Time)>,
}

impl Tombstones {
    /// No entries, with room for those of `sockets` sockets.
    pub(in crate::net) fn new(sockets: usize) -> Self {
        Self {
            key: RandomState::new(),
            capacity: MAX_TOMBSTONES * sockets,
            queue: Mutex::default(),
        }
    }

    pub(super) fn insert(
        &self,
        name: (SocketAddr, ConversationId),
        time_wait: TimeWaitEntry,
        now: Time,
    ) {
        let (name, until) = (self.key.hash_one(name), now + TOMBSTONE_TIME);
        let mut queue = lock(&self.queue);
        queue.expire(now);
        if queue.order.len() == self.capacity {
            queue.remove_oldest();
        }
        queue.until.insert(name, (until, time_wait));
        queue.order.push_back((name, until));
    }

    pub(super) fn get(
        &self,
        name: (SocketAddr, ConversationId),
        now: Time,
    ) -> Option<TimeWaitEntry> {
        let name = self.key.hash_one(name);
        let mut queue = lock(&self.queue);
        queue.expire(now);
        queue.until.get(&name).map(|(_, time_wait)| *time_wait)
    }
}

impl TimeWaitQueue {
    fn expire(&mut self, now: Time) {
        while self.order.front().is_some_and(|(_, until)| *until <= now) {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        // An entry that was replaced since stays.
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

/// Twice the longest RTO: a peer has stopped retransmitting by then.
const TOMBSTONE_TIME: Duration = Duration::from_secs(120);

/// Bounds the memory to 5 MiB for each socket; the oldest entries are removed first.
const MAX_TOMBSTONES: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn replaced_tombstone_lives_from_its_replacement_on() {
        let tombstones = Tombstones::new(1);
        let name = |id| (peer(1), ConversationId::new(id));
        let insert = |id, until, ms| {
            tombstones.insert(
                name(id),
                TimeWaitEntry::new(Some(until)),
                Time::from_millis(ms),
            );
        };
        insert(1, 5, 0);
        insert(2, 5, 1000);
        insert(1, 6, 60_000);
        let left = |id, ms| tombstones.get(name(id), Time::from_millis(ms));
        assert_eq!(left(1, 120_000), Some(TimeWaitEntry::new(Some(6))));
        assert_eq!(left(2, 121_000), None);
        assert_eq!(left(1, 180_000), None);
    }

    #[test]
    fn tombstones_are_bounded() {
        let tombstones = Tombstones::new(1);
        for id in 0..=MAX_TOMBSTONES as u32 {
            let name = (peer(1), ConversationId::new(id));
            tombstones.insert(name, TimeWaitEntry::new(None), Time::ZERO);
        }
        {
            let queue = lock(&tombstones.queue);
            assert_eq!(queue.order.len(), MAX_TOMBSTONES);
            assert_eq!(queue.until.len(), MAX_TOMBSTONES);
        }
        let left = |id| tombstones.get((peer(1), ConversationId::new(id)), Time::ZERO);
        assert_eq!(left(0), None);
        assert_eq!(left(1), Some(TimeWaitEntry::new(None)));
    }
}
