//! Deadlines of many sessions under one timer.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Time;

/// Which session a timer is for: its place and, since places are reused, its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionKey {
    pub(super) slot: usize,
    pub(super) generation: u64,
}

/// A heap of deadlines, cleaned lazily.
///
/// Each session has at most one deadline that counts, noted with the session as `armed`. Moving it
/// earlier adds an entry; moving it later adds none: the old entry fires, and the session says what
/// its deadline is by then. So steady traffic, which keeps pushing a deadline out, never touches
/// the heap.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Time, SessionKey)>>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Time, key: SessionKey) {
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest deadline, which may be one that no longer counts.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out one deadline that has passed.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<(Time, SessionKey)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
