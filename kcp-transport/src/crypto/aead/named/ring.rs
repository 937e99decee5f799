//! The ciphers of `ring`: the fastest, with code in C and assembly.

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

use super::SHORT;
use crate::crypto::aead::{AeadCipher, TAG_LEN};
use crate::crypto::nonce::AEAD_NONCE_LEN;
use crate::error::OpenError;

/// A cipher of `ring` under a key.
pub(super) struct RingCipher(LessSafeKey);

pub(super) fn aes_128_gcm(key: &[u8]) -> Option<RingCipher> {
    RingCipher::new(&AES_128_GCM, key)
}

pub(super) fn aes_256_gcm(key: &[u8]) -> Option<RingCipher> {
    RingCipher::new(&AES_256_GCM, key)
}

pub(super) fn chacha20_poly1305(key: &[u8]) -> Option<RingCipher> {
    RingCipher::new(&CHACHA20_POLY1305, key)
}

impl RingCipher {
    /// The cipher, or none if `key` has the wrong length.
    fn new(algorithm: &'static Algorithm, key: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }
}

impl AeadCipher for RingCipher {
    fn seal(&self, nonce: &[u8; AEAD_NONCE_LEN], body: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::empty(), body)
            .expect(SHORT);
        tag.as_ref()
            .try_into()
            .expect("the tag of all three ciphers has 16 bytes")
    }

    fn open(
        &self,
        nonce: &[u8; AEAD_NONCE_LEN],
        body: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::empty(), (*tag).into(), body, 0..)
            .map(drop)
            .map_err(|_| OpenError::Unauthentic)
    }
}
