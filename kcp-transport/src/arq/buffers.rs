//! Spare buffers, so that a busy connection stops allocating.

/// Buffers that held the data of finished segments, in two classes of size.
///
/// A small segment never takes a large buffer: else a peer (or a writer) of one-byte segments
/// would pin a whole mtu for each byte. Both classes are capped, what exceeds the cap is freed.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Buffers {
    /// A buffer that holds a copy of `bytes`.
    pub(super) fn copy_of(&mut self, bytes: &[u8]) -> Vec<u8> {
        let class = if bytes.len() < LARGE {
            &mut self.small
        } else {
            &mut self.large
        };
        let fits = class
            .last()
            .is_some_and(|spare| spare.capacity() <= waste_limit(bytes.len()));
        let mut buffer = if fits { class.pop() } else { None }.unwrap_or_default();
        buffer.reserve_exact(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Takes back a buffer whose content is no longer needed.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        let class = if buffer.capacity() < LARGE {
            &mut self.small
        } else {
            &mut self.large
        };
        if buffer.capacity() > 0 && class.len() < MAX_SPARE {
            buffer.clear();
            class.push(buffer);
        }
    }

    /// Frees everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes held in spare buffers.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let all = self.small.iter().chain(&self.large);
        all.map(Vec::capacity).sum::<usize>() + self.small.capacity() + self.large.capacity()
    }
}

/// Largest capacity a spare buffer may have to hold `len` bytes.
///
/// Three times the data covers every large buffer, and the constant keeps tiny segments from
/// allocating afresh each time.
const fn waste_limit(len: usize) -> usize {
    3 * len + 64
}

/// Where the class of large buffers begins, in bytes.
///
/// An mtu is at most 1500, so a segment in a large buffer wastes less than twice its size.
const LARGE: usize = 512;

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
        assert!(buffers.copy_of(&[1]).capacity() < LARGE);
        assert!(buffers.copy_of(&[1; 1300]).capacity() >= 1400);
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
