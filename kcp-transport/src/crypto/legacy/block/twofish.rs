//! Twofish, with key-dependent tables.

use cipher::consts::{U4, U16};
use zeroize::Zeroizing;

use super::{byte, encrypts_in_step, load, store};

/// Twofish with a key of 16, 24 or 32 bytes.
///
/// The S-boxes depend on the key. They are computed once, together with the matrix that follows them, so
/// that a round consists of table look-ups.
pub(in crate::crypto) struct Twofish {
    /// Whitening words of the input (four) and of the output (four), then the round keys.
    schedule: Zeroizing<[u32; 8 + 2 * ROUNDS]>,
    tables: Box<Zeroizing<[[u32; 256]; 4]>>,
}

impl Twofish {
    /// The cipher, unless `key` has a length other than 16, 24 or 32 bytes.
    pub(in crate::crypto) fn new(key: &[u8]) -> Option<Self> {
        if !matches!(key.len(), 16 | 24 | 32) {
            return None;
        }
        let mut parts = Zeroizing::new([[[0; 4]; 4]; 3]);
        let [even, odd, sbox] = &mut *parts;
        let (eights, _) = key.as_chunks::<8>();
        let count = eights.len();
        for (at, eight) in eights.iter().enumerate() {
            let [a, b, c, d, e, f, g, h] = *eight;
            even[count - 1 - at] = [a, b, c, d];
            odd[count - 1 - at] = [e, f, g, h];
            sbox[at] = reed_solomon(eight);
        }
        let [even, odd, sbox] = [&even[..count], &odd[..count], &sbox[..count]];

        let mut schedule = Zeroizing::new([0_u32; 8 + 2 * ROUNDS]);
        for (pair, at) in schedule.as_chunks_mut::<2>().0.iter_mut().zip(0_u8..) {
            let a = hash([2 * at; 4], even);
            let b = hash([2 * at + 1; 4], odd).rotate_left(8);
            let sum = a.wrapping_add(b);
            *pair = [sum, sum.wrapping_add(b).rotate_left(9)];
        }
        let mut tables = Box::new(Zeroizing::new([[0; 256]; 4]));
        for (column, table) in tables.iter_mut().enumerate() {
            for (entry, value) in table.iter_mut().zip(0..=255) {
                *entry = spread(column, substitute(column, value, sbox));
            }
        }
        Some(Self { schedule, tables })
    }

    #[inline(always)]
    fn encrypt<const LANES: usize>(&self, mut blocks: [[u8; 16]; LANES]) -> [[u8; 16]; LANES] {
        let (whitening, rounds) = self.schedule.split_at(8);
        let mut x = [0, 4, 8, 12].map(|at| load(&blocks, at).map(u32::from_le_bytes));
        for (words, key) in x.iter_mut().zip(&whitening[..4]) {
            *words = words.map(|word| word ^ key);
        }
        let [a, b, c, d] = &mut x;
        for keys in rounds.as_chunks::<4>().0 {
            for lane in 0..LANES {
                self.round(
                    a[lane],
                    b[lane],
                    &mut c[lane],
                    &mut d[lane],
                    [keys[0], keys[1]],
                );
            }
            for lane in 0..LANES {
                self.round(
                    c[lane],
                    d[lane],
                    &mut a[lane],
                    &mut b[lane],
                    [keys[2], keys[3]],
                );
            }
        }
        let [a, b, c, d] = x;
        for ((at, words), key) in [0, 4, 8, 12]
            .into_iter()
            .zip([c, d, a, b])
            .zip(&whitening[4..])
        {
            store(
                &mut blocks,
                at,
                words.map(|word| (word ^ key).to_le_bytes()),
            );
        }
        blocks
    }

    #[inline(always)]
    fn round(&self, a: u32, b: u32, c: &mut u32, d: &mut u32, keys: [u32; 2]) {
        let [first, second, third, fourth] = &**self.tables;
        let left = first[byte(a, 0)] ^ second[byte(a, 1)] ^ third[byte(a, 2)] ^ fourth[byte(a, 3)];
        // The same function as for the left half, of `b` rotated by a byte.
        let right = first[byte(b, 3)] ^ second[byte(b, 0)] ^ third[byte(b, 1)] ^ fourth[byte(b, 2)];
        let sum = left.wrapping_add(right);
        *c = (*c ^ sum.wrapping_add(keys[0])).rotate_right(1);
        *d = d.rotate_left(1) ^ sum.wrapping_add(right).wrapping_add(keys[1]);
    }
}

encrypts_in_step!(Twofish, block: U16, lanes: U4);

/// The function `h` of the specification. `keys` in the order in which they are used.
fn hash(input: [u8; 4], keys: &[[u8; 4]]) -> u32 {
    (0..4).fold(0, |word, column| {
        word ^ spread(column, substitute(column, input[column], keys))
    })
}

/// One byte through the S-boxes of its column, a key byte after each but the last.
fn substitute(column: usize, mut value: u8, keys: &[[u8; 4]]) -> u8 {
    let order = &ORDER[column][4 - keys.len()..];
    for (permutation, key) in order.iter().zip(keys) {
        value = permute(*permutation, value) ^ key[column];
    }
    permute(order[keys.len()], value)
}

/// One of the specification's permutations `q0` and `q1`.
fn permute(permutation: usize, value: u8) -> u8 {
    // One of 16 hexadecimal digits; digit 0 is the most significant.
    let pick = |digits: u64, at: u8| (digits >> (60 - 4 * at)) as u8 & 15;
    let mix = |a: u8, b: u8| (a ^ b, (a ^ (b >> 1) ^ (b << 3) ^ (a << 3)) & 15);
    let boxes = &PERMUTATIONS[permutation];
    let (a, b) = mix(value >> 4, value & 15);
    let (a, b) = mix(pick(boxes[0], a), pick(boxes[1], b));
    (pick(boxes[3], b) << 4) | pick(boxes[2], a)
}

/// Multiplies a column of the MDS matrix by `value`.
fn spread(column: usize, value: u8) -> u32 {
    let [by_5b, by_ef] = [0x5b, 0xef].map(|factor| multiply(value, factor, MDS_POLYNOMIAL));
    u32::from_le_bytes(match column {
        0 => [value, by_5b, by_ef, by_ef],
        1 => [by_ef, by_ef, by_5b, value],
        2 => [by_5b, by_ef, value, by_ef],
        _ => [by_5b, value, by_ef, by_5b],
    })
}

fn reed_solomon(key: &[u8; 8]) -> [u8; 4] {
    REED_SOLOMON.map(|row| {
        let products = row.iter().zip(key);
        products.fold(0, |sum, (&factor, &byte)| {
            sum ^ multiply(byte, factor, REED_SOLOMON_POLYNOMIAL)
        })
    })
}

/// Multiplies in GF(2^8); `polynomial` is without its highest term.
fn multiply(mut a: u8, mut b: u8, polynomial: u8) -> u8 {
    let mut product = 0;
    while b > 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { polynomial };
        b >>= 1;
    }
    product
}

const ROUNDS: usize = 16;

/// The permutation of each column at each step. Shorter keys skip the first steps.
const ORDER: [[usize; 5]; 4] = [
    [1, 1, 0, 0, 1],
    [0, 1, 1, 0, 0],
    [0, 0, 0, 1, 1],
    [1, 0, 1, 1, 0],
];

/// The boxes `t0` to `t3` of `q0` and `q1`, 16 hexadecimal digits each.
const PERMUTATIONS: [[u64; 4]; 2] = [
    [
        0x817d_6f32_0b59_eca4,
        0xecb8_1235_f4a6_709d,
        0xba5e_6d90_c8f3_2471,
        0xd7f4_126e_9b30_85ca,
    ],
    [
        0x28bd_f76e_3194_0ac5,
        0x1e2b_4c37_6da5_f908,
        0x4c75_169a_0ed8_2b3f,
        0xb951_c3de_647f_208a,
    ],
];

const MDS_POLYNOMIAL: u8 = 0x69;

const REED_SOLOMON_POLYNOMIAL: u8 = 0x4d;

const REED_SOLOMON: [[u8; 8]; 4] = [
    [0x01, 0xa4, 0x55, 0x87, 0x5a, 0x58, 0xdb, 0x9e],
    [0xa4, 0x56, 0x82, 0xf3, 0x1e, 0xc6, 0x68, 0xe5],
    [0x02, 0xa1, 0xfc, 0xc1, 0x47, 0xae, 0x3d, 0x19],
    [0xa4, 0x55, 0x87, 0x5a, 0x58, 0xdb, 0x9e, 0x03],
];

#[cfg(test)]
mod tests {
    use super::*;
    use cipher::{BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    #[test]
    fn key_has_sixteen_twenty_four_or_thirty_two_bytes() {
        for len in 0..80 {
            let allowed = [16, 24, 32].contains(&len);
            assert_eq!(Twofish::new(&vec![1; len]).is_some(), allowed);
        }
    }

    proptest! {
        #[test]
        fn blocks_are_those_of_the_twofish_crate(key: [u8; 32], blocks: [[u8; 16]; 4]) {
            for len in [16, 24, 32] {
                let key = &key[..len];
                let reference = twofish::Twofish::new_from_slice(key).expect("its length");
                let expected = blocks.map(|block| {
                    let mut block = block.into();
                    reference.encrypt_block(&mut block);
                    block.0
                });
                let ours = Twofish::new(key).expect("its length");
                prop_assert_eq!(ours.encrypt(blocks), expected, "{} bytes", len);
            }
        }
    }
}
