//! Spare buffers, so that a busy connection does not allocate.

use std::time::Duration;

use crate::time::Time;

/// Buffers that held the data of finished segments, in two classes of size.
///
/// A small segment never takes a large buffer: otherwise a peer or a writer of one-byte segments
/// would hold a whole mtu of memory for each byte. Both classes are capped; buffers above the cap
/// are freed.
///
/// A window of large buffers is kept, since a busy connection fills and empties its windows once in
/// a round trip. Large buffers that were not needed for a second are freed. Apart from a few, used
/// and spare buffers together never exceed the largest number that was in use at one time.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Bytes of all of them.
    bytes: usize,
    /// Large buffers that stayed unused since `counted_since`.
    unneeded: usize,
    counted_since: Time,
    /// Memory is short, so only a few are kept.
    scarce: bool,
}

impl Buffers {
    /// An empty buffer with a capacity of at least `len` bytes and at most their [`true_size`].
    ///
    /// Move the buffer to its final place before copying data into it. Moving it right after a copy
    /// stalls until the copied bytes have reached the cache.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = if len < LARGE {
            let fits = |spare: &mut Vec<u8>| spare.capacity() <= true_size(len);
            self.small.pop_if(fits).unwrap_or_else(|| {
                // Keeps the total: a small buffer replaces a large one.
                self.bytes -= self.large.pop().map_or(0, |spare| spare.capacity());
                Vec::new()
            })
        } else {
            self.large.pop().unwrap_or_default()
        };
        self.unneeded = self.unneeded.min(self.large.len());
        self.bytes -= buffer.capacity();
        buffer.reserve_exact(len);
        buffer
    }

    /// Returns a buffer whose content is no longer needed.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let (class, most) = if buffer.capacity() < LARGE {
            (&mut self.small, MAX_SPARE)
        } else if self.scarce {
            (&mut self.large, MAX_SPARE)
        } else {
            (&mut self.large, MAX_LARGE)
        };
        if (1..=LARGEST).contains(&buffer.capacity()) && class.len() < most {
            buffer.clear();
            self.bytes += buffer.capacity();
            class.push(buffer);
        }
    }

    /// Frees large buffers that were not needed for a second.
    #[inline]
    pub(super) fn age(&mut self, now: Time) {
        if now - self.counted_since >= KEPT_FOR {
            self.free_unneeded(now);
        }
    }

    #[cold]
    fn free_unneeded(&mut self, now: Time) {
        let unneeded = self.unneeded.saturating_sub(MAX_SPARE);
        // The oldest ones are in front.
        for buffer in self.large.drain(..unneeded) {
            self.bytes -= buffer.capacity();
        }
        self.unneeded = self.large.len();
        self.counted_since = now;
    }

    /// Sets whether memory is short elsewhere.
    pub(super) fn set_scarce(&mut self, scarce: bool) {
        self.scarce = scarce;
        if scarce {
            self.clear();
        }
    }

    /// Frees everything.
    pub(super) fn clear(&mut self) {
        *self = Self {
            counted_since: self.counted_since,
            scarce: self.scarce,
            ..Self::default()
        };
    }

    /// Bytes held in spare buffers.
    pub(super) fn held(&self) -> usize {
        let entries = self.small.capacity() + self.large.capacity();
        self.bytes + entries * size_of::<Vec<u8>>()
    }
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
/// An mtu is at most 1500, so a segment in a large buffer wastes less than twice its size.
const LARGE: usize = 512;

/// Largest buffer that is kept, in bytes: no KCP peer sends larger datagrams.
const LARGEST: usize = 1500;

/// Maximum number of small buffers kept, and of large ones after a second without use.
///
/// One datagram of acks releases up to 58 segments, and the writer fills as many again.
const MAX_SPARE: usize = 64;

/// Maximum number of large buffers kept: a window of kcptun's size. Small ones are cheap to
/// allocate.
const MAX_LARGE: usize = 1024;

/// How long unused large buffers are kept: longer than a round trip of any path.
const KEPT_FOR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_data_never_takes_a_large_buffer() {
        let mut buffers = Buffers::default();
        buffers.give(vec![0; 1400]);
        assert!(buffers.take(1300).capacity() >= 1400);
        assert!(buffers.large.is_empty());
        buffers.give(vec![0; 1400]);
        assert!(buffers.take(1).capacity() < LARGE);
    }

    #[test]
    fn spare_buffers_are_capped() {
        let mut buffers = Buffers::default();
        for _ in 0..10 * MAX_SPARE {
            buffers.give(vec![0; 10]);
        }
        for _ in 0..2 * MAX_LARGE {
            buffers.give(vec![0; 1400]);
        }
        assert_eq!(
            (buffers.small.len(), buffers.large.len()),
            (MAX_SPARE, MAX_LARGE)
        );
        assert!(buffers.held() <= MAX_LARGE * 1500 + 2 * MAX_SPARE * 24 + MAX_SPARE * 12);
        buffers.clear();
        assert_eq!(buffers.held(), 0);
    }

    #[test]
    fn large_buffers_unused_for_a_second_are_freed_except_a_few() {
        let mut buffers = Buffers::default();
        let start = Time::from_millis(5000);
        let second = |number| start + KEPT_FOR * number;
        buffers.age(start);
        for _ in 0..1000 {
            buffers.give(vec![0; 1400]);
        }
        // They were returned during this period, so they do not count as unused yet.
        buffers.age(second(1));
        assert_eq!(buffers.large.len(), 1000);
        let taken: Vec<_> = (0..600).map(|_| buffers.take(1400)).collect();
        taken.into_iter().for_each(|buffer| buffers.give(buffer));
        buffers.age(second(1) + Duration::from_millis(999));
        assert_eq!(buffers.large.len(), 1000);
        buffers.age(second(2));
        assert_eq!(buffers.large.len(), 600 + MAX_SPARE);
        buffers.age(second(3));
        assert_eq!(buffers.large.len(), MAX_SPARE);
        assert_eq!(buffers.bytes, MAX_SPARE * 1400);
    }

    #[test]
    fn buffers_of_another_size_do_not_add_to_those_in_use() {
        let mut buffers = Buffers::default();
        for _ in 0..1000 {
            buffers.give(vec![0; 1400]);
        }
        let before = buffers.held();
        let small: Vec<_> = (0..1000).map(|_| buffers.take(100)).collect();
        let used: usize = small.iter().map(Vec::capacity).sum();
        assert!(buffers.large.is_empty());
        assert!(buffers.held() + used < before);
    }

    #[test]
    fn few_buffers_are_kept_while_memory_is_short() {
        let mut buffers = Buffers::default();
        for scarce in [true, false] {
            buffers.set_scarce(scarce);
            for _ in 0..2 * MAX_LARGE {
                buffers.give(vec![0; 1400]);
            }
            let expected = if scarce { MAX_SPARE } else { MAX_LARGE };
            assert_eq!(buffers.large.len(), expected);
        }
        buffers.set_scarce(true);
        assert_eq!(buffers.held(), 0);
    }
}
