//! Nonces without a call for entropy per packet.
//!
//! A nonce consists of a random prefix of its source and a counter that the source never repeats.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use aes::{Aes128, Aes256};
use cipher::{Block, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use zeroize::Zeroizing;

/// Makes nonces from one random seed and never repeats one.
///
/// A copy of the whole process, by `fork` or from a snapshot of its machine, makes the same nonces again.
///
/// There are two kinds, which may be drawn in any order:
///
/// ```text
/// counted (AEAD):   prefix 8 | counter 4              the prefix moves on when the counter wraps
/// opaque (others):  AES(prefix 8 | counter 8)         under a key that only this source has
/// ```
///
/// Counted nonces are unique within a source by construction. Those of two sources under one key can be
/// equal only if the random prefixes collide. The same holds for opaque ones, which also look random: a
/// cipher that sends its nonce in clear reveals no counter.
pub struct NonceSource {
    /// Random, and different for each source.
    prefix: u64,
    opaque_key: Aes128,
    issued: AtomicU64,
}

impl NonceSource {
    /// A source whose nonces are derived from `seed`, which must be random and used for nothing else.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        let generator = Aes256::new((&*seed).into());
        // Two blocks of AES-256 in counter mode: the prefix, and the key that makes nonces opaque.
        let block = |counter: u8| {
            let mut block = Block::<Aes256>::default();
            block[0] = counter;
            generator.encrypt_block(&mut block);
            Zeroizing::new(<[u8; 16]>::from(block))
        };
        let [prefix, _] = halves(*block(0));
        Self {
            prefix,
            opaque_key: Aes128::new((&*block(1)).into()),
            issued: AtomicU64::new(0),
        }
    }

    /// Reserves `count` nonces for the caller. Several threads may do so at once.
    pub fn reserve(&self, count: usize) -> Nonces<'_> {
        let count = u64::try_from(count).expect("usize has at most 64 bits");
        // Only the number itself is shared between threads, so no ordering is needed.
        let next = self.issued.fetch_add(count, Ordering::Relaxed);
        Nonces {
            source: self,
            next,
            end: next + count,
        }
    }

    /// Whether this source made the nonce, so that a received packet with it was reflected.
    ///
    /// For another source's nonce the answer is wrong with a probability of about 2^-64.
    #[must_use]
    pub fn is_own_counted(&self, nonce: &[u8; AEAD_NONCE_LEN]) -> bool {
        let (prefix, counter) = nonce.split_at(PREFIX_LEN);
        let prefix = u64::from_be_bytes(prefix.try_into().expect("8 bytes"));
        let counter = u32::from_be_bytes(counter.try_into().expect("4 bytes"));
        let wraps = prefix.wrapping_sub(self.prefix);
        wraps <= u64::from(u32::MAX) && self.has_issued((wraps << 32) | u64::from(counter))
    }

    /// Whether this source made the nonce, so that a received packet with it was reflected.
    ///
    /// For another source's nonce the answer is wrong with a probability of about 2^-64.
    #[must_use]
    pub fn is_own_opaque(&self, nonce: &[u8; NONCE_LEN]) -> bool {
        let mut block = Block::<Aes128>::from(*nonce);
        self.opaque_key.decrypt_block(&mut block);
        let [prefix, number] = halves(block.into());
        prefix == self.prefix && self.has_issued(number)
    }

    /// A secret that is derived from the seed and is part of no nonce.
    pub(crate) fn secret(&self) -> [u8; 16] {
        // No nonce has this prefix: it always differs from the source's own.
        let plain = u128::from(!self.prefix) << 64;
        let mut block = Block::<Aes128>::from(plain.to_be_bytes());
        self.opaque_key.encrypt_block(&mut block);
        block.into()
    }

    fn has_issued(&self, number: u64) -> bool {
        number < self.issued.load(Ordering::Relaxed)
    }

    fn counted(&self, number: u64) -> [u8; AEAD_NONCE_LEN] {
        let mut nonce = [0; AEAD_NONCE_LEN];
        let (prefix, counter) = nonce.split_at_mut(PREFIX_LEN);
        prefix.copy_from_slice(&self.prefix.wrapping_add(number >> 32).to_be_bytes());
        // The high half is added to the prefix.
        counter.copy_from_slice(&(number as u32).to_be_bytes());
        nonce
    }

    fn opaque(&self, number: u64) -> [u8; NONCE_LEN] {
        let plain = (u128::from(self.prefix) << 64) | u128::from(number);
        let mut block = Block::<Aes128>::from(plain.to_be_bytes());
        self.opaque_key.encrypt_block(&mut block);
        block.into()
    }
}

impl fmt::Debug for NonceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceSource")
            .field("issued", &self.issued)
            .finish_non_exhaustive()
    }
}

/// Nonces reserved by [`NonceSource::reserve`]. Each is returned once.
#[derive(Debug)]
pub struct Nonces<'a> {
    source: &'a NonceSource,
    next: u64,
    end: u64,
}

impl Nonces<'_> {
    /// The next nonce for an AEAD, 8 bytes of prefix and 4 of counter; none when all are used.
    pub fn next_counted(&mut self) -> Option<[u8; AEAD_NONCE_LEN]> {
        self.take().map(|number| self.source.counted(number))
    }

    /// The next nonce that looks random; none when all are used.
    pub fn next_opaque(&mut self) -> Option<[u8; NONCE_LEN]> {
        self.take().map(|number| self.source.opaque(number))
    }

    fn take(&mut self) -> Option<u64> {
        let number = self.next;
        self.next += u64::from(number < self.end);
        (number < self.end).then_some(number)
    }
}

fn halves(block: [u8; 16]) -> [u64; 2] {
    let block = u128::from_be_bytes(block);
    // Narrowing keeps the low half.
    [(block >> 64) as u64, block as u64]
}

/// Bytes of the nonce at the start of a packet without AEAD.
pub(crate) const NONCE_LEN: usize = 16;

/// Bytes of the nonce at the start of a packet with AEAD.
pub(crate) const AEAD_NONCE_LEN: usize = 12;

/// Bytes of a counted nonce that identify its source.
const PREFIX_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn at(source: &NonceSource, number: u64) -> Nonces<'_> {
        source.issued.store(number, Ordering::Relaxed);
        source.reserve(4)
    }

    #[test]
    fn nonces_never_repeat() {
        let source = NonceSource::new([1; 32]);
        let mut counted = HashSet::new();
        let mut opaque = HashSet::new();
        // Around each wrap of the counter's four bytes.
        for start in [0, 0xffff_fffe, 0x1_ffff_fffe, u64::MAX - 5] {
            let mut nonces = at(&source, start);
            for _ in 0..4 {
                assert!(counted.insert(source.counted(nonces.next)));
                assert!(opaque.insert(nonces.next_opaque().expect("reserved")));
            }
        }
    }

    #[test]
    fn no_more_nonces_than_reserved() {
        let source = NonceSource::new([1; 32]);
        let mut nonces = source.reserve(2);
        assert!(nonces.next_counted().is_some());
        assert!(nonces.next_opaque().is_some());
        assert!(nonces.next_counted().is_none());
        assert!(nonces.next_opaque().is_none());
    }

    #[test]
    fn threads_never_share_a_nonce() {
        let source = NonceSource::new([1; 32]);
        let draw = || {
            let mut drawn = Vec::new();
            for _ in 0..200 {
                let mut nonces = source.reserve(5);
                drawn.extend(std::iter::from_fn(|| nonces.next_counted()));
            }
            drawn
        };
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads = [scope.spawn(draw), scope.spawn(draw)];
            threads
                .into_iter()
                .flat_map(|t| t.join().expect("ran"))
                .collect()
        });
        assert_eq!(all.len(), 2000);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 2000);
    }

    #[test]
    fn seeds_make_different_nonces() {
        let [one, two] = [[1; 32], [2; 32]].map(NonceSource::new);
        assert_ne!(one.counted(0)[..PREFIX_LEN], two.counted(0)[..PREFIX_LEN]);
        assert_ne!(one.opaque(0), two.opaque(0));
    }

    #[test]
    fn opaque_nonces_show_no_counter() {
        let source = NonceSource::new([7; 32]);
        let fronts: HashSet<_> = (0..1000)
            .map(|number| source.opaque(number)[..8].to_vec())
            .collect();
        assert_eq!(fronts.len(), 1000, "Salsa20 sees only the first 8 bytes");
        // Each bit is set in about half of them; 6 standard deviations are 95.
        for bit in 0..128 {
            let set = (0..1000)
                .filter(|&number| source.opaque(number)[bit / 8] >> (bit % 8) & 1 == 1)
                .count();
            assert!((405..=595).contains(&set), "bit {bit} is set {set} times");
        }
    }

    #[test]
    fn own_nonces_are_recognised_and_others_are_not() {
        let [own, other] = [[1; 32], [2; 32]].map(NonceSource::new);
        for number in [0, 1, 0xffff_ffff, 0x1_0000_0000, 0x3_0000_0001] {
            assert!(!own.is_own_counted(&own.counted(number)), "not issued yet");
            assert!(!own.is_own_opaque(&own.opaque(number)), "not issued yet");
            own.issued.store(number + 1, Ordering::Relaxed);
            other.issued.store(number + 1, Ordering::Relaxed);
            assert!(own.is_own_counted(&own.counted(number)));
            assert!(own.is_own_opaque(&own.opaque(number)));
            assert!(!own.is_own_counted(&other.counted(number)));
            assert!(!own.is_own_opaque(&other.opaque(number)));
        }
    }

    #[test]
    fn debug_shows_neither_seed_nor_prefix() {
        let source = NonceSource::new([1; 32]);
        assert_eq!(format!("{source:?}"), "NonceSource { issued: 0, .. }");
    }
}
