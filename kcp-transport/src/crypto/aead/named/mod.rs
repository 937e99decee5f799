//! The AEAD ciphers that have a name.

mod ring;
mod rust_crypto;

use super::{AeadCipher, AeadKey};
use crate::crypto::stack_wipe::wiping_stack;
use crate::error::ConfigError;

impl AeadKey {
    /// AES-GCM with a key of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_128_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build("aes-128-gcm", key, "16", self::ring::aes_128_gcm)
    }

    /// AES-GCM with a key of 24 bytes. Slower than the other two AES-GCM key lengths.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_192_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build("aes-192-gcm", key, "24", rust_crypto::aes_192_gcm)
    }

    /// AES-GCM with a key of 32 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_256_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build("aes-256-gcm", key, "32", self::ring::aes_256_gcm)
    }

    /// ChaCha20-Poly1305 with a key of 32 bytes: the fastest without AES instructions.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn chacha20_poly1305(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build(
            "chacha20-poly1305",
            key,
            "32",
            self::ring::chacha20_poly1305,
        )
    }

    /// The cipher that `make` makes of the key, unless the key's length is not the `allowed` one.
    fn build<C: AeadCipher + 'static>(
        name: &'static str,
        key: &[u8],
        allowed: &'static str,
        make: fn(&[u8]) -> Option<C>,
    ) -> Result<Self, ConfigError> {
        wiping_stack(|| match make(key) {
            Some(cipher) => Ok(Self::custom(name, cipher)),
            None => Err(ConfigError::KeyLength {
                cipher: name,
                given: key.len(),
                allowed,
            }),
        })
    }
}

/// Why encrypting cannot fail.
const SHORT: &str = "a packet is far below the cipher's 64 GiB limit";
