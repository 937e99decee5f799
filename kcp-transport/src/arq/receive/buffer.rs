//! What was received and not read yet, within a budget of true size.

use std::collections::VecDeque;

use crate::arq::buffers::{Buffers, true_size};
use crate::arq::options::ArqConfig;

/// One received data segment.
#[derive(Debug)]
pub(super) struct Fragment {
    pub(super) data: Vec<u8>,
    pub(super) fragments_left: u8,
}

/// Received segments in the order of their numbers: first those the reader may have, then those
/// that wait for a missing one or for room in the reader's queue.
///
/// A segment costs what its buffer has room for, and each missing one is charged as if it were of
/// the largest size. So what was taken in early never keeps out what it waits for, and nothing
/// that was acknowledged is ever dropped.
#[derive(Debug)]
pub(super) struct ReceiveBuffer {
    /// The last entry is never missing.
    ring: VecDeque<Option<Fragment>>,
    /// Entries at the front that are the reader's.
    ready: usize,
    /// Entries that are missing.
    missing: usize,
    /// Segments that were ever put in.
    taken: usize,
    /// Bytes of all segments' buffers.
    bytes: usize,
    /// Most bytes of buffers, what is kept for missing segments included.
    budget: usize,
    most_entries: usize,
}

impl ReceiveBuffer {
    /// A buffer for `reader` segments in order and `reach` more. Allocates nothing.
    pub(super) fn new(config: &ArqConfig, reader: usize, reach: usize) -> Self {
        let entries = config.receive_buffer / ENTRIES_SHARE / size_of::<Option<Fragment>>();
        Self {
            ring: VecDeque::new(),
            ready: 0,
            missing: 0,
            taken: 0,
            bytes: 0,
            budget: config.receive_buffer / 16 * 15,
            most_entries: entries.max(MIN_ENTRIES).min(reader + reach),
        }
    }

    /// Segments that are the reader's.
    pub(super) fn ready(&self) -> usize {
        self.ready
    }

    /// Entries after the reader's, missing ones included.
    pub(super) fn waiting(&self) -> usize {
        self.ring.len() - self.ready
    }

    /// The reader's segments, in order.
    pub(super) fn ready_fragments(&self) -> impl Iterator<Item = &Fragment> {
        self.ring.iter().take(self.ready).flatten()
    }

    /// The reader's first segment.
    pub(super) fn front(&self) -> Option<&Fragment> {
        let front = self.ring.front().filter(|_| self.ready > 0)?;
        front.as_ref()
    }

    /// Whether the segment `index` after the reader's last is here.
    pub(super) fn has(&self, index: usize) -> bool {
        self.ring
            .get(self.ready + index)
            .is_some_and(Option::is_some)
    }

    /// Whether a segment of `len` bytes, `index` after the reader's last, fits into the budget.
    /// Frees the spare buffers if it does not fit besides them.
    pub(super) fn fits(
        &self,
        index: usize,
        len: usize,
        pressed: bool,
        buffers: &mut Buffers,
    ) -> bool {
        let at = self.ready + index;
        let size = true_size(len);
        if at < self.ring.len() && size <= RESERVE {
            // Its room was kept.
            return true;
        }
        let gap = at.saturating_sub(self.ring.len());
        let used = self.committed() + gap * RESERVE + size;
        let budget = self.budget(pressed);
        if used + buffers.held() > budget {
            buffers.clear();
        }
        // What is missing takes time to note down: no more of it than was put in before.
        at < self.most_entries && used <= budget && gap <= MAX_GAP.max(self.taken)
    }

    /// How far after the reader's last segment a peer may send, if it may send `most` at all.
    pub(super) fn window(&self, most: usize, pressed: bool) -> usize {
        let free = self.budget(pressed).saturating_sub(self.committed());
        let beyond = (self.ready + most).saturating_sub(self.ring.len());
        let window = if beyond * RESERVE <= free {
            most
        } else {
            self.ring.len() + free / RESERVE - self.ready
        };
        window.min(self.most_entries.saturating_sub(self.ready))
    }

    /// Puts a segment in, `index` after the reader's last, where none is.
    pub(super) fn insert(
        &mut self,
        index: usize,
        fragments_left: u8,
        data: &[u8],
        buffers: &mut Buffers,
    ) {
        let at = self.ready + index;
        let fragment = Some(Fragment {
            data: buffers.take(data.len()),
            fragments_left,
        });
        self.taken = self.taken.saturating_add(1);
        if at < self.ring.len() {
            self.missing -= 1;
            self.ring[at] = fragment;
        } else {
            let gap = at - self.ring.len();
            if at >= self.ring.capacity() {
                grow(&mut self.ring, gap + 1, self.most_entries);
            }
            if gap > 0 {
                self.missing += gap;
                self.ring.resize_with(at, || None);
            }
            self.ring.push_back(fragment);
        }
        if let Some(Some(fragment)) = self.ring.get_mut(at) {
            self.bytes += fragment.data.capacity();
            fragment.data.extend_from_slice(data);
        }
    }

    /// Gives the reader the next segment, if it is here. One that is `unread` by any reader is
    /// skipped, unless others are in front of it.
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

    /// Takes out the reader's first segment.
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

    /// Drops the data of all segments, but not what is known of their arrival.
    pub(super) fn discard(&mut self, buffers: &mut Buffers) {
        while self.ready > 0 {
            self.pop(buffers);
        }
        for fragment in self.ring.iter_mut().flatten() {
            buffers.give(std::mem::take(&mut fragment.data));
        }
        self.bytes = 0;
    }

    /// Releases memory that is not used.
    pub(super) fn shrink(&mut self) {
        self.ring.shrink_to_fit();
    }

    /// Drops all but the reader's segments.
    pub(super) fn release(&mut self) {
        self.ring.truncate(self.ready);
        self.missing = 0;
        let buffers = self.ring.iter().flatten();
        self.bytes = buffers.map(|fragment| fragment.data.capacity()).sum();
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.bytes + self.ring.capacity() * size_of::<Option<Fragment>>()
    }

    /// Bytes of buffers, those of missing segments to come included.
    fn committed(&self) -> usize {
        self.bytes + self.missing * RESERVE
    }

    fn budget(&self, pressed: bool) -> usize {
        if pressed {
            self.budget.min(PRESSED_SEGMENTS * RESERVE)
        } else {
            self.budget
        }
    }
}

/// Makes room for `more` entries, doubling the room as [`VecDeque`] does, but not beyond `most`.
pub(super) fn grow<T>(ring: &mut VecDeque<T>, more: usize, most: usize) {
    let needed = ring.len() + more;
    if needed > ring.capacity() {
        let room = (2 * ring.capacity()).clamp(4, most.max(4)).max(needed);
        ring.reserve_exact(room - ring.len());
    }
}

/// Bytes kept free for a missing segment: no KCP peer sends datagrams of more.
const RESERVE: usize = 1500;

/// One part in so many of the budget is for ring entries. With the default budget for each segment
/// of the window that is room for twice the window.
const ENTRIES_SHARE: usize = 24;

/// Entries there may be however small the budget.
const MIN_ENTRIES: usize = 16;

/// Segments of the largest size that are taken in early while memory is short.
pub(super) const PRESSED_SEGMENTS: usize = 8;

/// Missing segments a peer may jump over at once, from its first segment on.
const MAX_GAP: usize = 1024;
