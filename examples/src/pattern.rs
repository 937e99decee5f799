//! Bytes whose position can be checked.

use bytes::Bytes;
use kcp_transport::testing::Rng;

/// An endless sequence of bytes without a short period, so that bytes lost, doubled or swapped are
/// noticed wherever it happens.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The period, and then its beginning again: as much as a slice may be long.
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

    /// The bytes from `position` on: `len` of them, or the longest slice there is.
    #[must_use]
    pub fn slice(&self, position: u64, len: usize) -> &[u8] {
        let start = offset(position);
        &self.bytes[start..start + len.min(self.longest)]
    }

    /// As [`slice`](Self::slice), sharing the memory.
    #[must_use]
    pub fn bytes(&self, position: u64, len: usize) -> Bytes {
        self.bytes.slice_ref(self.slice(position, len))
    }

    /// Whether `bytes` is what the pattern has at `position`.
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
    // The remainder is below the period, which fits.
    (position % PERIOD as u64) as usize
}

/// The largest prime below 64 Ki: no buffer or segment size divides it.
const PERIOD: usize = 65_521;

const SEED: u64 = 0x6b63_7020_6563_686f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_go_on_where_the_one_before_ended() {
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
    fn one_wrong_byte_is_noticed() {
        let pattern = Pattern::new(64);
        let mut bytes = pattern.slice(5, 64).to_vec();
        assert!(pattern.matches(5, &bytes));
        bytes[63] ^= 1;
        assert!(!pattern.matches(5, &bytes));
    }
}
