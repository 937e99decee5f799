//! Received segments that were not read yet, within a memory budget.

use std::collections::VecDeque;

use crate::arq::buffers::{Buffers, Data, true_size};
use crate::arq::options::ArqConfig;

/// One received data segment.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) data: Data,
    pub(super) fragments_left: u8,
}

/// Received segments ordered by sequence number: first those that are ready for the reader, then
/// those that wait for a missing one or for room in the reader's queue.
///
/// A segment is charged with the capacity of its buffer, and each missing one with the largest
/// size. Segments that arrive early therefore never exclude the ones they wait for, and
/// acknowledged data is never dropped.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    /// One entry for each number; `None` is a missing segment. The last entry is never missing.
    ring: VecDeque<Option<Fragment>>,
    /// Number of entries at the front that are ready for the reader.
    ready: usize,
    /// Number of missing entries.
    missing: u32,
    /// Number of segments inserted so far.
    taken: u32,
    /// Capacity of all segments' buffers, in bytes.
    bytes: usize,
    /// Limit on the bytes of buffers, including those reserved for missing segments.
    budget: usize,
    most_entries: u32,
    /// Bytes reserved for a missing segment.
    reserve: u32,
}

impl ReceiveBuffer {
    /// A buffer for `reader` segments in order and `reach` more after them. Allocates nothing.
    pub(super) fn new(config: &ArqConfig, reader: usize, reach: usize) -> Self {
        let mut buffer = Self {
            ring: VecDeque::new(),
            ready: 0,
            missing: 0,
            taken: 0,
            bytes: 0,
            budget: 0,
            most_entries: 0,
            reserve: LEAST_RESERVE,
        };
        buffer.set_limits(config, reader, reach);
        buffer
    }

    /// Changes the limits. Segments that exceed them stay.
    pub(super) fn set_limits(&mut self, config: &ArqConfig, reader: usize, reach: usize) {
        let entries = config.receive_buffer / ENTRIES_SHARE / size_of::<Option<Fragment>>();
        self.budget = config.receive_buffer / 16 * 15;
        // Windows have sixteen bits.
        self.most_entries = entries.max(MIN_ENTRIES).min(reader + reach) as u32;
        // The peer's segments are probably as large.
        self.note_size(true_size(config.mss()));
    }

    /// Number of segments that are ready for the reader.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// Number of entries after the ready ones, missing ones included.
    pub(super) fn waiting(&self) -> usize {
        self.ring.len() - self.ready
    }

    /// Number of segments that have arrived after a missing one.
    pub(super) fn beyond(&self) -> usize {
        if self.missing == 0 {
            return 0;
        }
        // The missing ones are among those that wait.
        self.waiting() - self.missing as usize
    }

    /// The ready segments, in order.
    pub(super) fn ready_fragments(&self) -> impl Iterator<Item = &Fragment> {
        self.ring.iter().take(self.ready).flatten()
    }

    /// The first ready segment.
    pub(super) fn front(&self) -> Option<&Fragment> {
        let front = self.ring.front().filter(|_| self.ready > 0)?;
        front.as_ref()
    }

    /// Whether the segment at `index` after the ready ones has arrived.
    pub(super) fn has(&self, index: usize) -> bool {
        self.ring
            .get(self.ready + index)
            .is_some_and(Option::is_some)
    }

    /// Whether a segment of `len` bytes at `index` after the ready ones fits into the budget. Frees
    /// the spare buffers if it does not fit beside them.
    pub(super) fn fits(
        &self,
        index: usize,
        len: usize,
        pressed: bool,
        buffers: &mut Buffers,
    ) -> bool {
        let at = self.ready + index;
        let size = true_size(len);
        if at < self.ring.len() && size <= self.reserve() {
            // Its room was reserved.
            return true;
        }
        let gap = at.saturating_sub(self.ring.len());
        let used = self.committed() + gap * self.reserve() + size;
        let budget = self.budget(pressed);
        if used + buffers.held() > budget {
            // What is left is taken for this segment.
            buffers.clear();
        }
        at < self.most_entries() && used <= budget && gap <= self.longest_gap()
    }

    /// How many segments may be missing before one that arrives.
    ///
    /// Each costs time and an entry, so with the first segment of a conversation no more can be
    /// claimed than what a small window has.
    fn longest_gap(&self) -> usize {
        FIRST_GAP.max(GAP_PER_SEGMENT.saturating_mul(self.taken as usize))
    }

    /// How many segments after the ready ones the peer may send, at most `most`.
    pub(super) fn window(&self, most: usize, pressed: bool) -> usize {
        let free = self.budget(pressed).saturating_sub(self.committed());
        let beyond = (self.ready + most).saturating_sub(self.ring.len());
        let window = if beyond * self.reserve() <= free {
            most
        } else {
            self.ring.len() + free / self.reserve() - self.ready
        };
        // What is announced is accepted: its sender would send anything else again and again.
        let reach = self.waiting() + self.longest_gap();
        window
            .min(self.most_entries().saturating_sub(self.ready))
            .min(reach)
    }

    /// Inserts a segment at `index` after the ready ones, where none is.
    pub(super) fn insert(
        &mut self,
        index: usize,
        fragments_left: u8,
        data: &[u8],
        buffers: &mut Buffers,
    ) {
        let at = self.ready + index;
        let size = true_size(data.len());
        let used = self.committed() + buffers.held() + size;
        let is_tight = buffers.is_scarce() || used > self.budget;
        let fragment = Some(Fragment {
            data: match is_tight {
                true => buffers.take_held(data.len()),
                false => buffers.take(data.len()),
            },
            fragments_left,
        });
        self.taken = self.taken.saturating_add(1);
        self.note_size(size);
        if at < self.ring.len() {
            self.missing -= 1;
            self.ring[at] = fragment;
        } else {
            let gap = at - self.ring.len();
            if at >= self.ring.capacity() {
                let most = self.most_entries();
                grow(&mut self.ring, gap + 1, most);
            }
            if gap > 0 {
                // The ring is far shorter than 2^32.
                self.missing += gap as u32;
                self.ring.resize_with(at, || None);
            }
            self.ring.push_back(fragment);
        }
        if let Some(Some(fragment)) = self.ring.get_mut(at) {
            self.bytes += fragment.data.capacity();
            buffers.append(&mut fragment.data, data);
        }
    }

    /// Makes the next segment ready if it has arrived; returns whether it has. A segment that no
    /// reader needs, by `unread`, is dropped if no other is in front of it.
    pub(super) fn promote(
        &mut self,
        buffers: &mut Buffers,
        unread: impl Fn(&Fragment) -> bool,
    ) -> bool {
        let Some(Some(fragment)) = self.ring.get(self.ready) else {
            return false;
        };
        let skip = self.ready == 0 && unread(fragment);
        self.ready += 1;
        if skip {
            self.pop(buffers);
        }
        true
    }

    /// Removes the first ready segment.
    pub(super) fn pop(&mut self, buffers: &mut Buffers) {
        if self.ready == 0 {
            return;
        }
        self.ready -= 1;
        if let Some(Some(fragment)) = self.ring.pop_front() {
            self.bytes -= fragment.data.capacity();
            buffers.give(fragment.data);
        }
    }

    /// Drops the data of all segments but keeps their entries.
    pub(super) fn discard(&mut self, buffers: &mut Buffers) {
        while self.ready > 0 {
            self.pop(buffers);
        }
        for fragment in self.ring.iter_mut().flatten() {
            buffers.give(std::mem::take(&mut fragment.data));
        }
        self.bytes = 0;
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.ring.shrink_to_fit();
    }

    /// Drops all segments that are not ready.
    pub(super) fn release(&mut self, buffers: &mut Buffers) {
        for fragment in self.ring.drain(self.ready..).flatten() {
            buffers.give(fragment.data);
        }
        self.missing = 0;
        let left = self.ring.iter().flatten();
        self.bytes = left.map(|fragment| fragment.data.capacity()).sum();
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.ring.capacity() * size_of::<Option<Fragment>>()
    }

    fn most_entries(&self) -> usize {
        self.most_entries as usize
    }

    fn reserve(&self) -> usize {
        self.reserve as usize
    }

    /// The peer's segments may be so large, buffers included.
    fn note_size(&mut self, size: usize) {
        // No larger than a datagram.
        self.reserve = self.reserve.max(size as u32);
    }

    /// Bytes of buffers, including those reserved for missing segments.
    fn committed(&self) -> usize {
        self.bytes + self.missing as usize * self.reserve()
    }

    fn budget(&self, pressed: bool) -> usize {
        if pressed {
            self.budget.min(PRESSED_SEGMENTS * self.reserve())
        } else {
            self.budget
        }
    }
}

/// Reserves room for `more` entries. The capacity doubles as that of [`VecDeque`] does, but does
/// not grow beyond `most`.
pub(super) fn grow<T>(ring: &mut VecDeque<T>, more: usize, most: usize) {
    let needed = ring.len() + more;
    if needed > ring.capacity() {
        let room = (2 * ring.capacity()).clamp(4, most.max(4)).max(needed);
        ring.reserve_exact(room - ring.len());
    }
}

/// Bytes reserved for a missing segment unless larger ones arrive: no other KCP peer has an mtu above
/// 1500.
const LEAST_RESERVE: u32 = 1500;

/// The share of the budget for ring entries: 1/24. With the default budget that is room for twice
/// the window.
const ENTRIES_SHARE: usize = 24;

/// Number of entries allowed however small the budget.
const MIN_ENTRIES: usize = 16;

/// Number of segments of the largest size that are accepted early while memory is short.
pub(super) const PRESSED_SEGMENTS: usize = 8;

/// Longest gap from a peer's first segment on.
const FIRST_GAP: usize = 1024;

/// How much longer a gap may be for each segment that has arrived. A flow that doubles its window
/// with each round trip, as any does that begins slowly, does not meet it.
const GAP_PER_SEGMENT: usize = 4;
