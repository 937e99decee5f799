//! What is remembered of sessions that ended or moved a short while ago.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use crate::net::sync::lock;
use crate::time::Time;
use crate::wire::{ConversationId, SeqNumber};

/// What is remembered of a session that ended, or moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum TimeWaitEntry {
    /// It ended well, and had received what comes before this number.
    Ended(u32),
    /// It ended with an error, and acknowledges nothing any more.
    Failed,
    /// It is elsewhere, and had received what comes before this number when it left.
    Moved(u32),
}

impl TimeWaitEntry {
    /// That of a session that ended: with the number after the last segment it received in order,
    /// if that is still worth telling.
    pub(in crate::net) fn new(received_until: Option<u32>) -> Self {
        received_until.map_or(Self::Failed, Self::Ended)
    }

    /// The same for one that only has another name now.
    pub(in crate::net) fn elsewhere(self) -> Self {
        match self {
            Self::Ended(until) => Self::Moved(until),
            other => other,
        }
    }

    /// What to acknowledge to a peer that repeats a segment which had been received.
    pub(in crate::net) fn acknowledged(self, sequence: u32) -> Option<u32> {
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
pub(in crate::net) struct Tombstones {
    key: RandomState,
    capacity: usize,
    queue: Mutex<TimeWaitQueue>,
}

#[derive(Debug, Default)]
struct TimeWaitQueue {
    until: HashMap<u64, (Time, TimeWaitEntry)>,
    /// In the order of their ends, which is that of their making. Those that were made anew are in
    /// it again.
    order: VecDeque<(u64, Time)>,
}

impl Tombstones {
    /// None yet, with room for those of so many sockets.
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
            queue.forget_oldest();
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

    #[test]
    fn tombstone_made_anew_lasts_from_then_on_and_keeps_no_other() {
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
