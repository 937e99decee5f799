//! Buffers for the data of segments, so that a busy connection does not allocate.

mod slabs;

use std::time::Duration;

use crate::time::Time;

use slabs::{SLOT_LEN, SLOTS, Slabs, Slot};

/// The data of one segment. It must be returned by [`Buffers::give`].
#[derive(Debug)]
pub(super) struct Data(Place);

#[derive(Debug)]
enum Place {
    Heap(Vec<u8>),
    Slot(Slot),
}

impl Data {
    /// Number of bytes.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.0 {
            Place::Heap(bytes) => bytes.len(),
            Place::Slot(slot) => slot.len.into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        match &self.0 {
            Place::Heap(bytes) => bytes.capacity(),
            Place::Slot(_) => SLOT_LEN,
        }
    }
}

impl Default for Data {
    fn default() -> Self {
        Self(Place::Heap(Vec::new()))
    }
}

/// Buffers of finished segments, which later ones use, in two classes of size.
///
/// A small segment never takes a large buffer: otherwise a peer or a writer of one-byte segments
/// would hold a whole mtu of memory for each byte. Those from the allocator are capped; buffers above
/// the cap are freed.
///
/// The first large buffers are from the allocator, and so are those of jumbo frames. Further ones are
/// slots of maps: what many connections need for a moment would otherwise stay with the allocator, in
/// pieces between small objects.
///
/// Maps that were not needed for a second are freed, and no sooner unless memory is short: a busy
/// connection fills and empties its windows once in a round trip, and each map that it gave back and took
/// again would cost a page fault for three segments.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Made by the first segment that needs them.
    slabs: Option<Box<Slabs>>,
    /// Bytes of `small` and `large`.
    bytes: usize,
    /// Large buffers in use that are from the allocator.
    large_used: u32,
    counted_since: Time,
    /// Memory is short, so only a few are kept.
    scarce: bool,
}

impl Buffers {
    /// An empty buffer with a capacity of at least `len` bytes and at most their [`true_size`].
    ///
    /// Move the buffer to its final place before copying data into it. Moving it right after a copy
    /// stalls until the copied bytes have reached the cache.
    pub(super) fn take(&mut self, len: usize) -> Data {
        if len < LARGE {
            return self.take_small(len);
        }
        if len <= SLOT_LEN
            && self.large_used >= u32::from(MAX_HEAP)
            && let Some(slot) = self.slabs.get_or_insert_default().take()
        {
            return Data(Place::Slot(slot));
        }
        let mut buffer = self.large.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer.reserve_exact(len);
        self.large_used += u32::from(is_large(&buffer));
        Data(Place::Heap(buffer))
    }

    /// As [`Self::take`], where no memory is to be added to what is held: a small segment may take a
    /// large buffer that cannot be freed.
    pub(super) fn take_held(&mut self, len: usize) -> Data {
        let slabs = self.slabs.as_mut();
        let slabs = slabs.filter(|_| (1..=SLOT_LEN).contains(&len));
        match slabs.and_then(|slabs| slabs.take_spare()) {
            Some(slot) => Data(Place::Slot(slot)),
            None => self.take(len),
        }
    }

    fn take_small(&mut self, len: usize) -> Data {
        let fits = |spare: &mut Vec<u8>| spare.capacity() <= true_size(len);
        let spare = self.small.pop_if(fits).or_else(|| {
            // Keeps the total: a small buffer replaces a large one.
            self.bytes -= self.large.pop().map_or(0, |spare| spare.capacity());
            None
        });
        let mut buffer = spare.unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer.reserve_exact(len);
        Data(Place::Heap(buffer))
    }

    /// Makes room for `more` bytes, in another buffer if there are too few.
    pub(super) fn reserve(&mut self, data: &mut Data, more: usize) {
        let needed = data.len() + more;
        if needed <= data.capacity() {
            return;
        }
        match &mut data.0 {
            Place::Heap(bytes) if needed < LARGE => bytes.reserve_exact(more),
            _ => {
                let former = std::mem::replace(data, self.take(needed));
                self.copy(&former, data);
                self.give(former);
            }
        }
    }

    fn copy(&mut self, from: &Data, to: &mut Data) {
        match &from.0 {
            Place::Heap(bytes) => self.append(to, bytes),
            // Only jumbo frames need more than a slot.
            Place::Slot(_) => {
                let bytes = self.bytes(from).to_vec();
                self.append(to, &bytes);
            }
        }
    }

    /// Adds bytes. A buffer that has too little room becomes larger.
    #[inline]
    pub(super) fn append(&mut self, data: &mut Data, bytes: &[u8]) {
        let needed = data.len() + bytes.len();
        if needed > data.capacity() {
            // Doubled within its class, so that adding bytes one by one takes linear time.
            let most = match needed {
                ..LARGE => LARGE - 1,
                LARGE..=SLOT_LEN => SLOT_LEN,
                _ => usize::MAX,
            };
            let room = (2 * data.capacity()).clamp(needed, most);
            self.reserve(data, room - data.len());
        }
        match &mut data.0 {
            Place::Heap(buffer) => buffer.extend_from_slice(bytes),
            Place::Slot(slot) => {
                if let Some(slabs) = &mut self.slabs {
                    slabs.append(slot, bytes);
                }
            }
        }
    }

    /// The bytes of a buffer.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, data: &'a Data) -> &'a [u8] {
        match &data.0 {
            Place::Heap(bytes) => bytes,
            Place::Slot(slot) => match &self.slabs {
                Some(slabs) => slabs.bytes(slot),
                None => &[],
            },
        }
    }

    /// Returns a buffer whose content is no longer needed.
    pub(super) fn give(&mut self, data: Data) {
        let mut buffer = match data.0 {
            Place::Heap(buffer) => buffer,
            Place::Slot(slot) => return self.give_slot(&slot),
        };
        let (class, most) = if is_large(&buffer) {
            self.large_used -= 1;
            (&mut self.large, usize::from(MAX_HEAP))
        } else {
            (&mut self.small, MAX_SPARE)
        };
        if (1..=LARGEST).contains(&buffer.capacity()) && class.len() < most {
            buffer.clear();
            self.bytes += buffer.capacity();
            class.push(buffer);
        }
    }

    fn give_slot(&mut self, slot: &Slot) {
        let Some(slabs) = &mut self.slabs else {
            return;
        };
        slabs.give(slot);
        if self.scarce {
            slabs.keep(MAX_SPARE.div_ceil(SLOTS));
        }
    }

    /// Frees maps that were not needed for a second.
    #[inline]
    pub(super) fn age(&mut self, now: Time) {
        if now - self.counted_since >= KEPT_FOR {
            self.free_unneeded(now);
        }
    }

    #[cold]
    fn free_unneeded(&mut self, now: Time) {
        self.counted_since = now;
        if let Some(slabs) = &mut self.slabs {
            slabs.free_unneeded(MAX_SPARE.div_ceil(SLOTS));
        }
    }

    /// Sets whether memory is short elsewhere.
    pub(super) fn set_scarce(&mut self, scarce: bool) {
        self.scarce = scarce;
        if scarce {
            self.clear();
        }
    }

    /// Whether memory is short elsewhere.
    pub(super) fn is_scarce(&self) -> bool {
        self.scarce
    }

    /// Frees everything that is not in use, except for what is in a map beside something in use.
    pub(super) fn clear(&mut self) {
        (self.small, self.large) = (Vec::new(), Vec::new());
        self.bytes = 0;
        if let Some(slabs) = &mut self.slabs {
            slabs.keep(0);
        }
        self.slabs.take_if(|slabs| slabs.is_empty());
    }

    /// Bytes in maps, in use or not.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn mapped(&self) -> usize {
        self.slabs.as_ref().map_or(0, |slabs| slabs.mapped())
    }

    /// Bytes held in spare buffers.
    pub(super) fn held(&self) -> usize {
        let entries = self.small.capacity() + self.large.capacity();
        let slabs = self.slabs.as_ref().map_or(0, |slabs| slabs.held());
        self.bytes + entries * size_of::<Vec<u8>>() + slabs
    }
}

/// Whether this is a large buffer from the allocator, and not that of a jumbo frame.
fn is_large(buffer: &Vec<u8>) -> bool {
    (LARGE..=LARGEST).contains(&buffer.capacity())
}

/// Maximum capacity of a buffer for `len` bytes of data.
///
/// Three times the data covers every large buffer, and the constant lets tiny segments reuse
/// buffers.
pub(super) const fn true_size(len: usize) -> usize {
    let size = 3 * len + 64;
    if size <= LARGEST {
        size
    } else if len < LARGEST {
        LARGEST
    } else {
        len
    }
}

/// Smallest capacity of a large buffer, in bytes.
///
/// With an mtu of at most 1500, a segment in a large buffer wastes less than twice its size.
const LARGE: usize = 512;

/// Largest buffer that is kept, in bytes: no other KCP peer sends larger datagrams.
const LARGEST: usize = 1500;

/// Maximum number of small buffers kept, and of large ones after a second without use or while memory is
/// short.
///
/// One datagram of acks releases up to 58 segments, and the writer fills as many again.
const MAX_SPARE: usize = 64;

/// Large buffers from the allocator: those of a connection that sends a little now and then.
const MAX_HEAP: u16 = 4;

/// How long unused maps are kept: longer than a round trip of any path.
const KEPT_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
