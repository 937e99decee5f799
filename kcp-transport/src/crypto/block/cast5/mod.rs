//! CAST5, also called CAST-128 (RFC 2144).

mod boxes;

use cipher::consts::{U4, U8};
use zeroize::Zeroizing;

use self::boxes::{KEY_BOXES, ROUND_BOXES};
use super::{byte, encrypts_in_step, load, store};

/// CAST5 with a 16-byte key.
pub(in crate::crypto) struct Cast5 {
    /// For each round what it adds and by how much it rotates.
    schedule: Zeroizing<[[u32; 2]; ROUNDS]>,
}

impl Cast5 {
    /// The cipher, unless `key` has a length other than 16 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Option<Self> {
        let key: &[u8; 16] = key.try_into().ok()?;
        // The RFC's `x` in front and `z` behind, both as bytes.
        let mut state = Zeroizing::new([0; 32]);
        state[..16].copy_from_slice(key);
        let mut schedule = Zeroizing::new([[0; 2]; ROUNDS]);
        // First all that is added, then all rotations.
        for part in 0..2 {
            for (round, keys) in KEYS.iter().enumerate() {
                if round % 4 == 0 {
                    mix(&mut state, &MIXES[round / 4 % 2]);
                }
                schedule[round][part] = look_up(&state, keys, round % 4);
            }
        }
        for keys in schedule.iter_mut() {
            keys[1] &= 31;
        }
        Some(Self { schedule })
    }

    #[inline(always)]
    fn encrypt<const LANES: usize>(&self, mut blocks: [[u8; 8]; LANES]) -> [[u8; 8]; LANES] {
        let mut left = load(&blocks, 0).map(u32::from_be_bytes);
        let mut right = load(&blocks, 4).map(u32::from_be_bytes);
        let (sixes, last) = self.schedule.as_chunks::<6>();
        for keys in sixes {
            round::<1, LANES>(&mut left, &right, keys[0]);
            round::<2, LANES>(&mut right, &left, keys[1]);
            round::<3, LANES>(&mut left, &right, keys[2]);
            round::<1, LANES>(&mut right, &left, keys[3]);
            round::<2, LANES>(&mut left, &right, keys[4]);
            round::<3, LANES>(&mut right, &left, keys[5]);
        }
        round::<1, LANES>(&mut left, &right, last[0]);
        round::<2, LANES>(&mut right, &left, last[1]);
        round::<3, LANES>(&mut left, &right, last[2]);
        round::<1, LANES>(&mut right, &left, last[3]);
        store(&mut blocks, 0, right.map(u32::to_be_bytes));
        store(&mut blocks, 4, left.map(u32::to_be_bytes));
        blocks
    }
}

encrypts_in_step!(Cast5, block: U8, lanes: U4);

/// One round, of one of the RFC's three types.
#[inline(always)]
fn round<const TYPE: u8, const LANES: usize>(
    to: &mut [u32; LANES],
    from: &[u32; LANES],
    [key, rotation]: [u32; 2],
) {
    for (to, from) in to.iter_mut().zip(from) {
        let keyed = match TYPE {
            1 => key.wrapping_add(*from),
            2 => key ^ from,
            _ => key.wrapping_sub(*from),
        };
        let place = keyed.rotate_left(rotation);
        let [a, b, c, d] = [3, 2, 1, 0].map(|at| byte(place, at));
        let [a, b, c, d] = [
            ROUND_BOXES[0][a],
            ROUND_BOXES[1][b],
            ROUND_BOXES[2][c],
            ROUND_BOXES[3][d],
        ];
        *to ^= match TYPE {
            1 => (a ^ b).wrapping_sub(c).wrapping_add(d),
            2 => a.wrapping_sub(b).wrapping_add(c) ^ d,
            _ => (a.wrapping_add(b) ^ c).wrapping_sub(d),
        };
    }
}

/// Makes `z` of `x`, or `x` of `z`, word by word.
fn mix(state: &mut [u8; 32], steps: &[Mix; 4]) {
    for (step, fifth) in steps.iter().zip([2, 3, 0, 1]) {
        let mut word = look_up(state, &step.places, fifth).to_be_bytes();
        for (byte, source) in word.iter_mut().zip(&state[step.source..]) {
            *byte ^= source;
        }
        state[step.target..step.target + 4].copy_from_slice(&word);
    }
}

/// Combines what the key boxes hold for five bytes of the state, the last of them in box `fifth`.
fn look_up(state: &[u8; 32], places: &[usize; 5], fifth: usize) -> u32 {
    let boxes = [0, 1, 2, 3, fifth].into_iter();
    boxes.zip(places).fold(0, |word, (number, &place)| {
        word ^ KEY_BOXES[number][usize::from(state[place])]
    })
}

/// A step of the key schedule: a word of the state becomes another one, combined with look-ups.
struct Mix {
    target: usize,
    source: usize,
    places: [usize; 5],
}

const fn step(target: usize, source: usize, places: [usize; 5]) -> Mix {
    Mix {
        target,
        source,
        places,
    }
}

const ROUNDS: usize = 16;

/// The RFC's key schedule, `x` at 0 and `z` at 16: the steps from `x` to `z`, and those back.
const MIXES: [[Mix; 4]; 2] = [
    [
        step(16, 0, [13, 15, 12, 14, 8]),
        step(20, 8, [16, 18, 17, 19, 10]),
        step(24, 12, [23, 22, 21, 20, 9]),
        step(28, 4, [26, 25, 27, 24, 11]),
    ],
    [
        step(0, 24, [21, 23, 20, 22, 16]),
        step(4, 16, [0, 2, 1, 3, 18]),
        step(8, 20, [7, 6, 5, 4, 17]),
        step(12, 28, [10, 9, 11, 8, 19]),
    ],
];

/// Which bytes of the state make the key of each round.
const KEYS: [[usize; 5]; ROUNDS] = [
    [24, 25, 23, 22, 18],
    [26, 27, 21, 20, 22],
    [28, 29, 19, 18, 25],
    [30, 31, 17, 16, 28],
    [3, 2, 12, 13, 8],
    [1, 0, 14, 15, 13],
    [7, 6, 8, 9, 3],
    [5, 4, 10, 11, 7],
    [19, 18, 28, 29, 25],
    [17, 16, 30, 31, 28],
    [23, 22, 24, 25, 18],
    [21, 20, 26, 27, 22],
    [8, 9, 7, 6, 3],
    [10, 11, 5, 4, 7],
    [12, 13, 3, 2, 8],
    [14, 15, 1, 0, 13],
];

#[cfg(test)]
mod tests {
    use super::*;
    use cipher::{BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    #[test]
    fn key_has_sixteen_bytes() {
        for len in 0..40 {
            assert_eq!(Cast5::new(&vec![1; len]).is_some(), len == 16);
        }
    }

    proptest! {
        #[test]
        fn blocks_are_those_of_the_cast5_crate(key: [u8; 16], blocks: [[u8; 8]; 4]) {
            let reference = cast5::Cast5::new(&key.into());
            let expected = blocks.map(|block| {
                let mut block = block.into();
                reference.encrypt_block(&mut block);
                block.0
            });
            prop_assert_eq!(Cast5::new(&key).expect("16 bytes").encrypt(blocks), expected);
        }
    }
}
