//! Unreliable datagrams beside the stream.
//!
//! ```text
//! 0xffffffff u32 | 0xf3 u16 | size u16 | conversation u32 | data
//! ```
//!
//! They are neither acknowledged nor retransmitted nor protected by parity, and may arrive in any
//! order or not at all. They use the FEC header, so only a sender with FEC on may send them. kcp-go
//! always accepts them; peers that predate them drop them.

use std::collections::VecDeque;

use super::Session;
use crate::error::DatagramError;
use crate::fec::FecEncoder;
use crate::packet::TransmitBatch;
use crate::time::Time;
use crate::wire::{SHARD_HEADER_LEN, SHARD_SIZE_LEN};

/// Queued datagrams of both directions.
#[derive(Debug, Default)]
pub(super) struct OutOfBand {
    outgoing: VecDeque<Vec<u8>>,
    incoming: VecDeque<Vec<u8>>,
    pub(super) counters: Counters,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) dropped: u64,
}

impl OutOfBand {
    /// Whether a datagram waits to be sent.
    pub(super) fn is_due(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Bytes of heap memory of both queues.
    pub(super) fn memory(&self) -> usize {
        let queue = |queue: &VecDeque<Vec<u8>>| {
            let data: usize = queue.iter().map(Vec::capacity).sum();
            data + queue.capacity() * size_of::<Vec<u8>>()
        };
        queue(&self.outgoing) + queue(&self.incoming)
    }

    /// Drops the oldest received datagrams until at most `most` are left.
    pub(super) fn keep(&mut self, most: usize) {
        while self.incoming.len() > most {
            self.incoming.pop_front();
            self.counters.dropped += 1;
        }
        self.incoming.shrink_to(most);
    }

    /// Drops unsent datagrams.
    pub(super) fn release(&mut self) {
        self.outgoing.clear();
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.outgoing.shrink_to_fit();
        self.incoming.shrink_to_fit();
    }
}

impl Session {
    /// Maximum length of an out-of-band datagram in bytes; `None` if this side has FEC off and
    /// cannot send any.
    #[must_use]
    #[doc(alias = "GetOOBMaxSize")]
    pub fn max_out_of_band_len(&self) -> Option<usize> {
        let len = self.layout.segments_len().saturating_sub(CONVERSATION_LEN);
        self.encoder.is_some().then_some(len.min(MAX_LEN))
    }

    /// Queues an unreliable datagram, which is sent before anything else that is due.
    ///
    /// At most 64 are queued; beyond that the oldest is dropped and counted. A datagram may be
    /// empty.
    ///
    /// # Errors
    ///
    /// [`DatagramError`] if FEC is off, the datagram is longer than
    /// [`Session::max_out_of_band_len`], or the session has ended.
    #[doc(alias = "SendOOB")]
    pub fn send_out_of_band(&mut self, now: Time, data: &[u8]) -> Result<(), DatagramError> {
        let most = self.max_out_of_band_len().ok_or(DatagramError::FecOff)?;
        if data.len() > most {
            let len = data.len();
            return Err(DatagramError::TooLong { len, most });
        }
        if self.lifetime.is_closed() {
            return Err(DatagramError::Closed);
        }
        let out_of_band = self.out_of_band.get_or_insert_default();
        let dropped = enqueue(&mut out_of_band.outgoing, data, MAX_QUEUED);
        out_of_band.counters.dropped += u64::from(dropped);
        self.note_activity(now);
        Ok(())
    }

    /// Returns the oldest received out-of-band datagram.
    ///
    /// At most 64 are kept, and 8 while memory is short elsewhere; beyond that the oldest is
    /// dropped and counted.
    #[doc(alias = "SetOOBHandler")]
    pub fn poll_out_of_band(&mut self) -> Option<Vec<u8>> {
        self.out_of_band.as_mut()?.incoming.pop_front()
    }

    /// Whether [`Session::poll_out_of_band`] would return a datagram.
    #[must_use]
    pub fn has_out_of_band(&self) -> bool {
        let queues = self.out_of_band.as_ref();
        queues.is_some_and(|queues| !queues.incoming.is_empty())
    }

    /// Processes the body of an out-of-band shard.
    ///
    /// kcp-go v5 sess.go, packetInput of its listener: a datagram of another conversation closes
    /// the session. Here it is counted as invalid.
    pub(super) fn handle_out_of_band(&mut self, now: Time, body: &[u8]) {
        let conversation = self.arq.conversation().get().to_le_bytes();
        let data = body.strip_prefix(&conversation);
        let Some(data) = data.filter(|data| data.len() <= MAX_LEN) else {
            self.counters.invalid_received += 1;
            return;
        };
        self.lifetime.on_received(now);
        let out_of_band = self.out_of_band.get_or_insert_default();
        out_of_band.counters.received += 1;
        if !self.abandoned {
            let most = most_kept(self.pressed);
            let dropped = enqueue(&mut out_of_band.incoming, data, most);
            out_of_band.counters.dropped += u64::from(dropped);
        }
    }

    pub(super) fn push_out_of_band(&mut self, batch: &mut TransmitBatch) -> usize {
        let Some(queues) = &mut self.out_of_band else {
            return 0;
        };
        let Some(data) = queues.outgoing.pop_front() else {
            return 0;
        };
        queues.counters.sent += 1;
        let header = self.layout.shard_header();
        let conversation = self.arq.conversation().get().to_le_bytes();
        batch.push_with(|packet| {
            let body = header + CONVERSATION_LEN;
            let len = body + data.len();
            packet[header..body].copy_from_slice(&conversation);
            packet[body..len].copy_from_slice(&data);
            FecEncoder::out_of_band(&mut packet[..len]);
            len
        })
    }
}

/// Maximum number of received datagrams that are kept for the user.
pub(super) const fn most_kept(pressed: bool) -> usize {
    if pressed {
        MAX_QUEUED_PRESSED
    } else {
        MAX_QUEUED
    }
}

/// Adds a copy of `data`; returns whether the oldest datagram was dropped for it.
fn enqueue(queue: &mut VecDeque<Vec<u8>>, data: &[u8], most: usize) -> bool {
    let full = queue.len() >= most;
    if full {
        queue.pop_front();
    }
    queue.push_back(data.to_vec());
    full
}

/// Datagrams kept in each direction: about a burst, and at most 96 kB for a user that does not read
/// them.
const MAX_QUEUED: usize = 64;

/// The limit for received datagrams while memory is short elsewhere.
const MAX_QUEUED_PRESSED: usize = 8;

/// Bytes in front of the data.
const CONVERSATION_LEN: usize = 4;

/// Maximum length of a datagram: what fits into kcp-go's buffers of 1500 bytes. Received UDP payloads
/// may be longer.
const MAX_LEN: usize = 1500 - SHARD_HEADER_LEN - SHARD_SIZE_LEN - CONVERSATION_LEN;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::crypto::Overhead;
    use crate::session::Role;
    use crate::wire::ConversationId;

    #[test]
    fn datagrams_of_another_conversation_are_invalid() {
        let config = Config::default();
        let layout = config.layout(Overhead { front: 0, back: 0 });
        let layout = layout.expect("the default MTU has room");
        let conversation = ConversationId::new(7);
        let now = Time::ZERO;
        let mut session = Session::new(&config, layout, conversation, Role::Accept, 1, now);
        for (named, expected) in [(8_u32, None), (7, Some(b"data".to_vec()))] {
            let mut packet = vec![0; SHARD_HEADER_LEN + 2];
            packet.extend_from_slice(&named.to_le_bytes());
            packet.extend_from_slice(b"data");
            FecEncoder::out_of_band(&mut packet);
            session.handle_datagram(now, &packet);
            assert_eq!(session.poll_out_of_band(), expected);
            assert_eq!(session.stats().invalid_received, 1);
        }
    }
}
