//! TEA with eight cycles, as in kcp-go; the standard has 32.

use cipher::consts::U8;
use zeroize::Zeroizing;

use super::{encrypts_in_step, key_words, load, store};

/// TEA with a 16-byte key.
pub(in crate::crypto) struct Tea {
    key: Zeroizing<[u32; 4]>,
}

impl Tea {
    /// The cipher, unless `key` has a length other than 16 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Option<Self> {
        let key = key_words(key)?;
        Some(Self { key })
    }

    #[inline(always)]
    fn encrypt<const LANES: usize>(&self, mut blocks: [[u8; 8]; LANES]) -> [[u8; 8]; LANES] {
        let mut left = load(&blocks, 0).map(u32::from_be_bytes);
        let mut right = load(&blocks, 4).map(u32::from_be_bytes);
        let mut sum = 0_u32;
        for _ in 0..CYCLES {
            sum = sum.wrapping_add(DELTA);
            half_cycle(&mut left, &right, sum, self.key[0], self.key[1]);
            half_cycle(&mut right, &left, sum, self.key[2], self.key[3]);
        }
        store(&mut blocks, 0, left.map(u32::to_be_bytes));
        store(&mut blocks, 4, right.map(u32::to_be_bytes));
        blocks
    }
}

encrypts_in_step!(Tea, block: U8, lanes: U8);

#[inline(always)]
fn half_cycle<const LANES: usize>(
    to: &mut [u32; LANES],
    from: &[u32; LANES],
    sum: u32,
    low: u32,
    high: u32,
) {
    for (to, from) in to.iter_mut().zip(from) {
        let mixed =
            (from << 4).wrapping_add(low) ^ from.wrapping_add(sum) ^ (from >> 5).wrapping_add(high);
        *to = to.wrapping_add(mixed);
    }
}

const CYCLES: usize = 8;

const DELTA: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_sixteen_bytes() {
        for len in 0..40 {
            assert_eq!(Tea::new(&vec![1; len]).is_some(), len == 16);
        }
    }
}
