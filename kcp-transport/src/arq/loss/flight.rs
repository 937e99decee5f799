//! Segments in flight: sent, and not yet covered by the peer's `una`.

use std::collections::VecDeque;
use std::time::Duration;

use crate::arq::buffers::Buffers;
use crate::time::Time;
use crate::wire::SeqNumber;

/// A segment that was sent at least once.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Empty once acknowledged.
    pub(crate) data: Vec<u8>,
    pub(crate) first_sent: Time,
    pub(crate) last_sent: Time,
    /// Time-out of the last transmission.
    pub(crate) rto: Duration,
    #[doc(alias = "xmit")]
    pub(crate) transmissions: u32,
    /// Datagrams that acknowledged a later segment sent no earlier than this one.
    #[doc(alias = "fastack")]
    pub(crate) later_acks: u32,
    pub(crate) fragments_left: u8,
    pub(crate) acked: bool,
    pub(crate) suspicion: Suspicion,
}

/// How far loss detection has come with a segment.
///
/// ```text
/// Unsuspected -> Counting -> (Suspected ->) Due -> Resent
///                    ^                               |
///                    +---- time-out passes ----------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspicion {
    /// No later segment is acknowledged, as far as was looked.
    Unsuspected,
    /// A later segment is acknowledged; acks are being counted.
    Counting,
    /// Only early retransmit is on, and it may have this segment.
    Suspected,
    /// Queued for retransmission.
    Due,
    /// Was fast or early retransmitted; only its time-out helps now.
    Resent,
}

/// The segments from `una` on, in order, indexed by their distance from `una`.
#[derive(Debug)]
pub(crate) struct Flight {
    una: SeqNumber,
    ring: VecDeque<Sent>,
    unacked: usize,
    /// Capacity of all segments' buffers, in bytes.
    bytes: usize,
}

impl Flight {
    pub(crate) fn new(first: SeqNumber) -> Self {
        Self {
            una: first,
            ring: VecDeque::new(),
            unacked: 0,
            bytes: 0,
        }
    }

    /// First sequence number that the peer has not acknowledged in order.
    #[doc(alias = "snd_una")]
    pub(crate) fn una(&self) -> SeqNumber {
        self.una
    }

    /// Sequence number of the next new segment.
    #[doc(alias = "snd_nxt")]
    pub(crate) fn next(&self) -> SeqNumber {
        self.una.advance(self.ring.len())
    }

    /// Number of segments from `una` to `next`, acknowledged ones included. The windows limit this
    /// number.
    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether the segment at `una` is acknowledged.
    pub(crate) fn is_first_acked(&self) -> bool {
        self.ring.front().is_some_and(|sent| sent.acked)
    }

    /// Number of segments that are not acknowledged.
    pub(crate) fn unacked(&self) -> usize {
        self.unacked
    }

    /// The segment with this number, if it is in flight and not acknowledged.
    pub(crate) fn outstanding(&self, sequence: SeqNumber) -> Option<&Sent> {
        let index = sequence.offset_from(self.una)?;
        self.ring.get(index).filter(|sent| !sent.acked)
    }

    /// As [`Self::outstanding`], mutable.
    pub(crate) fn outstanding_mut(&mut self, sequence: SeqNumber) -> Option<&mut Sent> {
        let index = sequence.offset_from(self.una)?;
        self.ring.get_mut(index).filter(|sent| !sent.acked)
    }

    pub(crate) fn push(&mut self, sent: Sent) {
        self.bytes += sent.data.capacity();
        self.ring.push_back(sent);
        self.unacked += 1;
    }

    /// Marks one segment as acknowledged and releases its data.
    ///
    /// It keeps its entry until `una` covers it, because the peer's window counts from its `una`,
    /// and that does not advance while its reader is slow, however much was acknowledged. Returns
    /// the number of bytes released, or `None` if the segment was not outstanding.
    pub(crate) fn acknowledge(
        &mut self,
        sequence: SeqNumber,
        buffers: &mut Buffers,
    ) -> Option<usize> {
        let sent = self.outstanding_mut(sequence)?;
        sent.acked = true;
        let data = std::mem::take(&mut sent.data);
        let len = data.len();
        self.bytes -= data.capacity();
        buffers.give(data);
        self.unacked -= 1;
        Some(len)
    }

    /// Drops every segment before `una` and returns what that changed.
    pub(crate) fn advance(&mut self, una: SeqNumber, buffers: &mut Buffers) -> Advance {
        let mut advance = Advance::default();
        while self.una < una
            && let Some(sent) = self.ring.pop_front()
        {
            self.una = self.una.next();
            advance.segments += 1;
            if !sent.acked {
                self.unacked -= 1;
                advance.newly_acked += 1;
                advance.bytes += sent.data.len();
                self.bytes -= sent.data.capacity();
                buffers.give(sent.data);
            }
        }
        advance
    }

    /// Releases unused memory.
    pub(crate) fn shrink(&mut self) {
        self.ring.shrink_to_fit();
    }

    /// Bytes of heap memory.
    pub(crate) fn memory(&self) -> usize {
        self.bytes + self.ring.capacity() * size_of::<Sent>()
    }
}

/// The effect of moving `una`: segments dropped, those of them that were outstanding, and bytes
/// released.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advance {
    pub(crate) segments: usize,
    pub(crate) newly_acked: usize,
    pub(crate) bytes: usize,
}
