//! Validation of a peer address without state.
//!
//! The challenge to an unknown peer is a data segment without data, numbered one before the first.
//! Every KCP peer acknowledges such a segment as a repetition of one it has already received, and
//! delivers nothing. The acknowledgement echoes the timestamp of the challenge, which is a keyed
//! hash of the address and the conversation id: a sender that returns it has received the
//! challenge. As with the SYN cookies of TCP, no state is kept meanwhile. A guess succeeds once in
//! 2^31.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use crate::session::Unsolicited;
use crate::time::Time;
use crate::wire::{Command, ConversationId, SegmentHeader, Timestamp};

/// Computes cookies that only their receivers can return.
///
/// The hasher of the standard library is keyed and built to be unpredictable. A cookie is short and
/// valid for seconds, and needs nothing stronger.
#[derive(Debug, Default)]
pub(in crate::net) struct Cookies(RandomState);

impl Cookies {
    /// The header of a challenge, whose acknowledgement validates the address of the peer.
    pub(in crate::net) fn address_challenge(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        window: u16,
        now: Time,
    ) -> SegmentHeader {
        SegmentHeader {
            conversation,
            command: Command::Push,
            fragments_left: 0,
            window,
            timestamp: self.stamp(peer, conversation, epoch(now)),
            sequence: Unsolicited::BEFORE_FIRST,
            unacknowledged: 0,
            payload_len: 0,
        }
    }

    /// Whether `echo` is the timestamp of a recent challenge to this peer.
    pub(in crate::net) fn is_address_response(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        echo: Timestamp,
        now: Time,
    ) -> bool {
        let epoch = epoch(now);
        let epochs = [epoch, epoch.wrapping_sub(1)];
        epochs
            .into_iter()
            .any(|epoch| self.stamp(peer, conversation, epoch) == echo)
    }

    /// The number of a path challenge, whose return validates the path.
    pub(in crate::net) fn path_challenge(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        now: Time,
    ) -> u64 {
        self.number(peer, conversation, epoch(now))
    }

    /// Whether `data` is the number of a recent path challenge to this peer.
    pub(in crate::net) fn is_path_response(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        data: u64,
        now: Time,
    ) -> bool {
        let epoch = epoch(now);
        let epochs = [epoch, epoch.wrapping_sub(1)];
        epochs
            .into_iter()
            .any(|epoch| self.number(peer, conversation, epoch) == data)
    }

    fn number(&self, peer: SocketAddr, conversation: ConversationId, epoch: u64) -> u64 {
        // The input differs from that of timestamps, so neither reveals the other.
        self.0.hash_one(("path", peer, conversation, epoch))
    }

    fn stamp(&self, peer: SocketAddr, conversation: ConversationId, epoch: u64) -> Timestamp {
        // Narrowing is intended: any bits of the hash will do.
        Timestamp::from_wire(self.0.hash_one((peer, conversation, epoch)) as u32)
    }
}

fn epoch(now: Time) -> u64 {
    now.as_millis() / EPOCH.as_millis() as u64
}

/// A challenge is valid for one to two epochs: longer than the round trip of any path and a few
/// retransmissions.
const EPOCH: Duration = Duration::from_secs(16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_good_for_its_peer_and_a_while() {
        let cookies = Cookies::default();
        let (peer, other) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 1], 2).into());
        let conversation = ConversationId::new(7);
        let asked = Time::from_millis(100_000);
        let data = cookies.path_challenge(peer, conversation, asked);
        let good = |peer, seconds| {
            let now = asked + Duration::from_secs(seconds);
            cookies.is_path_response(peer, conversation, data, now)
        };
        assert!(good(peer, 0) && good(peer, 16));
        assert!(!good(peer, 32) && !good(other, 0));
    }

    #[test]
    fn answer_is_good_for_its_peer_and_a_while() {
        let cookies = Cookies::default();
        let (peer, other) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let (peer, other) = ((peer, 1).into(), (other, 1).into());
        let conversation = ConversationId::new(7);
        let asked = Time::from_millis(100_000);
        let echo = cookies
            .address_challenge(peer, conversation, 32, asked)
            .timestamp;
        let good = |peer, id, seconds| {
            let now = asked + Duration::from_secs(seconds);
            cookies.is_address_response(peer, ConversationId::new(id), echo, now)
        };
        assert!(good(peer, 7, 0) && good(peer, 7, 16));
        assert!(!good(peer, 7, 32));
        assert!(!good(other, 7, 0) && !good(peer, 8, 0));
        assert!(!Cookies::default().is_address_response(peer, conversation, echo, asked));
    }
}
