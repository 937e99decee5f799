//! Test data that can be checked at any offset.

use bytes::Bytes;
use kcp_transport::testing::Rng;

/// An endless sequence of bytes without a short period, so that lost, duplicated or swapped bytes are
/// detected at any offset.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// One period, followed by the first `longest` bytes of the next, so that every slice is contiguous.
    bytes: Bytes,
    longest: usize,
}

impl Pattern {
    /// A pattern for slices of up to `longest` bytes.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        let mut period = vec![0; PERIOD];
        Rng::new(SEED).fill(&mut period);
        let bytes: Vec<u8> = period
            .iter()
            .copied()
            .cycle()
            .take(PERIOD + longest)
            .collect();
        Self {
            bytes: bytes.into(),
            longest,
        }
    }

    /// The bytes from `position` on: `len` of them, or as many as the longest slice has.
    #[must_use]
    pub fn slice(&self, position: u64, len: usize) -> &[u8] {
        let start = offset(position);
        &self.bytes[start..start + len.min(self.longest)]
    }

    /// The same bytes as [`slice`](Self::slice), without a copy.
    #[must_use]
    pub fn bytes(&self, position: u64, len: usize) -> Bytes {
        self.bytes.slice_ref(self.slice(position, len))
    }

    /// Whether `bytes` are the bytes of the pattern at `position`.
    #[must_use]
    pub fn matches(&self, mut position: u64, bytes: &[u8]) -> bool {
        bytes.chunks(self.longest.max(1)).all(|chunk| {
            let expected = self.slice(position, chunk.len());
            position += chunk.len() as u64;
            expected == chunk
        })
    }
}

fn offset(position: u64) -> usize {
    // Cannot truncate: the remainder is below the period.
    (position % PERIOD as u64) as usize
}

/// The largest prime below 64 Ki, so that no buffer or segment size divides it.
const PERIOD: usize = 65_521;

const SEED: u64 = 0x6b63_7020_6563_686f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_slices_are_contiguous() {
        let pattern = Pattern::new(1000);
        let long: Vec<u8> = (0..200)
            .flat_map(|part| pattern.slice(part * 1000, 1000).to_vec())
            .collect();
        assert!(pattern.matches(0, &long));
        assert!(pattern.matches(77_777, &long[77_777..]));
        assert!(!pattern.matches(1, &long));
        assert_eq!(&pattern.bytes(65_000, 900), &long[65_000..65_900]);
    }

    #[test]
    fn one_wrong_byte_is_detected() {
        let pattern = Pattern::new(64);
        let mut bytes = pattern.slice(5, 64).to_vec();
        assert!(pattern.matches(5, &bytes));
        bytes[63] ^= 1;
        assert!(!pattern.matches(5, &bytes));
    }
}
