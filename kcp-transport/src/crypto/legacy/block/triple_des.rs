//! Triple DES, with S-boxes and the permutation after them in tables.

use cipher::consts::{U4, U8};
use zeroize::Zeroizing;

use super::{byte, encrypts_in_step, load, store};

/// Triple DES with a 24-byte key: encrypt, decrypt, encrypt.
///
/// Both halves of the state are kept rotated left by one bit, so that the eight groups of six bits
/// that a round looks up are the low bits of bytes: four groups in the word itself, and four in the word
/// rotated by four more bits. Between the three ciphers, the final permutation of one and the initial
/// permutation of the next cancel out.
pub(in crate::crypto) struct TripleDes {
    /// For each of the ciphers its rounds, for each round the bits for both sets of groups.
    schedule: Zeroizing<[[[u32; 2]; ROUNDS]; 3]>,
}

impl TripleDes {
    /// The cipher, unless `key` has a length other than 24 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Option<Self> {
        let (keys, []) = key.as_chunks::<8>() else {
            return None;
        };
        let keys: &[[u8; 8]; 3] = keys.try_into().ok()?;
        let mut schedule = Zeroizing::new(keys.map(|key| round_keys(u64::from_be_bytes(key))));
        schedule[1].reverse();
        Some(Self { schedule })
    }

    #[inline(always)]
    fn encrypt<const LANES: usize>(&self, mut blocks: [[u8; 8]; LANES]) -> [[u8; 8]; LANES] {
        let mut left = load(&blocks, 0).map(u32::from_be_bytes);
        let mut right = load(&blocks, 4).map(u32::from_be_bytes);
        for (left, right) in left.iter_mut().zip(&mut right) {
            (*left, *right) = enter(*left, *right);
        }
        for rounds in self.schedule.iter() {
            for &[first, second] in rounds.as_chunks::<2>().0 {
                round(&mut left, &right, first);
                round(&mut right, &left, second);
            }
            std::mem::swap(&mut left, &mut right);
        }
        for (left, right) in left.iter_mut().zip(&mut right) {
            (*left, *right) = leave(*left, *right);
        }
        store(&mut blocks, 0, left.map(u32::to_be_bytes));
        store(&mut blocks, 4, right.map(u32::to_be_bytes));
        blocks
    }
}

encrypts_in_step!(TripleDes, block: U8, lanes: U4);

#[inline(always)]
fn round<const LANES: usize>(to: &mut [u32; LANES], from: &[u32; LANES], key: [u32; 2]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= look_up([7, 5, 3, 1], from ^ key[0]);
        *to ^= look_up([0, 6, 4, 2], from.rotate_left(4) ^ key[1]);
    }
}

/// The output of four S-boxes for the low six bits of each byte, lowest byte first.
#[inline(always)]
fn look_up(boxes: [usize; 4], groups: u32) -> u32 {
    TABLES[boxes[0]][byte(groups, 0) & 63]
        ^ TABLES[boxes[1]][byte(groups, 1) & 63]
        ^ TABLES[boxes[2]][byte(groups, 2) & 63]
        ^ TABLES[boxes[3]][byte(groups, 3) & 63]
}

/// The initial permutation, as exchanges of bits between the halves.
#[inline(always)]
fn enter(mut left: u32, mut right: u32) -> (u32, u32) {
    exchange(&mut left, &mut right, 4, 0x0f0f_0f0f);
    exchange(&mut left, &mut right, 16, 0x0000_ffff);
    exchange(&mut right, &mut left, 2, 0x3333_3333);
    exchange(&mut right, &mut left, 8, 0x00ff_00ff);
    exchange(&mut left, &mut right, 1, 0x5555_5555);
    (left.rotate_left(1), right.rotate_left(1))
}

/// The final permutation: the inverse of the initial one.
#[inline(always)]
fn leave(left: u32, right: u32) -> (u32, u32) {
    let (mut left, mut right) = (left.rotate_right(1), right.rotate_right(1));
    exchange(&mut left, &mut right, 1, 0x5555_5555);
    exchange(&mut right, &mut left, 8, 0x00ff_00ff);
    exchange(&mut right, &mut left, 2, 0x3333_3333);
    exchange(&mut left, &mut right, 16, 0x0000_ffff);
    exchange(&mut left, &mut right, 4, 0x0f0f_0f0f);
    (left, right)
}

/// Exchanges the bits of `a` that stand `shift` above `mask` with those of `b` under `mask`.
#[inline(always)]
fn exchange(a: &mut u32, b: &mut u32, shift: u32, mask: u32) {
    let difference = ((*a >> shift) ^ *b) & mask;
    *b ^= difference;
    *a ^= difference << shift;
}

fn round_keys(key: u64) -> [[u32; 2]; ROUNDS] {
    let chosen = Zeroizing::new(choose(key, 64, &KEY_BITS));
    let half = |bits: u64| bits & 0x0fff_ffff;
    let (mut high, mut low) = (half(*chosen >> 28), half(*chosen));
    ROTATIONS.map(|by| {
        [high, low] = [high, low].map(|bits| half((bits << by) | (bits >> (28 - by))));
        let bits = choose((high << 28) | low, 56, &ROUND_KEY_BITS);
        // Six bits for each S-box; those of the first S-box are the most significant.
        let group = |index: u32| ((bits >> (42 - 6 * index)) & 63) as u8;
        let word = |groups: [u32; 4]| u32::from_le_bytes(groups.map(group));
        [word([7, 5, 3, 1]), word([0, 6, 4, 2])]
    })
}

/// The given bits of a word of `width` bits, most significant first. Bit 1 is the most significant.
const fn choose(word: u64, width: u32, places: &[u8]) -> u64 {
    let mut chosen = 0;
    let mut at = 0;
    while at < places.len() {
        chosen = (chosen << 1) | ((word >> (width - places[at] as u32)) & 1);
        at += 1;
    }
    chosen
}

const fn tables() -> [[u32; 64]; 8] {
    let mut tables = [[0; 64]; 8];
    let mut number = 0;
    while number < 8 {
        let mut input = 0;
        while input < 64 {
            let output = match S_BOXES[number][input] {
                digit @ b'0'..=b'9' => digit - b'0',
                letter => letter - b'a' + 10,
            };
            let placed = (output as u64) << (28 - 4 * number);
            // It has 32 bits, so narrowing loses none.
            let permuted = choose(placed, 32, &PERMUTATION) as u32;
            tables[number][input] = permuted.rotate_left(1);
            input += 1;
        }
        number += 1;
    }
    tables
}

const ROUNDS: usize = 16;

/// What each S-box contributes to the other half.
static TABLES: [[u32; 64]; 8] = tables();

/// The S-boxes, by their six input bits, in hexadecimal digits.
const S_BOXES: [[u8; 64]; 8] = [
    *b"e04fd7142ef2bd813aa66ccb599503784f1ce882d46921b7f5cb937e3aa0560d",
    *b"f31d84e76fb2384e9c7021dac6095ba50de87ab1a34fd4125b86c76c90352ef9",
    *b"ad0790e96334f65a12d8c57ebc4b2f81d16a4d9086f93807b41f2ec35ba5e27c",
    *b"7dd8eb35066f90a31427825cb1ca4ef9a36f9006cab17dd8f91435eb5c27824e",
    *b"2ecb421c74a7bd6185503ffad309e8964b281cb7a1de728df69fc0596a3405e3",
    *b"ca1fa4f2972c698506d13d4ee07b53b894e3f25c2985cf3a7b0e41a716d0b86d",
    *b"4db02be7f40981da3ec3957c52af6816164bbdd8c1347ae7a9f5608f0e52932c",
    *b"d12f8d486af3b714ac9536eb500ec97272b14e1794cae82d0f6ca9d0f335568b",
];

/// The permutation after the S-boxes, `P` in the standard.
#[rustfmt::skip]
const PERMUTATION: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
    2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
];

/// Permuted choice 1: the key without its parity bits.
#[rustfmt::skip]
const KEY_BITS: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18,
    10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
    63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22,
    14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];

/// Permuted choice 2: the bits of the rotated key that a round uses.
#[rustfmt::skip]
const ROUND_KEY_BITS: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10,
    23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
    41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48,
    44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];

/// Bits by which the halves of the key are rotated before each round.
const ROTATIONS: [u32; ROUNDS] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];

#[cfg(test)]
mod tests {
    use super::*;
    use cipher::{BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    #[test]
    fn key_has_twenty_four_bytes() {
        for len in 0..40 {
            assert_eq!(TripleDes::new(&vec![1; len]).is_some(), len == 24);
        }
    }

    proptest! {
        #[test]
        fn blocks_are_those_of_the_des_crate(key: [u8; 24], blocks: [[u8; 8]; 4]) {
            let reference = des::TdesEde3::new(&key.into());
            let expected = blocks.map(|block| {
                let mut block = block.into();
                reference.encrypt_block(&mut block);
                block.0
            });
            prop_assert_eq!(TripleDes::new(&key).expect("24 bytes").encrypt(blocks), expected);
        }
    }
}
