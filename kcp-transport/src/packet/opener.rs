//! Decrypting and checking incoming packets.

use crate::crypto::{AEAD_NONCE_LEN, AeadKey, CHECKSUM_LEN, LegacyCipher, NONCE_LEN, Security};
use crate::error::OpenError;

/// Decrypts and checks packets in place, one at a time.
///
/// Clones share the key.
#[derive(Clone, Debug)]
pub struct Opener {
    security: Security,
}

impl Opener {
    /// An opener for packets that [`Sealer`](super::Sealer)s or kcp-go sealed under the same key.
    #[must_use]
    pub fn new(security: &Security) -> Self {
        Self {
            security: security.clone(),
        }
    }

    /// Decrypts a datagram and returns its payload: FEC header, if any, and segments.
    ///
    /// What the datagram holds after an error is of no use.
    ///
    /// # Errors
    ///
    /// [`OpenError::TooShort`] if nonce and checksum or tag do not fit in, and
    /// [`OpenError::Unauthentic`] if checksum or tag are wrong. [`Security::Plaintext`] takes all.
    pub fn open<'a>(&self, datagram: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let overhead = self.security.overhead();
        if datagram.len() < overhead.front + overhead.back {
            return Err(OpenError::TooShort);
        }
        match &self.security {
            Security::Aead(key) => open_aead(key, datagram),
            Security::Legacy(cipher) => open_checksummed(cipher, datagram),
            Security::Plaintext => Ok(datagram),
        }
    }

    /// The nonce of a datagram sealed by an AEAD: its first 12 bytes.
    ///
    /// None for other ciphers. It is authentic only once [`open`](Self::open) has succeeded.
    #[must_use]
    pub fn nonce<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8; AEAD_NONCE_LEN]> {
        match &self.security {
            Security::Aead(_) => datagram.first_chunk(),
            Security::Legacy(_) | Security::Plaintext => None,
        }
    }
}

fn open_aead<'a>(key: &AeadKey, datagram: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
    let (nonce, sealed) = datagram
        .split_first_chunk_mut()
        .ok_or(OpenError::TooShort)?;
    key.open(nonce, sealed)
}

fn open_checksummed<'a>(
    cipher: &LegacyCipher,
    datagram: &'a mut [u8],
) -> Result<&'a mut [u8], OpenError> {
    cipher.decrypt(datagram);
    let (checksum, payload) = datagram
        .get_mut(NONCE_LEN..)
        .and_then(|rest| rest.split_first_chunk_mut::<CHECKSUM_LEN>())
        .ok_or(OpenError::TooShort)?;
    if u32::from_le_bytes(*checksum) == crc32fast::hash(payload) {
        Ok(payload)
    } else {
        Err(OpenError::Unauthentic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Overhead, Sealer};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// All ciphers that check what they open.
    fn ciphers(password: &'static str) -> impl Iterator<Item = Security> {
        Security::NAMES
            .iter()
            .filter(|&&name| name != "null")
            .map(move |name| Security::from_password(name, password, b"salt").expect("known"))
    }

    fn sealed(security: &Security, len: usize) -> Vec<u8> {
        let Overhead { front, back } = security.overhead();
        let mut datagram = vec![0x5a; front + len + back];
        let nonce = [3; NONCE_LEN];
        let nonce_len = if back > 0 { AEAD_NONCE_LEN } else { NONCE_LEN };
        Sealer::seal_with_nonce(security, &mut datagram, &nonce[..nonce_len]);
        datagram
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for security in ciphers("secret") {
            let opener = Opener::new(&security);
            let good = sealed(&security, 57);
            // The checksum does not cover the nonce: its bits may change unseen where nothing
            // chains and they do not choose the key stream, or the chain ends within the nonce.
            let unchecked = match security.name() {
                "none" | "xor" => 0..NONCE_LEN * 8,
                "salsa20" => 8 * 8..NONCE_LEN * 8,
                "3des" | "cast5" | "blowfish" | "tea" | "xtea" => 0..8 * 8,
                _ => 0..0,
            };
            for bit in (0..good.len() * 8).filter(|bit| !unchecked.contains(bit)) {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let result = opener.open(&mut bad);
                assert_eq!(
                    result,
                    Err(OpenError::Unauthentic),
                    "{} {bit}",
                    security.name()
                );
            }
        }
    }

    #[test]
    fn every_other_length_is_refused() {
        for security in ciphers("secret") {
            let opener = Opener::new(&security);
            let good = sealed(&security, 57);
            let Overhead { front, back } = security.overhead();
            for len in 0..good.len() {
                let expected = if len < front + back {
                    OpenError::TooShort
                } else {
                    OpenError::Unauthentic
                };
                assert_eq!(opener.open(&mut good[..len].to_vec()), Err(expected));
            }
            let longer = &mut [&good[..], &[0]].concat();
            assert_eq!(opener.open(longer), Err(OpenError::Unauthentic));
        }
    }

    #[test]
    fn wrong_key_is_refused() {
        for (security, other) in ciphers("secret").zip(ciphers("secrets")) {
            let result = Opener::new(&other).open(&mut sealed(&security, 57)).is_ok();
            assert_eq!(result, security.name() == "none", "{}", security.name());
        }
    }

    #[test]
    fn nonce_is_seen_for_aead_only() {
        let opener =
            |name| Opener::new(&Security::from_password(name, "secret", b"salt").expect("known"));
        let datagram = [[1; 12], [2; 12], [3; 12]].concat();
        assert_eq!(opener("aes-128-gcm").nonce(&datagram), Some(&[1; 12]));
        assert_eq!(opener("aes-128-gcm").nonce(&datagram[..11]), None);
        assert_eq!(opener("aes").nonce(&datagram), None);
        assert_eq!(opener("null").nonce(&datagram), None);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_panics(
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            // Deriving the keys takes longer than all the rest.
            static OPENERS: LazyLock<Vec<Opener>> =
                LazyLock::new(|| ciphers("secret").map(|security| Opener::new(&security)).collect());
            for opener in &*OPENERS {
                prop_assert!(opener.open(&mut garbage.clone()).is_err());
            }
            let plain = Opener::new(&Security::Plaintext);
            prop_assert_eq!(plain.open(&mut garbage.clone()).map(|p| p.to_vec()), Ok(garbage));
        }
    }
}
