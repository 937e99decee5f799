//! The received shards of one group.

use super::FecRatio;
use super::codec::{Codec, Inconsistent};

/// The shards of a group that have arrived, stored in one buffer.
#[derive(Debug)]
pub(super) struct Group {
    /// The group's widened number.
    pub(super) id: u64,
    /// The group is finished: all data has arrived, was rebuilt, or cannot be rebuilt.
    done: bool,
    shards: Shards,
}

/// The buffers of a group, which another group can reuse.
#[derive(Debug)]
pub(super) struct Shards {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// A shard in the buffer. It starts where the one before it ends.
#[derive(Debug)]
struct Entry {
    /// Index in the group, data first.
    index: usize,
    end: usize,
}

/// The result of inserting a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// The shard was there before, or its group is finished.
    Useless,
    /// The shard was kept, and more are needed.
    Kept,
    /// All data of the group has arrived.
    Complete,
    /// Enough shards have arrived to rebuild the missing data.
    Sufficient,
}

impl Group {
    pub(super) fn new(id: u64, mut shards: Shards) -> Self {
        shards.bytes.clear();
        shards.entries.clear();
        Self {
            id,
            done: false,
            shards,
        }
    }

    /// Bytes of heap memory of the shards.
    pub(super) fn memory(&self) -> usize {
        self.shards.memory()
    }

    /// Additional bytes of memory for one more shard of `len` bytes.
    pub(super) fn growth(&self, len: usize) -> usize {
        growth(&self.shards.bytes, len)
    }

    /// Whether the group is finished.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether a shard with this index is still missing and needed.
    pub(super) fn wants(&self, index: usize) -> bool {
        !self.done && self.shards.entries.iter().all(|entry| entry.index != index)
    }

    /// Stores a copy of a shard.
    pub(super) fn insert(&mut self, ratio: FecRatio, index: usize, shard: &[u8]) -> Inserted {
        if !self.wants(index) {
            return Inserted::Useless;
        }
        let bytes = &mut self.shards.bytes;
        let room = bytes.capacity() - bytes.len();
        bytes.reserve_exact(room + growth(bytes, shard.len()));
        bytes.extend_from_slice(shard);
        self.shards.entries.push(Entry {
            index,
            end: self.shards.bytes.len(),
        });
        let entries = &self.shards.entries;
        if entries.len() < ratio.data() {
            Inserted::Kept
        } else if entries.iter().all(|entry| entry.index < ratio.data()) {
            Inserted::Complete
        } else {
            Inserted::Sufficient
        }
    }

    /// Drops all parity shards.
    pub(super) fn forget_parity(&mut self, ratio: FecRatio) {
        let Shards { bytes, entries } = &mut self.shards;
        let (mut start, mut kept) = (0, 0);
        entries.retain_mut(|entry| {
            let shard = start..entry.end;
            start = entry.end;
            if entry.index >= ratio.data() {
                return false;
            }
            let len = shard.len();
            bytes.copy_within(shard, kept);
            kept += len;
            entry.end = kept;
            true
        });
        bytes.truncate(kept);
    }

    /// Computes the missing data shards, which `rebuilt` then holds; returns the length of each.
    pub(super) fn rebuild(
        &self,
        ratio: FecRatio,
        codec: &Codec,
        rebuilt: &mut Vec<u8>,
    ) -> Result<usize, Inconsistent> {
        let (mut data, mut parity) = (Vec::new(), Vec::new());
        let mut start = 0;
        for entry in &self.shards.entries {
            let shard = &self.shards.bytes[start..entry.end];
            start = entry.end;
            match entry.index.checked_sub(ratio.data()) {
                None => data.push((entry.index, shard)),
                Some(index) => parity.push((index, shard)),
            }
        }
        codec.reconstruct(&data, &parity, rebuilt)
    }

    /// Marks the group as finished, so that it accepts no more shards, and returns its buffers.
    pub(super) fn finish(&mut self) -> Shards {
        self.done = true;
        std::mem::replace(&mut self.shards, Shards::new())
    }
}

impl Shards {
    pub(super) const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Replaces these buffers by `other` if those are larger but not too large to keep.
    pub(super) fn replace_if_larger(&mut self, other: Self) {
        let capacity = other.bytes.capacity();
        if capacity > self.bytes.capacity() && capacity <= MAX_SPARE_BYTES {
            *self = other;
        }
    }
}

/// By how much a buffer grows for `len` more bytes.
///
/// It grows by at least a quarter, so that shards are not copied every time, but does not double,
/// so that the budget is used for shards rather than for spare capacity.
fn growth(buffer: &Vec<u8>, len: usize) -> usize {
    let room = buffer.capacity() - buffer.len();
    if len <= room {
        0
    } else {
        (len - room).max(buffer.capacity() / 4)
    }
}

/// Largest buffer that is kept for reuse: the packets of a group of 40.
pub(super) const MAX_SPARE_BYTES: usize = 64 * 1024;
