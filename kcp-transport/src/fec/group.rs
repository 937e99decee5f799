//! What a receiver keeps of one group.

use super::FecRatio;
use super::codec::{Codec, Inconsistent};

/// The shards of a group that arrived, side by side in one buffer.
#[derive(Debug)]
pub(super) struct Group {
    /// The group's widened number.
    pub(super) id: u64,
    /// Nothing is left to do: all data is there, or was rebuilt, or cannot be.
    done: bool,
    shards: Shards,
}

/// Buffers of a group, to be used again by another.
#[derive(Debug)]
pub(super) struct Shards {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// Where a shard ends in the buffer; it starts where the one before it ends.
#[derive(Debug)]
struct Entry {
    /// Place in the group, data first.
    index: usize,
    end: usize,
}

/// What became of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It was there before, or its group is done.
    Useless,
    /// It is kept; more are needed.
    Kept,
    /// All data of the group has arrived.
    Complete,
    /// As many shards have arrived as it takes to rebuild the missing data.
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

    /// Bytes of memory the shards take.
    pub(super) fn memory(&self) -> usize {
        self.shards.memory()
    }

    /// Bytes of memory that keeping one more shard of `len` bytes takes besides.
    pub(super) fn growth(&self, len: usize) -> usize {
        growth(&self.shards.bytes, len)
    }

    /// Whether this shard could still be of use.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    pub(super) fn wants(&self, index: usize) -> bool {
        !self.done && self.shards.entries.iter().all(|entry| entry.index != index)
    }

    /// Keeps a copy of a shard.
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

    /// Keeps the data shards only.
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

    /// Marks the group as done, so that its shards are not kept again, and returns its buffers.
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

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Keeps `other` in place of these buffers, if that saves more allocations and is not so large
    /// that it had better be released.
    pub(super) fn replace_if_larger(&mut self, other: Self) {
        let capacity = other.bytes.capacity();
        if capacity > self.bytes.capacity() && capacity <= MAX_SPARE_BYTES {
            *self = other;
        }
    }
}

/// By how much a buffer grows to hold `len` bytes more.
///
/// By a quarter at least, so that shards are not copied each time; by less than doubling, so that
/// the budget goes to shards rather than to room.
fn growth(buffer: &Vec<u8>, len: usize) -> usize {
    let room = buffer.capacity() - buffer.len();
    if len <= room {
        0
    } else {
        (len - room).max(buffer.capacity() / 4)
    }
}

/// Largest buffer that is kept for later: the packets of a group of 40.
pub(super) const MAX_SPARE_BYTES: usize = 64 * 1024;
