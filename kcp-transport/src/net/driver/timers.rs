//! The deadlines of many sessions under one timer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::net::endpoint::SessionKey;
use crate::time::Time;

/// A heap of deadlines, cleaned lazily.
///
/// Each session has at most one valid deadline, stored with the session as `armed`. Moving it
/// earlier adds an entry. Moving it later adds none: the old entry fires, and the session then
/// reports its current deadline. So steady traffic, which keeps pushing a deadline out, never
/// touches the heap. Stale entries are removed when they fire, or by [`Timers::compact`].
#[derive(Debug, Default)]
pub(in crate::net) struct Timers {
    heap: BinaryHeap<Reverse<(Time, SessionKey)>>,
}

impl Timers {
    pub(in crate::net) fn arm(&mut self, at: Time, key: SessionKey) {
        self.heap.push(Reverse((at, key)));
    }

    /// Removes stale entries once there are many of them. An entry becomes stale when the deadline
    /// of its session moves earlier and fires there.
    ///
    /// At most one entry for each of `sessions` is valid, so the cost of removal is bounded by the
    /// number of entries added since the last time.
    pub(in crate::net) fn compact(
        &mut self,
        sessions: usize,
        is_valid: impl Fn(Time, SessionKey) -> bool,
    ) {
        let most = 2 * sessions + SPARE_ENTRIES;
        if self.heap.len() <= most {
            return;
        }
        let mut entries = std::mem::take(&mut self.heap).into_vec();
        // A session may have returned to an earlier deadline.
        entries.sort_unstable();
        entries.dedup();
        entries.retain(|Reverse((at, key))| is_valid(*at, *key));
        entries.shrink_to(most);
        self.heap = entries.into();
    }

    /// The earliest deadline, which may be stale.
    pub(in crate::net) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes one deadline that has passed.
    pub(in crate::net) fn pop_due(&mut self, now: Time) -> Option<(Time, SessionKey)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

/// Stale entries that are allowed beyond one for each session.
const SPARE_ENTRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn deadlines_come_out_in_order_once_they_have_passed() {
        let key = |slot| SessionKey {
            slot,
            generation: 0,
        };
        let mut timers = Timers::default();
        timers.arm(Time::from_millis(30), key(3));
        timers.arm(Time::from_millis(10), key(1));
        timers.arm(Time::from_millis(20), key(2));
        assert_eq!(timers.next(), Some(Time::from_millis(10)));
        assert_eq!(timers.pop_due(Time::from_millis(9)), None);
        let now = Time::from_millis(25);
        assert_eq!(timers.pop_due(now).map(|(_, key)| key.slot), Some(1));
        assert_eq!(timers.pop_due(now).map(|(_, key)| key.slot), Some(2));
        assert_eq!(timers.pop_due(now), None);
    }

    #[test]
    fn stale_deadlines_are_fewer_than_two_for_each_session() {
        const SESSIONS: usize = 100;
        let hour = Time::from_millis(3_600_000);
        let keys = (0..SESSIONS).map(|slot| SessionKey {
            slot,
            generation: 7,
        });
        let mut timers = Timers::default();
        let mut armed = [Time::ZERO; SESSIONS];
        // Each session writes now and then, and has a time-out in an hour: at a fixed time, or an
        // hour after its last write.
        for round in 0..1000 {
            let now = Time::from_millis(round * 500);
            while timers.pop_due(now).is_some() {}
            for key in keys.clone() {
                let far = hour + Duration::from_millis(round * (key.slot as u64 % 2));
                timers.arm(now + Duration::from_millis(100), key);
                timers.arm(far, key);
                armed[key.slot] = far;
            }
            timers.compact(SESSIONS, |at, key| armed[key.slot] == at);
            assert!(timers.heap.len() <= 2 * SESSIONS + SPARE_ENTRIES);
            assert!(timers.heap.capacity() <= 8 * SESSIONS);
        }
        timers.compact(0, |at, key| armed[key.slot] == at);
        let mut left = Vec::new();
        while let Some((at, key)) = timers.pop_due(Time::from_millis(7_200_000)) {
            assert_eq!(armed[key.slot], at);
            left.push(key.slot);
        }
        left.sort_unstable();
        assert_eq!(left, (0..SESSIONS).collect::<Vec<_>>());
    }
}
