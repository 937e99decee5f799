//! First datagrams of peers that are challenged, kept until the answer arrives.
//!
//! A peer repeats a datagram that was dropped only after its retransmission time-out, 200 ms in
//! kcp-go. With the datagram at hand, a challenge costs the peer one round trip.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Time;
use crate::wire::ConversationId;

use super::UnmatchedDatagram;

/// A queue of bounded size. The oldest datagrams make room for new ones, so a flood of forged first
/// datagrams shortens the time for which each is kept. A genuine peer whose datagram is pushed out
/// repeats it after its retransmission time-out.
#[derive(Debug, Default)]
pub(super) struct HeldDatagrams {
    queue: VecDeque<Held>,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    peer: SocketAddr,
    conversation: ConversationId,
    since: Time,
    /// The datagram is the first of its conversation, not one that followed.
    opening: bool,
    /// Empty once taken.
    payload: Box<[u8]>,
}

impl HeldDatagrams {
    /// Keeps the first datagram of a conversation.
    pub(super) fn hold_opening(&mut self, datagram: UnmatchedDatagram, payload: &[u8]) {
        self.push(datagram, payload, true);
    }

    /// Keeps a datagram that follows the first one of its conversation. Returns whether it was
    /// kept: it is not if that one is not held, or if many have followed it.
    pub(super) fn hold_next(&mut self, datagram: UnmatchedDatagram, payload: &[u8]) -> bool {
        let (peer, conversation) = (datagram.peer, datagram.conversation);
        let held = self.queue.iter().filter(|held| {
            held.is_for(peer, conversation, datagram.now) && !held.payload.is_empty()
        });
        let kept = (1..MAX_PER_CONVERSATION).contains(&held.count());
        if kept {
            self.push(datagram, payload, false);
        }
        kept
    }

    /// Takes the datagrams of a conversation, starting with its last first one: an earlier one may
    /// be that of another process.
    pub(super) fn take(
        &mut self,
        peer: SocketAddr,
        conversation: ConversationId,
        now: Time,
    ) -> Vec<Box<[u8]>> {
        let mut taken = Vec::new();
        let held = self.queue.iter_mut();
        for held in held.filter(|held| held.is_for(peer, conversation, now)) {
            if held.opening {
                taken.clear();
            }
            let payload = std::mem::take(&mut held.payload);
            self.bytes -= payload.len();
            if !payload.is_empty() {
                taken.push(payload);
            }
        }
        taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops all datagrams.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, datagram: UnmatchedDatagram, payload: &[u8], opening: bool) {
        while self.queue.len() >= MAX_DATAGRAMS || self.bytes + payload.len() > MAX_BYTES {
            let Some(oldest) = self.queue.pop_front() else {
                // The payload alone exceeds the limit.
                return;
            };
            self.bytes -= oldest.payload.len();
        }
        self.bytes += payload.len();
        self.queue.push_back(Held {
            peer: datagram.peer,
            conversation: datagram.conversation,
            since: datagram.now,
            opening,
            payload: payload.into(),
        });
    }
}

impl Held {
    fn is_for(&self, peer: SocketAddr, conversation: ConversationId, now: Time) -> bool {
        self.peer == peer && self.conversation == conversation && now - self.since <= HELD_FOR
    }
}

/// Datagrams in the queue: the first ones of a round trip of 50 ms at 10 000 openings a second.
const MAX_DATAGRAMS: usize = 512;

/// Bytes in the queue.
const MAX_BYTES: usize = 512 << 10;

/// Datagrams of one conversation: the first flight of a peer with kcp-go's default send window.
const MAX_PER_CONVERSATION: usize = 32;

/// Longer than the round trip of any path. After a few times as long, and still while a tombstone
/// would last, the same address and conversation may belong to another process.
const HELD_FOR: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Unsolicited;

    fn datagram(port: u16, now: Time) -> UnmatchedDatagram {
        UnmatchedDatagram {
            now,
            peer: ([10, 0, 0, 1], port).into(),
            conversation: ConversationId::new(7),
            unsolicited: Unsolicited::Opening,
        }
    }

    fn take(held: &mut HeldDatagrams, port: u16, now: Time) -> Vec<Box<[u8]>> {
        held.take(datagram(port, now).peer, ConversationId::new(7), now)
    }

    #[test]
    fn datagrams_are_returned_once_and_in_order() {
        let mut held = HeldDatagrams::default();
        let first = datagram(1, Time::ZERO);
        assert!(!held.hold_next(first, b"without a first one"));
        held.hold_opening(first, b"of an earlier process");
        held.hold_opening(first, b"first");
        held.hold_opening(datagram(2, Time::ZERO), b"of another peer");
        assert!(held.hold_next(first, b"second"));
        let taken = take(&mut held, 1, Time::ZERO);
        assert_eq!(taken, [Box::from(&b"first"[..]), Box::from(&b"second"[..])]);
        assert!(take(&mut held, 1, Time::ZERO).is_empty());
        assert!(!held.hold_next(first, b"third"));
        assert_eq!(take(&mut held, 2, Time::ZERO).len(), 1);
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn old_datagrams_are_not_returned() {
        let mut held = HeldDatagrams::default();
        held.hold_opening(datagram(1, Time::ZERO), b"first");
        let late = Time::ZERO + HELD_FOR + Duration::from_millis(1);
        assert!(take(&mut held, 1, late).is_empty());
    }

    #[test]
    fn flood_takes_a_bounded_amount_of_memory() {
        let mut held = HeldDatagrams::default();
        for len in [24, 1400, 60_000] {
            for port in 1..5000 {
                held.hold_opening(datagram(port, Time::ZERO), &vec![0; len]);
            }
            let sum: usize = held.queue.iter().map(|held| held.payload.len()).sum();
            assert_eq!(held.bytes, sum);
            assert!(sum <= MAX_BYTES && held.queue.len() <= MAX_DATAGRAMS);
            assert_eq!(take(&mut held, 4999, Time::ZERO).len(), 1);
        }
        for _ in 0..100 {
            held.hold_next(datagram(4998, Time::ZERO), b"next");
        }
        let taken = take(&mut held, 4998, Time::ZERO);
        assert_eq!(taken.len(), MAX_PER_CONVERSATION);
    }
}
