//! The receiving half: puts segments in order and collects acknowledgements.

mod acks;
mod buffer;
mod gap;

use std::collections::VecDeque;

use super::buffers::Buffers;
use super::options::{ArqConfig, Mode, reach};
use crate::error::DecodeError;
use crate::time::Time;
use crate::wire::{SeqNumber, Timestamp};
use buffer::{Fragment, PRESSED_SEGMENTS, ReceiveBuffer};
use gap::GapAck;

/// What became of a data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    New,
    Duplicate,
    OutOfWindow,
}

/// What names one segment to its sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) sequence: SeqNumber,
    /// As in the segment.
    pub(super) timestamp: Timestamp,
    /// The segment was rebuilt from parity.
    ///
    /// kcp-go v5 kcp.go, Input: the last ack of a datagram gives a sample of the round-trip time. That of
    /// a rebuilt segment would include the wait for the parity.
    pub(super) rebuilt: bool,
}

#[derive(Debug)]
pub(super) struct Receiver {
    /// First sequence number that has not been received in order.
    #[doc(alias = "rcv_nxt")]
    next: SeqNumber,
    buffer: ReceiveBuffer,
    /// Bytes of the first ready segment that have already been read.
    ready_offset: u32,
    /// Those of rebuilt segments come first.
    pending_acks: VecDeque<Ack>,
    /// When the oldest pending ack was queued that is not of a rebuilt segment, or the oldest of those
    /// that were sent last.
    acks_since: Time,
    /// The pending acks are sent at the next opportunity, whatever the ack policy.
    acks_now: bool,
    /// When the next [`Received`] may be sent.
    received_at: Time,
    /// A round trip takes at least so many microseconds, as far as is known; `u32::MAX` if it is not.
    ///
    /// A side that only receives has no samples, and a handshake of which something was lost gives a
    /// time that is far too long.
    trip: u32,
    most_acks: u32,
    gap_ack: GapAck,
    /// The peer is told of what has arrived beyond gaps, and finds losses by time.
    is_told: bool,
    capacity: u16,
    /// Memory is short, so the advertised window is small.
    pressed: bool,
    /// The window last advertised to the peer.
    advertised: u16,
    mode: Mode,
    /// The reader has closed: data is acknowledged and dropped.
    discarding: bool,
    /// The sequence number after the peer's last segment, once known.
    end: Option<SeqNumber>,
    broken: Option<DecodeError>,
}

impl Receiver {
    pub(super) fn new(config: &ArqConfig, first: SeqNumber) -> Self {
        let reach = reach(config.receive_window);
        Self {
            next: first,
            buffer: ReceiveBuffer::new(config, usize::from(config.receive_window), reach),
            ready_offset: 0,
            pending_acks: VecDeque::new(),
            acks_since: Time::ZERO,
            acks_now: false,
            received_at: Time::ZERO,
            trip: u32::MAX,
            most_acks: most_acks(config),
            gap_ack: GapAck::default(),
            is_told: false,
            pressed: false,
            capacity: config.receive_window,
            advertised: config.receive_window,
            mode: config.mode,
            discarding: false,
            end: None,
            broken: None,
        }
    }

    /// Changes the options. Nothing that was received is dropped.
    pub(super) fn set_config(&mut self, config: &ArqConfig) {
        let reach = reach(config.receive_window);
        self.capacity = config.receive_window;
        self.most_acks = most_acks(config);
        let reader = usize::from(config.receive_window);
        self.buffer.set_limits(config, reader, reach);
    }

    pub(super) fn next(&self) -> SeqNumber {
        self.next
    }

    pub(super) fn broken(&self) -> Option<DecodeError> {
        self.broken
    }

    pub(super) fn set_mode(&mut self, mode: Mode, buffers: &mut Buffers) {
        self.mode = mode;
        if self.ready_offset == 0 {
            self.skip_empty(buffers);
        }
    }

    /// Sets whether memory is short elsewhere.
    pub(super) fn set_pressure(&mut self, pressed: bool) {
        self.pressed = pressed;
    }

    /// Sets the end of the peer's stream. Returns whether it agrees with what was received before.
    pub(super) fn set_end(&mut self, end: SeqNumber) -> bool {
        let received = self.next.advance(self.buffer.waiting());
        let agrees = match self.end {
            Some(known) => known == end,
            None => end >= received,
        };
        if agrees {
            self.end = Some(end);
        }
        agrees
    }

    /// Whether the stream has ended and all of it was received and read.
    pub(super) fn is_finished(&self) -> bool {
        self.end == Some(self.next) && self.buffer.ready() == 0
    }

    /// Whether the reader has closed.
    pub(super) fn is_discarding(&self) -> bool {
        self.discarding
    }

    /// Number of segments that wait for the reader.
    pub(super) fn unread(&self) -> usize {
        self.buffer.ready()
    }

    /// Whether segments wait for a missing one or for room in the reader's queue.
    pub(super) fn has_gap(&self) -> bool {
        self.buffer.waiting() > 0
    }

    /// The window to advertise: segments that fit into both the reader's queue and the memory
    /// budget, but at least those that the reader needs to make progress.
    pub(super) fn window(&self) -> u16 {
        let slots = if self.pressed {
            usize::from(self.capacity).min(PRESSED_SEGMENTS)
        } else {
            usize::from(self.capacity)
        };
        let slots = slots.saturating_sub(self.buffer.ready());
        let window = self.buffer.window(slots, self.pressed);
        let window = if window < PRESSED_SEGMENTS {
            window.max(self.needed())
        } else {
            window
        };
        u16::try_from(window).unwrap_or(u16::MAX)
    }

    /// Segments that are accepted even beyond the memory budget, because the reader cannot make
    /// progress without them: the rest of a message, or the next segment of a stream that has
    /// nothing to read.
    fn needed(&self) -> usize {
        match self.mode {
            _ if self.readable() => 0,
            Mode::Stream => 1,
            Mode::Message => {
                let room = usize::from(self.capacity).saturating_sub(self.buffer.ready());
                PRESSED_SEGMENTS.min(room)
            }
        }
    }

    /// Records the window that is advertised to the peer.
    pub(super) fn on_advertised(&mut self, window: u16) {
        self.advertised = window;
    }

    /// Whether the reader has freed so much room that the peer should be informed at once.
    ///
    /// kcp-go v5 kcp.go, Recv: announces the window when a full queue has room again. We also
    /// announce it when less than half was advertised and the window has grown by half.
    pub(super) fn has_reopened(&self) -> bool {
        let half = self.capacity / 2;
        let gain = self.window().saturating_sub(self.advertised);
        gain > 0 && (self.advertised == 0 || (self.advertised < half && gain >= half))
    }

    /// Whether the last advertised window was zero.
    pub(super) fn advertised_closed(&self) -> bool {
        self.advertised == 0
    }

    /// Processes a data segment and queues its acknowledgement.
    ///
    /// kcp-go v5 kcp.go, Input: every segment before the end of the window is acknowledged, however
    /// old, since the ack of its first arrival may be lost.
    pub(super) fn on_push(
        &mut self,
        now: Time,
        ack: Ack,
        fragments_left: u8,
        data: &[u8],
        buffers: &mut Buffers,
    ) -> Arrival {
        let Some(index) = ack.sequence.offset_from(self.next) else {
            self.push_ack(now, ack);
            return Arrival::Duplicate;
        };
        if index >= reach(self.capacity) || self.end.is_some_and(|end| ack.sequence >= end) {
            return Arrival::OutOfWindow;
        }
        if self.buffer.has(index) {
            self.push_ack(now, ack);
            return Arrival::Duplicate;
        }
        let data = if self.discarding { &[] } else { data };
        let fits = self.buffer.fits(index, data.len(), self.pressed, buffers);
        if !fits && index >= self.needed() {
            return Arrival::OutOfWindow;
        }
        self.buffer.insert(index, fragments_left, data, buffers);
        if index == 0 {
            self.promote(buffers);
        }
        self.push_ack(now, ack);
        Arrival::New
    }

    /// Whether this segment is missing while a later one has arrived.
    pub(super) fn misses(&self, sequence: u32) -> bool {
        let index = self.next.widen(sequence).offset_from(self.next);
        index.is_some_and(|index| index < self.buffer.waiting() && !self.buffer.has(index))
    }

    /// Reads bytes in order, ignoring message boundaries.
    pub(super) fn read_with(
        &mut self,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
        buffers: &mut Buffers,
    ) -> usize {
        let mut read = 0;
        while read < limit
            && let Some(front) = self.buffer.front()
        {
            let rest = &buffers.bytes(&front.data)[self.ready_offset as usize..];
            let len = rest.len().min(limit - read);
            sink(&rest[..len]);
            read += len;
            if len < rest.len() {
                // A segment is no longer than a datagram.
                self.ready_offset += len as u32;
                break;
            }
            self.pop_ready(buffers);
        }
        self.promote(buffers);
        read
    }

    /// As [`Self::read_with`], leaving the bytes where they are.
    pub(super) fn peek_with(
        &self,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
        buffers: &Buffers,
    ) -> usize {
        let (mut peeked, mut offset) = (0, self.ready_offset as usize);
        for fragment in self.buffer.ready_fragments() {
            let rest = &buffers.bytes(&fragment.data)[offset..];
            let len = rest.len().min(limit - peeked);
            if len > 0 {
                sink(&rest[..len]);
            }
            peeked += len;
            offset = 0;
            if peeked == limit {
                break;
            }
        }
        peeked
    }

    /// Appends a message to `out` if one is complete.
    pub(super) fn read_message(&mut self, out: &mut Vec<u8>, buffers: &mut Buffers) -> bool {
        let fragments = match self.complete_message() {
            Ok(Some(fragments)) => fragments,
            Ok(None) => return false,
            Err(error) => {
                self.broken = Some(error);
                return false;
            }
        };
        for _ in 0..fragments {
            if let Some(fragment) = self.buffer.front() {
                let data = buffers.bytes(&fragment.data);
                out.extend_from_slice(&data[self.ready_offset as usize..]);
            }
            self.pop_ready(buffers);
        }
        self.promote(buffers);
        true
    }

    /// Whether a read would return something, or an error.
    pub(super) fn readable(&self) -> bool {
        match self.mode {
            Mode::Stream => self.buffer.ready() > 0,
            Mode::Message => !matches!(self.complete_message(), Ok(None)),
        }
    }

    /// Drops unread data and all data that arrives later.
    pub(super) fn discard(&mut self, buffers: &mut Buffers) {
        self.discarding = true;
        self.ready_offset = 0;
        self.buffer.discard(buffers);
        self.promote(buffers);
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.buffer.shrink();
        self.pending_acks.shrink_to_fit();
    }

    /// Releases everything that is not ready for the reader, for a connection that has ended.
    pub(super) fn release(&mut self, buffers: &mut Buffers) {
        self.buffer.release(buffers);
        self.pending_acks.clear();
        self.gap_ack.cancel();
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        let acks = self.pending_acks.capacity() * size_of::<Ack>();
        self.buffer.memory() + acks
    }

    /// Moves segments that are now in order to the reader's queue, as far as it has room.
    ///
    /// An empty segment contributes nothing to a stream and is skipped. In kcp-go v5 (sess.go,
    /// Read) it blocks the reader forever.
    fn promote(&mut self, buffers: &mut Buffers) {
        let (discarding, stream) = (self.discarding, self.mode == Mode::Stream);
        let unread = |it: &Fragment| discarding || (stream && it.data.is_empty());
        while self.buffer.ready() < usize::from(self.capacity)
            && self.buffer.promote(buffers, unread)
        {
            self.next = self.next.next();
        }
    }

    fn pop_ready(&mut self, buffers: &mut Buffers) {
        self.ready_offset = 0;
        self.buffer.pop(buffers);
        self.skip_empty(buffers);
    }

    /// Removes empty segments in front, so that a stream that is [`readable`](Self::readable) has
    /// bytes.
    fn skip_empty(&mut self, buffers: &mut Buffers) {
        while self.mode == Mode::Stream
            && let Some(front) = self.buffer.front()
            && front.data.is_empty()
        {
            self.buffer.pop(buffers);
        }
    }

    /// The number of segments of the first message, if all have arrived.
    fn complete_message(&self) -> Result<Option<usize>, DecodeError> {
        let Some(first) = self.buffer.front() else {
            return Ok(None);
        };
        // In 16 bits: kcp-go v5 kcp.go, PeekSize wraps at 255 in its 8.
        let fragments = u16::from(first.fragments_left) + 1;
        if fragments > self.capacity {
            return Err(DecodeError::BadFragments);
        }
        let run = self.buffer.ready_fragments().take(usize::from(fragments));
        for (index, fragment) in run.enumerate() {
            if usize::from(fragment.fragments_left) + index + 1 != usize::from(fragments) {
                return Err(DecodeError::BadFragments);
            }
        }
        let complete = self.buffer.ready() >= usize::from(fragments);
        Ok(complete.then_some(usize::from(fragments)))
    }
}

/// Acks that may be pending.
fn most_acks(config: &ArqConfig) -> u32 {
    // Twice the reach: each segment in it and one retransmission of each.
    let acks = config.receive_buffer / ACKS_SHARE / size_of::<Ack>();
    let most = acks.max(MIN_ACKS).min(2 * reach(config.receive_window));
    // Windows have sixteen bits.
    most as u32
}

/// The share of the receive budget for pending acks: 1/48.
const ACKS_SHARE: usize = 48;

/// Acks that may be pending however small the budget: those of a datagram full of segments.
const MIN_ACKS: usize = 64;
