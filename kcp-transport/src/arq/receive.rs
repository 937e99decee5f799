//! The receiving half: putting segments in order, and what is to be acknowledged.

use std::collections::VecDeque;

use super::ArqConfig;
use super::buffers::Buffers;
use crate::config::{AckPolicy, Mode};
use crate::error::DecodeError;
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SeqNumber, Timestamp};

/// One received data segment.
#[derive(Debug)]
struct Fragment {
    data: Vec<u8>,
    fragments_left: u8,
}

/// What became of a data segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    New,
    Duplicate,
    OutOfWindow,
}

#[derive(Debug)]
pub(super) struct Receiver {
    /// First sequence number that has not been received in order.
    #[doc(alias = "rcv_nxt")]
    next: SeqNumber,
    /// What arrived early, indexed by its distance from `next`; the last entry is never empty.
    reorder: VecDeque<Option<Fragment>>,
    /// What the reader may have, in order.
    ready: VecDeque<Fragment>,
    /// Bytes of the first ready segment that were read already.
    ready_offset: usize,
    pending_acks: VecDeque<(SeqNumber, Timestamp)>,
    /// When the oldest pending ack came in.
    acks_since: Time,
    /// The pending acks leave at the next opportunity, whatever the policy.
    acks_now: bool,
    capacity: u16,
    /// The window the peer was last told.
    advertised: u16,
    mode: Mode,
    /// The reader is gone: data is acknowledged and dropped.
    discarding: bool,
    broken: Option<DecodeError>,
}

impl Receiver {
    pub(super) fn new(config: &ArqConfig, first: SeqNumber) -> Self {
        Self {
            next: first,
            reorder: VecDeque::new(),
            ready: VecDeque::new(),
            ready_offset: 0,
            pending_acks: VecDeque::new(),
            acks_since: Time::ZERO,
            acks_now: false,
            capacity: config.receive_window,
            advertised: config.receive_window,
            mode: config.mode,
            discarding: false,
            broken: None,
        }
    }

    pub(super) fn next(&self) -> SeqNumber {
        self.next
    }

    pub(super) fn broken(&self) -> Option<DecodeError> {
        self.broken
    }

    pub(super) fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Segments that wait for the reader.
    pub(super) fn unread(&self) -> usize {
        self.ready.len()
    }

    /// Segments the reader's queue has room for.
    pub(super) fn window(&self) -> u16 {
        let ready = u16::try_from(self.ready.len()).unwrap_or(u16::MAX);
        self.capacity.saturating_sub(ready)
    }

    /// Segments from [`Self::next`] on that are taken in whatever the window.
    fn reach(&self) -> usize {
        usize::from(self.capacity.max(MIN_REACH))
    }

    /// The peer is being told the window.
    pub(super) fn on_advertised(&mut self) {
        self.advertised = self.window();
    }

    /// Whether the reader made so much room that the peer should hear of it at once.
    ///
    /// kcp-go v5 kcp.go, Recv: it tells when a full queue has room again. We also tell when a
    /// peer that was told less than half can be told half the window more.
    pub(super) fn has_reopened(&self) -> bool {
        let half = self.capacity / 2;
        let gain = self.window().saturating_sub(self.advertised);
        gain > 0 && (self.advertised == 0 || (self.advertised < half && gain >= half))
    }

    /// Whether the peer was last told that there is no room.
    pub(super) fn told_closed(&self) -> bool {
        self.advertised == 0
    }

    /// Takes a data segment in, and notes its acknowledgement.
    ///
    /// kcp-go v5 kcp.go, Input: everything before the end of the window is acknowledged, however
    /// old, since the ack of its earlier arrival may be lost.
    pub(super) fn on_push(
        &mut self,
        now: Time,
        ack: (SeqNumber, Timestamp),
        fragments_left: u8,
        data: &[u8],
        buffers: &mut Buffers,
    ) -> Arrival {
        let Some(index) = ack.0.offset_from(self.next) else {
            self.push_ack(now, ack);
            return Arrival::Duplicate;
        };
        if index >= self.reach() {
            return Arrival::OutOfWindow;
        }
        self.push_ack(now, ack);
        if self.reorder.get(index).is_some_and(Option::is_some) {
            return Arrival::Duplicate;
        }
        let data = if self.discarding { &[] } else { data };
        let fragment = Fragment {
            data: buffers.copy_of(data),
            fragments_left,
        };
        if index == 0 && self.reorder.is_empty() && self.has_room() {
            self.next = self.next.next();
            self.deliver(fragment);
        } else {
            if index >= self.reorder.len() {
                self.reorder.resize_with(index + 1, || None);
            }
            self.reorder[index] = Some(fragment);
            self.promote();
        }
        Arrival::New
    }

    /// Reads bytes in order, whatever messages they belong to.
    pub(super) fn read_with(
        &mut self,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
        buffers: &mut Buffers,
    ) -> usize {
        let mut read = 0;
        while read < limit
            && let Some(front) = self.ready.front()
        {
            let rest = &front.data[self.ready_offset..];
            let len = rest.len().min(limit - read);
            sink(&rest[..len]);
            read += len;
            if len < rest.len() {
                self.ready_offset += len;
                break;
            }
            self.pop_ready(buffers);
        }
        self.promote();
        read
    }

    /// Appends a whole message to `out`, if one is complete.
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
            if let Some(fragment) = self.ready.front() {
                out.extend_from_slice(&fragment.data[self.ready_offset..]);
            }
            self.pop_ready(buffers);
        }
        self.promote();
        true
    }

    /// Whether a read would return something, or an error.
    pub(super) fn readable(&self) -> bool {
        match self.mode {
            Mode::Stream => !self.ready.is_empty(),
            Mode::Message => !matches!(self.complete_message(), Ok(None)),
        }
    }

    /// Drops what the reader has not read, and whatever else arrives.
    pub(super) fn discard(&mut self, buffers: &mut Buffers) {
        self.discarding = true;
        for fragment in self.reorder.iter_mut().flatten() {
            buffers.give(std::mem::take(&mut fragment.data));
        }
        while !self.ready.is_empty() {
            self.pop_ready(buffers);
        }
        self.promote();
    }

    /// Lets the pending acks leave now.
    pub(super) fn hasten_acks(&mut self) {
        self.acks_now = !self.pending_acks.is_empty();
    }

    /// When acks are due; the epoch if now.
    pub(super) fn acks_due(&self, config: &ArqConfig) -> Option<Time> {
        if self.pending_acks.is_empty() {
            return None;
        }
        // kcp-go v5 kcp.go, Input: acks that fill a datagram do not wait for the tick.
        let full = self.pending_acks.len() >= config.segments_len / SEGMENT_HEADER_LEN;
        if self.acks_now || full || config.ack_policy == AckPolicy::Immediate {
            return Some(Time::ZERO);
        }
        Some(self.acks_since + config.flush_interval)
    }

    /// The next ack to send.
    ///
    /// kcp-go v5 kcp.go, flush: acks that `una` covers are left out, but for the last, which
    /// carries the timestamp.
    pub(super) fn pop_ack(&mut self) -> Option<(SeqNumber, Timestamp)> {
        while let Some(ack) = self.pending_acks.pop_front() {
            if ack.0 >= self.next || self.pending_acks.is_empty() {
                self.acks_now = !self.pending_acks.is_empty();
                return Some(ack);
            }
        }
        None
    }

    /// Releases memory that is not used.
    pub(super) fn shrink(&mut self) {
        self.reorder.shrink_to_fit();
        self.ready.shrink_to_fit();
        self.pending_acks.shrink_to_fit();
    }

    /// Entries there is memory for.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.reorder.capacity() + self.ready.capacity() + self.pending_acks.capacity()
    }

    fn push_ack(&mut self, now: Time, ack: (SeqNumber, Timestamp)) {
        if self.pending_acks.is_empty() {
            self.acks_since = now;
        }
        // Twice the reach: every segment in it and one repetition. Beyond that, the peer repeats
        // itself, and will again if the ack that is dropped here mattered.
        if self.pending_acks.len() >= 2 * self.reach() {
            self.pending_acks.pop_front();
        }
        self.pending_acks.push_back(ack);
    }

    fn has_room(&self) -> bool {
        self.ready.len() < usize::from(self.capacity)
    }

    /// Moves what has become in order to the reader's queue, as far as that has room.
    fn promote(&mut self) {
        while self.has_room()
            && let Some(Some(_)) = self.reorder.front()
        {
            if let Some(Some(fragment)) = self.reorder.pop_front() {
                self.next = self.next.next();
                self.deliver(fragment);
            }
        }
    }

    fn deliver(&mut self, fragment: Fragment) {
        // An empty segment is no part of a stream. In kcp-go v5 (sess.go, Read) it stops the
        // reader for good.
        let empty = fragment.data.is_empty() && self.mode == Mode::Stream;
        if !empty && !self.discarding {
            self.ready.push_back(fragment);
        }
    }

    fn pop_ready(&mut self, buffers: &mut Buffers) {
        self.ready_offset = 0;
        if let Some(fragment) = self.ready.pop_front() {
            buffers.give(fragment.data);
        }
    }

    /// How many segments the first message has, if all are there.
    fn complete_message(&self) -> Result<Option<usize>, DecodeError> {
        let Some(first) = self.ready.front() else {
            return Ok(None);
        };
        // In 16 bits: kcp-go v5 kcp.go, PeekSize wraps at 255 in its 8.
        let fragments = u16::from(first.fragments_left) + 1;
        if fragments > self.capacity {
            return Err(DecodeError::BadFragments);
        }
        for (index, fragment) in self.ready.iter().take(usize::from(fragments)).enumerate() {
            if usize::from(fragment.fragments_left) + index + 1 != usize::from(fragments) {
                return Err(DecodeError::BadFragments);
            }
        }
        let complete = self.ready.len() >= usize::from(fragments);
        Ok(complete.then_some(usize::from(fragments)))
    }
}

/// Segments that are taken in from any peer, however small the window.
///
/// A peer that was told no window yet assumes one: kcp-go 32 segments, C ikcp 128. Refusing part
/// of its first flight would cost it a time-out for every window's worth of the rest.
#[doc(alias = "IKCP_WND_RCV")]
const MIN_REACH: u16 = 128;
