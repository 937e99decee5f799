//! When which segment's retransmission time-out passes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::time::Time;
use crate::wire::SeqNumber;

/// The end of one transmission's time-out.
///
/// Stale once the segment is acknowledged or was transmitted again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline {
    pub(crate) at: Time,
    pub(crate) sequence: SeqNumber,
    /// Which transmission of the segment this belongs to, counted from one.
    pub(crate) transmission: u32,
}

/// A priority queue that costs O(1) as long as deadlines arrive in order.
///
/// They mostly do, since time passes and the time-out changes slowly: those go through a queue,
/// the rest through a heap. Entries are never removed from the middle; the owner discards stale
/// ones when they come to the front.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    ordered: VecDeque<Deadline>,
    unordered: BinaryHeap<Reverse<Deadline>>,
}

impl Deadlines {
    pub(crate) fn push(&mut self, deadline: Deadline) {
        if self
            .ordered
            .back()
            .is_none_or(|last| last.at <= deadline.at)
        {
            self.ordered.push_back(deadline);
        } else {
            self.unordered.push(Reverse(deadline));
        }
    }

    /// The earliest deadline.
    pub(crate) fn peek(&self) -> Option<Deadline> {
        let ordered = self.ordered.front();
        let unordered = self.unordered.peek().map(|Reverse(deadline)| deadline);
        match (ordered, unordered) {
            (Some(a), Some(b)) => Some(*if a.at <= b.at { a } else { b }),
            (one, None) | (None, one) => one.copied(),
        }
    }

    /// Removes what [`Self::peek`] returned.
    pub(crate) fn pop(&mut self) {
        let Some(earliest) = self.peek() else { return };
        if self.ordered.front() == Some(&earliest) {
            self.ordered.pop_front();
        } else {
            self.unordered.pop();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.ordered.clear();
        self.unordered.clear();
    }

    /// Releases memory that is not used.
    pub(crate) fn shrink(&mut self) {
        self.ordered.shrink_to_fit();
        self.unordered.shrink_to_fit();
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        (self.ordered.capacity() + self.unordered.capacity()) * size_of::<Deadline>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn deadlines_come_out_in_order_however_they_went_in(times: Vec<u16>) {
            let mut deadlines = Deadlines::default();
            for (index, &at) in times.iter().enumerate() {
                deadlines.push(Deadline {
                    at: Time::from_micros(u64::from(at)),
                    sequence: SeqNumber::first(0).advance(index),
                    transmission: 1,
                });
            }
            let mut sorted = times;
            sorted.sort_unstable();
            for at in sorted {
                prop_assert_eq!(deadlines.peek().map(|d| d.at), Some(Time::from_micros(u64::from(at))));
                deadlines.pop();
            }
            prop_assert_eq!(deadlines.peek(), None);
        }
    }
}
