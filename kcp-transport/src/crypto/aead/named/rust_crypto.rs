//! The ciphers of the RustCrypto crates: Rust throughout.

use aes::Aes192;
use aes_gcm::AesGcm;
use aes_gcm::aead::{AeadInOut, KeyInit};
use cipher::consts::{U12, U16};

use super::SHORT;
use crate::crypto::aead::{AeadCipher, TAG_LEN};
use crate::crypto::nonce::AEAD_NONCE_LEN;
use crate::error::OpenError;

/// A cipher of a RustCrypto crate under a key.
pub(super) struct RustCipher<C>(C);

/// `ring` lacks AES-192.
pub(super) fn aes_192_gcm(key: &[u8]) -> Option<RustCipher<AesGcm<Aes192, U12>>> {
    RustCipher::new(key)
}

impl<C: KeyInit> RustCipher<C> {
    /// The cipher, or none if `key` has the wrong length.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        C::new_from_slice(key).ok().map(Self)
    }
}

impl<C> AeadCipher for RustCipher<C>
where
    C: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync,
{
    fn seal(&self, nonce: &[u8; AEAD_NONCE_LEN], body: &mut [u8]) -> [u8; TAG_LEN] {
        self.0
            .encrypt_inout_detached(&(*nonce).into(), &[], body.into())
            .expect(SHORT)
            .into()
    }

    fn open(
        &self,
        nonce: &[u8; AEAD_NONCE_LEN],
        body: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenError> {
        self.0
            .decrypt_inout_detached(&(*nonce).into(), &[], body.into(), &(*tag).into())
            .map_err(|_| OpenError::Unauthentic)
    }
}
