//! Cipher feedback mode (CFB) over many packets at once, for any block cipher of 8 or 16 bytes.
//!
//! Each packet is one CFB message under kcp-go's fixed initialization vector; the random nonce that makes
//! it unique is its first plaintext. A partial block at the end uses the front of its key stream.

use std::{array, iter};

use cipher::array::{Array, ArraySize};
use cipher::typenum::Unsigned;
use cipher::{
    Block, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser,
};

use crate::crypto::PacketCipher;

/// A block cipher in CFB mode.
pub(super) struct Cfb<C: BlockCipherEncrypt> {
    cipher: C,
    /// Key stream of every packet's first block: the encrypted initialization vector.
    first: Block<C>,
}

impl<C: BlockCipherEncrypt> Cfb<C> {
    pub(super) fn new(cipher: C) -> Self {
        let mut first = Block::<C>::default();
        for (byte, initial) in first.iter_mut().zip(INITIAL_VECTOR) {
            *byte = initial;
        }
        cipher.encrypt_block(&mut first);
        Self { cipher, first }
    }
}

impl<C: BlockCipherEncrypt + Send + Sync> PacketCipher for Cfb<C> {
    fn encrypt(&self, packet: &mut [u8]) {
        self.encrypt_batch(&mut iter::once(packet));
    }

    fn decrypt(&self, packet: &mut [u8]) {
        let first = &self.first;
        self.cipher.encrypt_with_backend(Decrypt { first, packet });
    }

    fn encrypt_batch(&self, packets: &mut dyn Iterator<Item = &mut [u8]>) {
        let first = &self.first;
        self.cipher.encrypt_with_backend(Encrypt { first, packets });
    }
}

/// Encrypts many packets in one call of the block cipher's backend. The call itself is costly: it
/// detects CPU features and may load the round keys into wide registers first.
///
/// Each block's key stream is the encrypted block before it, so one packet waits for the block
/// cipher's whole latency at every block. Packets do not depend on each other: each takes a lane, all
/// lanes advance by one block together, and the next packet takes the lane of one that is finished.
struct Encrypt<'c, 'p, 'a, Size: ArraySize> {
    first: &'c Array<u8, Size>,
    packets: &'p mut dyn Iterator<Item = &'a mut [u8]>,
}

impl<Size: ArraySize> BlockSizeUser for Encrypt<'_, '_, '_, Size> {
    type BlockSize = Size;
}

impl<Size: ArraySize> BlockCipherEncClosure for Encrypt<'_, '_, '_, Size> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = Size>>(self, backend: &B) {
        let mut packets = self.packets.fuse();
        let mut lanes: [&mut [u8]; LANES] = array::from_fn(|_| Default::default());
        let mut streams: [Array<u8, Size>; LANES] = array::from_fn(|_| self.first.clone());
        let mut busy = 0;
        loop {
            while let Some(packet) = (busy < LANES).then(|| packets.next()).flatten() {
                lanes[busy] = packet;
                streams[busy].clone_from(self.first);
                busy += 1;
            }
            let blocks = |lane: &&mut [u8]| lane.len() / Size::USIZE;
            let Some(in_step) = lanes[..busy].iter().map(blocks).min() else {
                return;
            };
            match busy {
                1 => encrypt_alone(backend, lanes[0], &mut streams[0]),
                // The number of lanes is known to the compiler here.
                LANES => encrypt_in_step(backend, &mut lanes, &mut streams, in_step),
                _ => {
                    let (lanes, streams) = (&mut lanes[..busy], &mut streams[..busy]);
                    encrypt_in_step(backend, lanes, streams, in_step);
                }
            }
            for lane in &mut lanes[..busy] {
                *lane = &mut std::mem::take(lane)[in_step * Size::USIZE..];
            }
            // Backwards, so that a lane that is swapped in has been examined already.
            for lane in (0..busy).rev() {
                if lanes[lane].len() < Size::USIZE {
                    xor(lanes[lane], &streams[lane]);
                    busy -= 1;
                    lanes.swap(lane, busy);
                    streams.swap(lane, busy);
                }
            }
        }
    }
}

/// Encrypts the first `blocks` blocks of each lane.
#[inline(always)]
fn encrypt_in_step<B: BlockCipherEncBackend>(
    backend: &B,
    lanes: &mut [&mut [u8]],
    streams: &mut [Block<B>],
    blocks: usize,
) {
    let len = blocks * B::BlockSize::USIZE;
    for start in (0..len).step_by(B::BlockSize::USIZE) {
        for (lane, stream) in lanes.iter_mut().zip(&mut *streams) {
            let block = &mut lane[start..start + B::BlockSize::USIZE];
            let block: &mut Block<B> = block.try_into().expect("one block");
            *stream = xor_block(block, stream);
            block.copy_from_slice(stream);
        }
        encrypt_blocks(backend, streams);
    }
}

/// Encrypts all whole blocks of one lane, with the key stream in a register.
#[inline(always)]
fn encrypt_alone<B: BlockCipherEncBackend>(backend: &B, lane: &mut [u8], stream: &mut Block<B>) {
    let mut next = stream.clone();
    for block in Array::slice_as_chunks_mut(lane).0 {
        next = xor_block(block, &next);
        block.copy_from_slice(&next);
        backend.encrypt_block_inplace(&mut next);
    }
    *stream = next;
}

/// Decrypts one packet. All its key streams follow from its ciphertext, so many blocks are encrypted at
/// once.
struct Decrypt<'c, 'a, Size: ArraySize> {
    first: &'c Array<u8, Size>,
    packet: &'a mut [u8],
}

impl<Size: ArraySize> BlockSizeUser for Decrypt<'_, '_, Size> {
    type BlockSize = Size;
}

impl<Size: ArraySize> BlockCipherEncClosure for Decrypt<'_, '_, Size> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = Size>>(self, backend: &B) {
        // The first is the key stream of the chunk's first block; the chunk before computed it.
        let mut streams: [Array<u8, Size>; CHUNK + 1] = array::from_fn(|_| Array::default());
        streams[0].clone_from(self.first);
        for chunk in self.packet.chunks_mut(CHUNK * Size::USIZE) {
            let (blocks, tail) = Array::<u8, Size>::slice_as_chunks_mut(chunk);
            let count = blocks.len();
            for (stream, block) in streams[1..].iter_mut().zip(&*blocks) {
                stream.copy_from_slice(block);
            }
            encrypt_blocks(backend, &mut streams[1..=count]);
            for (block, stream) in blocks.iter_mut().zip(&streams) {
                xor(block, stream);
            }
            xor(tail, &streams[count]);
            streams.swap(0, count);
        }
    }
}

#[inline(always)]
fn encrypt_blocks<B: BlockCipherEncBackend>(backend: &B, blocks: &mut [Block<B>]) {
    let (groups, tail) = Array::slice_as_chunks_mut(blocks);
    for group in groups {
        backend.encrypt_par_blocks_inplace(group);
    }
    backend.encrypt_tail_blocks_inplace(tail);
}

/// Returns a new block: the compiler emits one wide operation only if the operands cannot overlap.
#[inline(always)]
fn xor_block<Size: ArraySize>(
    block: &Array<u8, Size>,
    stream: &Array<u8, Size>,
) -> Array<u8, Size> {
    let mut mixed = stream.clone();
    for (byte, key) in mixed.iter_mut().zip(block) {
        *byte ^= key;
    }
    mixed
}

fn xor(text: &mut [u8], stream: &[u8]) {
    for (byte, key) in text.iter_mut().zip(stream) {
        *byte ^= key;
    }
}

/// Packets that are encrypted in step.
///
/// AES instructions have a latency of about four cycles and two start per cycle, so eight lanes keep the
/// unit busy. Sixteen measured no faster.
const LANES: usize = 8;

/// Blocks that are decrypted at once.
///
/// A multiple of the `aes` crate's batch with AES-NI, and less than the 64 blocks of its AVX-512 kernel,
/// which measured 30 times slower here than one block at a time.
const CHUNK: usize = 16;

/// kcp-go's initialization vector; ciphers with blocks of 8 bytes take its first 8.
const INITIAL_VECTOR: [u8; 16] = [
    0xa7, 0x73, 0x4f, 0x9c, 0x12, 0xac, 0x1b, 0x01, 0xa4, 0x15, 0xf2, 0xc1, 0xfc, 0x78, 0xe6, 0x6b,
];

#[cfg(test)]
mod tests {
    use super::*;
    use aes::{Aes128, Aes192, Aes256};
    use cipher::consts::{U1, U8};
    use cipher::{InOut, KeyInit, KeyIvInit, ParBlocksSizeUser};
    use proptest::prelude::*;

    /// CFB by its definition: one packet, one block after the other.
    fn textbook<C: BlockCipherEncrypt>(cipher: &C, packet: &mut [u8]) {
        let size = C::block_size();
        let mut feedback = INITIAL_VECTOR[..size].to_vec();
        for block in packet.chunks_mut(size) {
            let mut stream = Block::<C>::try_from(&feedback[..]).expect("one block");
            cipher.encrypt_block(&mut stream);
            xor(block, &stream);
            feedback = block.to_vec();
        }
    }

    fn bytes(len: usize, salt: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251 + salt) as u8).collect()
    }

    fn encrypted<C: BlockCipherEncrypt + Send + Sync>(
        cfb: &Cfb<C>,
        mut packets: Vec<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        cfb.encrypt_batch(&mut packets.iter_mut().map(Vec::as_mut_slice));
        packets
    }

    fn is_textbook<C>(cipher: C, lengths: &[usize])
    where
        C: BlockCipherEncrypt + Clone + Send + Sync,
    {
        let cfb = Cfb::new(cipher.clone());
        let plain: Vec<_> = (0..).zip(lengths).map(|(i, &len)| bytes(len, i)).collect();
        let mut expected = plain.clone();
        for packet in &mut expected {
            textbook(&cipher, packet);
        }
        let mut packets = encrypted(&cfb, plain.clone());
        assert_eq!(packets, expected);
        for packet in &mut packets {
            cfb.decrypt(packet);
        }
        assert_eq!(packets, plain);
    }

    #[test]
    fn every_length_is_textbook_cfb_alone() {
        let cipher = Aes128::new(&[9; 16].into());
        for len in 0..=1500 {
            is_textbook(cipher.clone(), &[len]);
        }
    }

    #[test]
    fn every_number_of_lanes_is_textbook_cfb() {
        let cipher = Aes256::new(&[3; 32].into());
        for count in 0..=3 * LANES {
            is_textbook(cipher.clone(), &vec![1337; count]);
        }
    }

    #[test]
    fn blocks_of_eight_bytes_are_textbook_cfb() {
        for len in 0..=600 {
            is_textbook(Toy(0x0123_4567_89ab_cdef), &[len, 600 - len, len / 2]);
        }
    }

    proptest! {
        #[test]
        fn lanes_of_different_lengths_do_not_mix(
            lengths in proptest::collection::vec(0_usize..=1500, 0..40), key: [u8; 24],
        ) {
            is_textbook(Aes192::new(&key.into()), &lengths);
        }

        #[test]
        fn bytes_are_those_of_the_cfb_mode_crate(len in 0_usize..=1500, key: [u8; 32]) {
            let cfb = Cfb::new(Aes256::new(&key.into()));
            let mut expected = bytes(len, 0);
            cfb_mode::Encryptor::<Aes256>::new(&key.into(), &INITIAL_VECTOR.into())
                .encrypt(&mut expected);
            let packets = encrypted(&cfb, vec![bytes(len, 0); LANES + 1]);
            prop_assert!(packets.iter().all(|packet| *packet == expected));
        }
    }

    /// A permutation of eight bytes, for these tests only.
    #[derive(Clone)]
    struct Toy(u64);

    impl BlockSizeUser for Toy {
        type BlockSize = U8;
    }

    impl ParBlocksSizeUser for Toy {
        type ParBlocksSize = U1;
    }

    impl BlockCipherEncrypt for Toy {
        fn encrypt_with_backend(&self, closure: impl BlockCipherEncClosure<BlockSize = U8>) {
            closure.call(self);
        }
    }

    impl BlockCipherEncBackend for Toy {
        fn encrypt_block(&self, mut block: InOut<'_, '_, Block<Self>>) {
            let word = u64::from_le_bytes(block.clone_in().into()) ^ self.0;
            let mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
            *block.get_out() = mixed.to_le_bytes().into();
        }
    }
}
