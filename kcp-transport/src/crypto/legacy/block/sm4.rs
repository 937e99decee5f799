//! SM4, with the round function in tables.

use cipher::consts::{U4, U16};
use zeroize::Zeroizing;

use super::{byte, encrypts_in_step, key_words, load, store};

/// SM4 with a 16-byte key.
pub(in crate::crypto) struct Sm4 {
    schedule: Zeroizing<[[u32; 4]; ROUNDS / 4]>,
}

impl Sm4 {
    /// The cipher, unless `key` has a length other than 16 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Option<Self> {
        let mut state = key_words::<4>(key)?;
        for (word, mask) in state.iter_mut().zip(KEY_MASK) {
            *word ^= mask;
        }
        let mut schedule = Zeroizing::new([[0; 4]; ROUNDS / 4]);
        let mut round = 0;
        for keys in schedule.iter_mut() {
            for at in 0..4 {
                let others = state[(at + 1) % 4] ^ state[(at + 2) % 4] ^ state[(at + 3) % 4];
                let replaced = substitute(others ^ round_constant(round));
                state[at] ^= replaced ^ replaced.rotate_left(13) ^ replaced.rotate_left(23);
                keys[at] = state[at];
                round += 1;
            }
        }
        Some(Self { schedule })
    }

    #[inline(always)]
    fn encrypt<const LANES: usize>(&self, mut blocks: [[u8; 16]; LANES]) -> [[u8; 16]; LANES] {
        let [mut a, mut b, mut c, mut d] =
            [0, 4, 8, 12].map(|at| load(&blocks, at).map(u32::from_be_bytes));
        for keys in self.schedule.iter() {
            round(&mut a, [&b, &c, &d], keys[0]);
            round(&mut b, [&c, &d, &a], keys[1]);
            round(&mut c, [&d, &a, &b], keys[2]);
            round(&mut d, [&a, &b, &c], keys[3]);
        }
        for (at, words) in [0, 4, 8, 12].into_iter().zip([d, c, b, a]) {
            store(&mut blocks, at, words.map(u32::to_be_bytes));
        }
        blocks
    }
}

encrypts_in_step!(Sm4, block: U16, lanes: U4);

#[inline(always)]
fn round<const LANES: usize>(to: &mut [u32; LANES], from: [&[u32; LANES]; 3], key: u32) {
    for lane in 0..LANES {
        to[lane] ^= transform(from[0][lane] ^ from[1][lane] ^ from[2][lane] ^ key);
    }
}

/// Substitution and linear transformation of all four bytes at once.
#[inline(always)]
fn transform(word: u32) -> u32 {
    TABLES[0][byte(word, 0)]
        ^ TABLES[1][byte(word, 1)]
        ^ TABLES[2][byte(word, 2)]
        ^ TABLES[3][byte(word, 3)]
}

fn substitute(word: u32) -> u32 {
    u32::from_be_bytes(word.to_be_bytes().map(|byte| S_BOX[usize::from(byte)]))
}

/// Its bytes are consecutive multiples of 7, modulo 256.
fn round_constant(round: u8) -> u32 {
    let byte = |place: u8| (4 * round + place).wrapping_mul(7);
    u32::from_be_bytes([byte(0), byte(1), byte(2), byte(3)])
}

const fn tables() -> [[u32; 256]; 4] {
    let mut tables = [[0; 256]; 4];
    let mut value = 0;
    while value < 256 {
        let word = S_BOX[value] as u32;
        let mixed = word
            ^ word.rotate_left(2)
            ^ word.rotate_left(10)
            ^ word.rotate_left(18)
            ^ word.rotate_left(24);
        tables[0][value] = mixed;
        tables[1][value] = mixed.rotate_left(8);
        tables[2][value] = mixed.rotate_left(16);
        tables[3][value] = mixed.rotate_left(24);
        value += 1;
    }
    tables
}

const ROUNDS: usize = 32;

/// What each byte of a round's input, by its position, contributes to the output.
static TABLES: [[u32; 256]; 4] = tables();

const KEY_MASK: [u32; 4] = [0xa3b1_bac6, 0x56aa_3350, 0x677d_9197, 0xb270_22dc];

#[rustfmt::skip]
const S_BOX: [u8; 256] = [
    0xd6, 0x90, 0xe9, 0xfe, 0xcc, 0xe1, 0x3d, 0xb7, 0x16, 0xb6, 0x14, 0xc2, 0x28, 0xfb, 0x2c, 0x05,
    0x2b, 0x67, 0x9a, 0x76, 0x2a, 0xbe, 0x04, 0xc3, 0xaa, 0x44, 0x13, 0x26, 0x49, 0x86, 0x06, 0x99,
    0x9c, 0x42, 0x50, 0xf4, 0x91, 0xef, 0x98, 0x7a, 0x33, 0x54, 0x0b, 0x43, 0xed, 0xcf, 0xac, 0x62,
    0xe4, 0xb3, 0x1c, 0xa9, 0xc9, 0x08, 0xe8, 0x95, 0x80, 0xdf, 0x94, 0xfa, 0x75, 0x8f, 0x3f, 0xa6,
    0x47, 0x07, 0xa7, 0xfc, 0xf3, 0x73, 0x17, 0xba, 0x83, 0x59, 0x3c, 0x19, 0xe6, 0x85, 0x4f, 0xa8,
    0x68, 0x6b, 0x81, 0xb2, 0x71, 0x64, 0xda, 0x8b, 0xf8, 0xeb, 0x0f, 0x4b, 0x70, 0x56, 0x9d, 0x35,
    0x1e, 0x24, 0x0e, 0x5e, 0x63, 0x58, 0xd1, 0xa2, 0x25, 0x22, 0x7c, 0x3b, 0x01, 0x21, 0x78, 0x87,
    0xd4, 0x00, 0x46, 0x57, 0x9f, 0xd3, 0x27, 0x52, 0x4c, 0x36, 0x02, 0xe7, 0xa0, 0xc4, 0xc8, 0x9e,
    0xea, 0xbf, 0x8a, 0xd2, 0x40, 0xc7, 0x38, 0xb5, 0xa3, 0xf7, 0xf2, 0xce, 0xf9, 0x61, 0x15, 0xa1,
    0xe0, 0xae, 0x5d, 0xa4, 0x9b, 0x34, 0x1a, 0x55, 0xad, 0x93, 0x32, 0x30, 0xf5, 0x8c, 0xb1, 0xe3,
    0x1d, 0xf6, 0xe2, 0x2e, 0x82, 0x66, 0xca, 0x60, 0xc0, 0x29, 0x23, 0xab, 0x0d, 0x53, 0x4e, 0x6f,
    0xd5, 0xdb, 0x37, 0x45, 0xde, 0xfd, 0x8e, 0x2f, 0x03, 0xff, 0x6a, 0x72, 0x6d, 0x6c, 0x5b, 0x51,
    0x8d, 0x1b, 0xaf, 0x92, 0xbb, 0xdd, 0xbc, 0x7f, 0x11, 0xd9, 0x5c, 0x41, 0x1f, 0x10, 0x5a, 0xd8,
    0x0a, 0xc1, 0x31, 0x88, 0xa5, 0xcd, 0x7b, 0xbd, 0x2d, 0x74, 0xd0, 0x12, 0xb8, 0xe5, 0xb4, 0xb0,
    0x89, 0x69, 0x97, 0x4a, 0x0c, 0x96, 0x77, 0x7e, 0x65, 0xb9, 0xf1, 0x09, 0xc5, 0x6e, 0xc6, 0x84,
    0x18, 0xf0, 0x7d, 0xec, 0x3a, 0xdc, 0x4d, 0x20, 0x79, 0xee, 0x5f, 0x3e, 0xd7, 0xcb, 0x39, 0x48,
];

#[cfg(test)]
mod tests {
    use super::*;
    use cipher::{BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    #[test]
    fn key_has_sixteen_bytes() {
        for len in 0..40 {
            assert_eq!(Sm4::new(&vec![1; len]).is_some(), len == 16);
        }
    }

    proptest! {
        #[test]
        fn blocks_are_those_of_the_sm4_crate(key: [u8; 16], blocks: [[u8; 16]; 4]) {
            let reference = sm4::Sm4::new(&key.into());
            let expected = blocks.map(|block| {
                let mut block = block.into();
                reference.encrypt_block(&mut block);
                block.0
            });
            prop_assert_eq!(Sm4::new(&key).expect("16 bytes").encrypt(blocks), expected);
        }
    }
}
