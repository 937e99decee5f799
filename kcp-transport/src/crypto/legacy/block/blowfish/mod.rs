//! Blowfish.

mod pi;

use cipher::consts::{U4, U8};
use zeroize::Zeroizing;

use super::{byte, encrypts_in_step, load, store};

/// Blowfish with a key of 1 to 56 bytes.
pub(in crate::crypto) struct Blowfish {
    schedule: Zeroizing<[u32; ROUNDS + 2]>,
    boxes: Box<Zeroizing<[[u32; 256]; 4]>>,
}

impl Blowfish {
    /// The cipher, unless `key` is empty or longer than 56 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Option<Self> {
        if key.is_empty() || key.len() > MAX_KEY_LEN {
            return None;
        }
        let mut cipher = Self {
            schedule: Zeroizing::new(pi::SCHEDULE),
            boxes: Box::new(Zeroizing::new(pi::BOXES)),
        };
        let mut key = key.iter().copied().cycle();
        for word in cipher.schedule.iter_mut() {
            let mut next = || key.next().expect("a cycle has no end");
            *word ^= u32::from_be_bytes([next(), next(), next(), next()]);
        }
        // The cipher encrypts zeros again and again, and the results replace its own tables.
        let mut block = [[0; 8]];
        let mut next = |cipher: &Self| {
            block = cipher.encrypt(block);
            [0, 4].map(|at| u32::from_be_bytes(load(&block, at)[0]))
        };
        for at in (0..cipher.schedule.len()).step_by(2) {
            [cipher.schedule[at], cipher.schedule[at + 1]] = next(&cipher);
        }
        for number in 0..4 {
            for at in (0..256).step_by(2) {
                let words = next(&cipher);
                cipher.boxes[number][at..at + 2].copy_from_slice(&words);
            }
        }
        Some(cipher)
    }

    #[inline(always)]
    fn encrypt<const LANES: usize>(&self, mut blocks: [[u8; 8]; LANES]) -> [[u8; 8]; LANES] {
        let mut left = load(&blocks, 0).map(u32::from_be_bytes);
        let mut right = load(&blocks, 4).map(u32::from_be_bytes);
        let (pairs, _) = self.schedule.as_chunks::<2>();
        let (last, rounds) = pairs.split_last().expect("nine pairs");
        for keys in rounds {
            self.round(&mut right, &mut left, keys[0]);
            self.round(&mut left, &mut right, keys[1]);
        }
        store(
            &mut blocks,
            0,
            right.map(|word| (word ^ last[1]).to_be_bytes()),
        );
        store(
            &mut blocks,
            4,
            left.map(|word| (word ^ last[0]).to_be_bytes()),
        );
        blocks
    }

    #[inline(always)]
    fn round<const LANES: usize>(&self, to: &mut [u32; LANES], from: &mut [u32; LANES], key: u32) {
        let [first, second, third, fourth] = &**self.boxes;
        for (to, from) in to.iter_mut().zip(from) {
            *from ^= key;
            let sum = first[byte(*from, 3)].wrapping_add(second[byte(*from, 2)]);
            *to ^= (sum ^ third[byte(*from, 1)]).wrapping_add(fourth[byte(*from, 0)]);
        }
    }
}

encrypts_in_step!(Blowfish, block: U8, lanes: U4);

const ROUNDS: usize = 16;

const MAX_KEY_LEN: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;
    use cipher::{BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    #[test]
    fn key_has_one_to_fifty_six_bytes() {
        for len in 0..80 {
            let allowed = (1..=56).contains(&len);
            assert_eq!(Blowfish::new(&vec![1; len]).is_some(), allowed);
        }
    }

    #[test]
    fn short_key_is_as_good_as_its_repetition() {
        let encrypted = |key: &[u8]| Blowfish::new(key).expect("its length").encrypt([[7; 8]]);
        assert_eq!(encrypted(b"a"), encrypted(b"aaaa"));
        assert_eq!(encrypted(b"abc"), encrypted(b"abcabc"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn blocks_are_those_of_the_blowfish_crate(
            key in proptest::collection::vec(any::<u8>(), 4..=56), blocks: [[u8; 8]; 4],
        ) {
            let reference: blowfish::Blowfish = KeyInit::new_from_slice(&key).expect("its length");
            let expected = blocks.map(|block| {
                let mut block = block.into();
                reference.encrypt_block(&mut block);
                block.0
            });
            prop_assert_eq!(Blowfish::new(&key).expect("its length").encrypt(blocks), expected);
        }
    }
}
