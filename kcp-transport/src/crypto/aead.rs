//! Authenticated encryption: what new deployments should use.

use std::fmt;
use std::sync::Arc;

use aes::Aes192;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, Tag};
use cipher::consts::U12;
use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

use super::nonce::AEAD_NONCE_LEN;
use crate::error::ConfigError;

/// A key for authenticated encryption (AEAD).
///
/// Whoever lacks the key can neither read nor change packets. Cloning shares the key; [`Debug`]
/// shows the cipher's name only.
///
/// The AES-192-GCM key is overwritten with zeros when its last clone is dropped. The other ciphers
/// come from `ring`, which leaves its expanded keys in freed memory.
///
/// ```
/// use kcp_transport::crypto::{AeadKey, Security};
///
/// let key = AeadKey::aes_256_gcm(&[7; 32])?;
/// let security = Security::Aead(key);
/// assert_eq!(security.name(), "aes-256-gcm");
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct AeadKey {
    name: &'static str,
    cipher: Arc<Cipher>,
}

impl AeadKey {
    /// AES-GCM with a key of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_128_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::ring("aes-128-gcm", &AES_128_GCM, key, "16")
    }

    /// AES-GCM with a key of 24 bytes. Slower than the other two AES-GCM key lengths.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_192_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        const NAME: &str = "aes-192-gcm";
        match Aes192Gcm::new_from_slice(key) {
            Ok(cipher) => Ok(Self::new(NAME, Cipher::Aes192(cipher))),
            Err(_) => Err(key_length(NAME, key, "24")),
        }
    }

    /// AES-GCM with a key of 32 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_256_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::ring("aes-256-gcm", &AES_256_GCM, key, "32")
    }

    /// ChaCha20-Poly1305 with a key of 32 bytes: the fastest without AES instructions.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn chacha20_poly1305(key: &[u8]) -> Result<Self, ConfigError> {
        Self::ring("chacha20-poly1305", &CHACHA20_POLY1305, key, "32")
    }

    /// The cipher's name, as [`Security::from_name`](super::Security::from_name) takes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Encrypts `body` in place and returns the tag.
    pub(crate) fn seal(&self, nonce: [u8; AEAD_NONCE_LEN], body: &mut [u8]) -> [u8; TAG_LEN] {
        match &*self.cipher {
            Cipher::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::empty(), body)
                    .expect("a packet is far below the cipher's 64 GiB limit");
                tag.as_ref()
                    .try_into()
                    .expect("the tag of all three ciphers has 16 bytes")
            }
            Cipher::Aes192(key) => key
                .encrypt_inout_detached(&nonce.into(), &[], body.into())
                .expect("a packet is far below the cipher's 64 GiB limit")
                .into(),
        }
    }

    /// Checks the tag at the end of `sealed` and decrypts what is before it in place.
    ///
    /// The decrypted part, or nothing if the tag does not fit.
    pub(crate) fn open<'a>(
        &self,
        nonce: [u8; AEAD_NONCE_LEN],
        sealed: &'a mut [u8],
    ) -> Option<&'a mut [u8]> {
        match &*self.cipher {
            Cipher::Ring(key) => {
                let nonce = Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, Aad::empty(), sealed).ok()
            }
            Cipher::Aes192(key) => {
                let (body, tag) = sealed.split_last_chunk_mut::<TAG_LEN>()?;
                let tag = Tag::from(*tag);
                key.decrypt_inout_detached(&nonce.into(), &[], (&mut *body).into(), &tag)
                    .ok()?;
                Some(body)
            }
        }
    }

    fn ring(
        name: &'static str,
        algorithm: &'static Algorithm,
        key: &[u8],
        allowed: &'static str,
    ) -> Result<Self, ConfigError> {
        match UnboundKey::new(algorithm, key) {
            Ok(key) => Ok(Self::new(name, Cipher::Ring(LessSafeKey::new(key)))),
            Err(_) => Err(key_length(name, key, allowed)),
        }
    }

    fn new(name: &'static str, cipher: Cipher) -> Self {
        let cipher = Arc::new(cipher);
        Self { name, cipher }
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AeadKey").field(&self.name).finish()
    }
}

/// `ring` is much faster and lacks AES-192.
enum Cipher {
    Ring(LessSafeKey),
    Aes192(Aes192Gcm),
}

type Aes192Gcm = AesGcm<Aes192, U12>;

fn key_length(cipher: &'static str, key: &[u8], allowed: &'static str) -> ConfigError {
    ConfigError::KeyLength {
        cipher,
        given: key.len(),
        allowed,
    }
}

/// Bytes of the authentication tag of every AEAD here.
pub(crate) const TAG_LEN: usize = 16;
