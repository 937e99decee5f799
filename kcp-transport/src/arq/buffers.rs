//! Spare buffers, so that a busy connection stops allocating.

/// Buffers that held the data of finished segments, in two classes of size.
///
/// A small segment never takes a large buffer: else a peer (or a writer) of one-byte segments
/// would pin a whole mtu for each byte. Both classes are capped, what exceeds the cap is freed.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    /// Bytes of all of them.
    bytes: usize,
}

impl Buffers {
    /// An empty buffer with room for `len` bytes, and for no more than their [`true_size`].
    ///
    /// Copy into it where it is to stay. A buffer that is moved right after its length was written
    /// waits for all that was written before, which is what was just copied, to reach the cache.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let class = if len < LARGE {
            &mut self.small
        } else {
            &mut self.large
        };
        let fits = |spare: &mut Vec<u8>| spare.capacity() <= true_size(len);
        let mut buffer = class.pop_if(fits).unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer.reserve_exact(len);
        buffer
    }

    /// Takes back a buffer whose content is no longer needed.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let class = if buffer.capacity() < LARGE {
            &mut self.small
        } else {
            &mut self.large
        };
        if (1..=LARGEST).contains(&buffer.capacity()) && class.len() < MAX_SPARE {
            buffer.clear();
            self.bytes += buffer.capacity();
            class.push(buffer);
        }
    }

    /// Frees everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes held in spare buffers.
    pub(super) fn held(&self) -> usize {
        let entries = self.small.capacity() + self.large.capacity();
        self.bytes + entries * size_of::<Vec<u8>>()
    }
}

/// Most bytes a buffer for `len` bytes of data may take.
///
/// Three times the data covers every large buffer, and the constant keeps tiny segments from
/// allocating afresh each time.
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

/// Where the class of large buffers begins, in bytes.
///
/// An mtu is at most 1500, so a segment in a large buffer wastes less than twice its size.
const LARGE: usize = 512;

/// Largest buffer that is kept: no KCP peer sends datagrams of more.
const LARGEST: usize = 1500;

/// Most buffers kept of each class.
///
/// One datagram of acks finishes up to 58 segments, and the writer fills as many again.
const MAX_SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_data_never_takes_a_large_buffer() {
        let mut buffers = Buffers::default();
        buffers.give(vec![0; 1400]);
        assert!(buffers.take(1).capacity() < LARGE);
        assert!(buffers.take(1300).capacity() >= 1400);
        assert!(buffers.large.is_empty());
    }

    #[test]
    fn spare_buffers_are_capped() {
        let mut buffers = Buffers::default();
        for _ in 0..10 * MAX_SPARE {
            buffers.give(vec![0; 1400]);
            buffers.give(vec![0; 10]);
        }
        assert!(buffers.held() <= MAX_SPARE * 1500 + MAX_SPARE * 12 + 1000);
        buffers.clear();
        assert_eq!(buffers.held(), 0);
    }
}
