//! XTEA.

use cipher::consts::U8;
use zeroize::Zeroizing;

use super::{encrypts_in_step, key_words, load, store};

/// XTEA with a 16-byte key and the standard's 32 cycles.
pub(in crate::crypto) struct Xtea {
    /// What each half cycle adds: the running sum and a word of the key.
    schedule: Zeroizing<[[u32; 2]; CYCLES]>,
}

impl Xtea {
    /// The cipher, unless `key` has a length other than 16 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Option<Self> {
        let key = key_words::<4>(key)?;
        let mut schedule = Zeroizing::new([[0; 2]; CYCLES]);
        let mut sum = 0_u32;
        for cycle in schedule.iter_mut() {
            cycle[0] = sum.wrapping_add(key[sum as usize & 3]);
            sum = sum.wrapping_add(DELTA);
            cycle[1] = sum.wrapping_add(key[(sum >> 11) as usize & 3]);
        }
        Some(Self { schedule })
    }

    #[inline(always)]
    fn encrypt<const LANES: usize>(&self, mut blocks: [[u8; 8]; LANES]) -> [[u8; 8]; LANES] {
        let mut left = load(&blocks, 0).map(u32::from_be_bytes);
        let mut right = load(&blocks, 4).map(u32::from_be_bytes);
        for &[first, second] in self.schedule.iter() {
            half_cycle(&mut left, &right, first);
            half_cycle(&mut right, &left, second);
        }
        store(&mut blocks, 0, left.map(u32::to_be_bytes));
        store(&mut blocks, 4, right.map(u32::to_be_bytes));
        blocks
    }
}

encrypts_in_step!(Xtea, block: U8, lanes: U8);

#[inline(always)]
fn half_cycle<const LANES: usize>(to: &mut [u32; LANES], from: &[u32; LANES], key: u32) {
    for (to, from) in to.iter_mut().zip(from) {
        let mixed = ((from << 4) ^ (from >> 5)).wrapping_add(*from) ^ key;
        *to = to.wrapping_add(mixed);
    }
}

const CYCLES: usize = 32;

const DELTA: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_sixteen_bytes() {
        for len in 0..40 {
            assert_eq!(Xtea::new(&vec![1; len]).is_some(), len == 16);
        }
    }

    /// The well-known test vector of zeros.
    #[test]
    fn zeros_are_encrypted_as_published() {
        let cipher = Xtea::new(&[0; 16]).expect("16 bytes");
        let encrypted = [0xde, 0xe9, 0xd4, 0xd8, 0xf7, 0x13, 0x1e, 0xd9];
        assert_eq!(cipher.encrypt([[0; 8]; 3]), [encrypted; 3]);
    }
}
