//! The ciphers of kcp-go that do not authenticate packets.

use aes::{Aes128, Aes192, Aes256};
use cipher::{BlockCipherEncrypt, KeyInit};

use super::LegacyCipher;
use super::block::{Blowfish, Sm4, Tea, TripleDes, Twofish, Xtea};
use super::cfb::Cfb;
use super::stream::{Identity, Salsa20, Xor};
use crate::crypto::stack_wipe::wiping_stack;
use crate::error::ConfigError;

/// With the feature `legacy-ciphers`.
impl LegacyCipher {
    /// Nonce and checksum without encryption.
    #[must_use]
    pub fn none() -> Self {
        Self::custom("none", Identity)
    }

    /// AES in CFB mode with a key of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_128(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("aes-128", key, "16", |key| Aes128::new_from_slice(key).ok())
    }

    /// AES in CFB mode with a key of 24 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_192(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("aes-192", key, "24", |key| Aes192::new_from_slice(key).ok())
    }

    /// AES in CFB mode with a key of 32 bytes: kcptun's default, which calls it `aes`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_256(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("aes", key, "32", |key| Aes256::new_from_slice(key).ok())
    }

    /// Salsa20 with a key of 32 bytes.
    ///
    /// kcp-go silently pads or truncates keys of other lengths; here they are errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn salsa20(key: &[u8]) -> Result<Self, ConfigError> {
        const NAME: &str = "salsa20";
        wiping_stack(|| match Salsa20::new(key) {
            Some(cipher) => Ok(Self::custom(NAME, cipher)),
            None => Err(key_length(NAME, key, "32")),
        })
    }

    /// SM4 in CFB mode with a key of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn sm4(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("sm4", key, "16", Sm4::new)
    }

    /// Twofish in CFB mode with a key of 16, 24 or 32 bytes; kcptun uses 32.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn twofish(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("twofish", key, "16, 24 or 32", Twofish::new)
    }

    /// Triple DES in CFB mode with a key of 24 bytes. Slow, with blocks of 8 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn triple_des(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("3des", key, "24", TripleDes::new)
    }

    /// CAST5 (CAST-128) in CFB mode with a key of 16 bytes. Blocks of 8 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn cast5(key: &[u8]) -> Result<Self, ConfigError> {
        // The crate accepts shorter keys too; kcp-go does not.
        Self::block("cast5", key, "16", |key| {
            let key: &[u8; 16] = key.try_into().ok()?;
            cast5::Cast5::new_from_slice(key).ok()
        })
    }

    /// Blowfish in CFB mode with a key of 1 to 56 bytes; kcptun uses 32. Blocks of 8 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn blowfish(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("blowfish", key, "1 to 56", Blowfish::new)
    }

    /// TEA in CFB mode with a key of 16 bytes. Weak: kcp-go runs 8 cycles of the standard's 32.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn tea(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("tea", key, "16", Tea::new)
    }

    /// XTEA in CFB mode with a key of 16 bytes. Blocks of 8 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn xtea(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block("xtea", key, "16", Xtea::new)
    }

    /// XOR of every packet with the same bytes, derived from a key of at least one byte.
    ///
    /// It hides nothing from an observer: the XOR of two packets is the XOR of their plaintexts.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for an empty key.
    pub fn xor(key: &[u8]) -> Result<Self, ConfigError> {
        const NAME: &str = "xor";
        wiping_stack(|| match Xor::new(key) {
            Some(cipher) => Ok(Self::custom(NAME, cipher)),
            None => Err(key_length(NAME, key, "1 or more")),
        })
    }

    /// The block cipher that `make` makes of the key, in CFB mode. `allowed` are the key lengths for the
    /// error.
    fn block<C>(
        name: &'static str,
        key: &[u8],
        allowed: &'static str,
        make: impl FnOnce(&[u8]) -> Option<C>,
    ) -> Result<Self, ConfigError>
    where
        C: BlockCipherEncrypt + Send + Sync + 'static,
    {
        wiping_stack(|| match make(key) {
            Some(cipher) => Ok(Self::custom(name, Cfb::new(cipher))),
            None => Err(key_length(name, key, allowed)),
        })
    }
}

fn key_length(cipher: &'static str, key: &[u8], allowed: &'static str) -> ConfigError {
    ConfigError::KeyLength {
        cipher,
        given: key.len(),
        allowed,
    }
}
