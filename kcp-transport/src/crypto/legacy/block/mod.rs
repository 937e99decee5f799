//! Block ciphers for which there is no crate, or none about as fast as kcp-go.
//!
//! The RustCrypto crates, in the same CFB code, take 1.7 (SM4), 65 (Twofish) and 4.1 (3DES) times as
//! long as kcp-go; the one for Blowfish refuses keys of less than 4 bytes, which kcp-go accepts. The
//! ciphers here take 0.4 to 0.7 of kcp-go's time. For CAST5 the crate is as fast, so the crate is used.
//! The tests compare each cipher with its crate. Like the crates, the ciphers look up tables by index
//! values that depend on the key, so other programs on the machine may learn about the key from the CPU
//! cache.
//!
//! Each cipher encrypts several independent blocks in step. Within a block every round waits for the
//! round before it; the rounds of other blocks fill that time, or share a wide register.

mod blowfish;
mod sm4;
mod tea;
mod triple_des;
mod twofish;
mod xtea;

pub(super) use blowfish::Blowfish;
pub(super) use sm4::Sm4;
pub(super) use tea::Tea;
pub(super) use triple_des::TripleDes;
pub(super) use twofish::Twofish;
pub(super) use xtea::Xtea;

/// Gives a cipher the traits of the `cipher` crate.
///
/// `$cipher::encrypt` takes and returns any number of blocks, as arrays of bytes; `$lanes` is the
/// number at which it is fastest.
macro_rules! encrypts_in_step {
    ($cipher:ty, block: $block:ty, lanes: $lanes:ty) => {
        impl cipher::BlockSizeUser for $cipher {
            type BlockSize = $block;
        }

        impl cipher::ParBlocksSizeUser for $cipher {
            type ParBlocksSize = $lanes;
        }

        impl cipher::BlockCipherEncrypt for $cipher {
            #[inline]
            fn encrypt_with_backend(
                &self,
                closure: impl cipher::BlockCipherEncClosure<BlockSize = $block>,
            ) {
                closure.call(self);
            }
        }

        impl cipher::BlockCipherEncBackend for $cipher {
            #[inline(always)]
            fn encrypt_block(&self, mut block: cipher::InOut<'_, '_, cipher::Block<Self>>) {
                let [encrypted] = self.encrypt([block.clone_in().0]);
                block.get_out().0 = encrypted;
            }

            #[inline(always)]
            fn encrypt_par_blocks(
                &self,
                mut blocks: cipher::InOut<'_, '_, cipher::ParBlocks<Self>>,
            ) {
                let plain = blocks.clone_in().0.map(|block| block.0);
                blocks.get_out().0 = self.encrypt(plain).map(cipher::array::Array);
            }
        }
    };
}
use encrypts_in_step;

/// The four bytes at `offset` of each block.
#[inline(always)]
fn load<const SIZE: usize, const LANES: usize>(
    blocks: &[[u8; SIZE]; LANES],
    offset: usize,
) -> [[u8; 4]; LANES] {
    blocks.map(|block| std::array::from_fn(|byte| block[offset + byte]))
}

/// Puts four bytes at `offset` of each block.
#[inline(always)]
fn store<const SIZE: usize, const LANES: usize>(
    blocks: &mut [[u8; SIZE]; LANES],
    offset: usize,
    words: [[u8; 4]; LANES],
) {
    for (block, word) in blocks.iter_mut().zip(words) {
        block[offset..offset + 4].copy_from_slice(&word);
    }
}

/// Byte number `place` of the word, counted from the least significant, as an index.
#[inline(always)]
const fn byte(word: u32, place: u32) -> usize {
    // Narrowing cuts off the higher bytes.
    (word >> (8 * place)) as u8 as usize
}

/// The key as big-endian words, or none if it has another length.
fn key_words<const WORDS: usize>(key: &[u8]) -> Option<zeroize::Zeroizing<[u32; WORDS]>> {
    let (words, []) = key.as_chunks() else {
        return None;
    };
    let words: &[[u8; 4]; WORDS] = words.try_into().ok()?;
    Some(words.map(u32::from_be_bytes).into())
}
