//! Lost segments for which the peer has no room.
//!
//! Linux does not send again what is beyond the window of its peer either, except for the first
//! segment (`tcp_retransmit_skb`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::flight::{Flight, Resend};
use crate::wire::SeqNumber;

/// The segments, the first one at the top. Those acknowledged since are dropped when met.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    segments: BinaryHeap<Reverse<(SeqNumber, Resend)>>,
}

impl Beyond {
    pub(super) fn push(&mut self, sequence: SeqNumber, resend: Resend) {
        self.segments.push(Reverse((sequence, resend)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// One for which there is room.
    pub(super) fn first(&self, flight: &Flight) -> Option<(SeqNumber, Resend)> {
        let Reverse(first) = *self.segments.peek()?;
        flight.is_within_window(first.0).then_some(first)
    }

    /// Takes that one.
    pub(super) fn pop(&mut self, flight: &Flight) -> Option<(SeqNumber, Resend)> {
        let first = self.first(flight);
        if first.is_some() {
            self.segments.pop();
        }
        first
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        let entry = size_of::<Reverse<(SeqNumber, Resend)>>();
        size_of::<Self>() + self.segments.capacity() * entry
    }
}
