//! Options of a conversation.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::wire::SEGMENT_HEADER_LEN;

/// What an [`Arq`](super::Arq) needs to know; the ranges are those of `Config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArqConfig {
    /// Most bytes of segments in one datagram; at least one byte more than a segment header.
    pub segments_len: usize,
    /// Most segments in flight.
    pub send_window: u16,
    /// Most segments kept for the reader, and as many again (at least 128) beyond a hole.
    pub receive_window: u16,
    /// Whether the RTO may fall to 30 ms (else 100 ms) and backs off by half (else by doubling).
    pub no_delay: bool,
    /// Lower bound of the RTO's variance term, and how long batched acks wait.
    pub flush_interval: Duration,
    /// Acks of later segments after which a segment counts as lost; `None` is off.
    pub fast_retransmit_after: Option<NonZeroU32>,
    /// Whether there is a congestion window.
    pub congestion: Congestion,
    /// Stream or messages.
    pub mode: Mode,
    /// When acks leave.
    pub ack_policy: AckPolicy,
    /// When new data leaves.
    pub write_coalescing: WriteCoalescing,
    /// Most bytes queued and in flight.
    pub send_buffer: usize,
    /// Most bytes of memory for what was received and not read; see
    /// [`default_receive_buffer`](Self::default_receive_buffer).
    pub receive_buffer: usize,
}

impl ArqConfig {
    /// Most bytes of data in one segment.
    #[must_use]
    pub fn mss(&self) -> usize {
        self.segments_len.saturating_sub(SEGMENT_HEADER_LEN).max(1)
    }

    /// A receive buffer that never makes the window smaller than `receive_window`: 1600 bytes for
    /// each segment of it, or for each of 128 if it is smaller.
    #[must_use]
    pub fn default_receive_buffer(receive_window: u16) -> usize {
        reach(receive_window) * SEGMENT_BUDGET
    }
}

/// Whether the congestion window limits sending, besides the two windows.
#[doc(alias = "nc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Congestion {
    /// KCP's own window: slow start, then additive increase, halved by fast retransmits and reset
    /// by time-outs. `nc = 0`.
    Kcp,
    /// No congestion window: send and remote window alone limit what is in flight. `nc = 1`, and
    /// what all presets use.
    Unlimited,
}

/// Whether the boundaries of writes are kept.
#[doc(alias = "stream")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// A byte stream: writes are merged into full segments. What HTTP needs.
    Stream,
    /// Each write is a message, cut into fragments that count down to 0.
    Message,
}

/// When acknowledgements leave.
#[doc(alias = "acknodelay")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AckPolicy {
    /// After each received batch. The sender learns of losses soonest.
    Immediate,
    /// At the next flush, one flush interval later at most, or as soon as they fill a datagram.
    /// What kcp-go does unless `SetACKNoDelay(true)` is called.
    Batched,
}

/// When written data leaves.
#[doc(alias = "SetWriteDelay")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteCoalescing {
    /// As soon as the windows allow. The first byte waits for nothing.
    Immediate,
    /// Once a datagram is full, the send window is full or the flush interval has passed since the
    /// first byte that waits, whatever is first; or along with a datagram that leaves anyway.
    /// Flushing hastens nothing, shutting down does. Many small writes make few datagrams, and the
    /// first byte waits for up to one flush interval.
    Delayed,
}

/// Segments after the next expected one that are taken in as far as memory allows.
pub(super) fn reach(window: u16) -> usize {
    usize::from(window.max(MIN_REACH))
}

/// Segments that are taken in from any peer, however small the window.
///
/// A peer that was told no window yet assumes one: kcp-go 32 segments, C ikcp 128. Refusing part
/// of its first flight would cost it a time-out for every window's worth of the rest.
#[doc(alias = "IKCP_WND_RCV")]
const MIN_REACH: u16 = 128;

/// Bytes of the receive budget for each segment of the window.
///
/// 1500 for a segment of the largest mtu, and 100 for the entries of all lists it may be in.
const SEGMENT_BUDGET: usize = 1600;
