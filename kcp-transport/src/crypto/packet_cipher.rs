//! Ciphers that hide packets and do not authenticate them.

use std::fmt;
use std::sync::Arc;

use aes::{Aes128, Aes192, Aes256};
use cipher::{BlockCipherEncrypt, KeyInit};

use super::cfb::Cfb;
use super::stream::{Identity, Salsa20};
use crate::error::ConfigError;

/// A keyed transformation of whole packets, nonce and checksum included.
///
/// The nonce is part of the packet: it makes the key stream of each packet its own.
pub(super) trait PacketCipher: Send + Sync {
    /// Encrypts all packets in place.
    ///
    /// It takes many at once because some ciphers are serial within a packet.
    fn encrypt(&self, packets: &mut dyn Iterator<Item = &mut [u8]>);

    /// Undoes [`encrypt`](Self::encrypt) of one packet, in place. Any length will do.
    fn decrypt(&self, packet: &mut [u8]);
}

/// A cipher without authentication, for peers that know nothing better.
///
/// A CRC-32 inside the encryption finds accidents and wrong keys. It does not stop an attacker: who
/// knows a packet's plaintext can change the packet. Use [`AeadKey`](super::AeadKey) or TLS on top
/// wherever that matters.
///
/// Cloning shares the key; [`Debug`] shows the cipher's name only. Keys are overwritten with zeros
/// when the last clone is dropped.
#[derive(Clone)]
pub struct LegacyCipher {
    name: &'static str,
    cipher: Arc<dyn PacketCipher>,
}

impl LegacyCipher {
    /// Nonce and checksum, and nothing encrypted.
    #[must_use]
    pub fn none() -> Self {
        Self::new("none", Identity)
    }

    /// AES in CFB mode with a key of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_128(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block::<Aes128>("aes-128", key, "16")
    }

    /// AES in CFB mode with a key of 24 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_192(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block::<Aes192>("aes-192", key, "24")
    }

    /// AES in CFB mode with a key of 32 bytes: kcptun's default, which calls it `aes`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_256(key: &[u8]) -> Result<Self, ConfigError> {
        Self::block::<Aes256>("aes", key, "32")
    }

    /// Salsa20 with a key of 32 bytes.
    ///
    /// kcp-go pads or cuts keys of other lengths without a word; here they are errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn salsa20(key: &[u8]) -> Result<Self, ConfigError> {
        const NAME: &str = "salsa20";
        match Salsa20::new(key) {
            Some(cipher) => Ok(Self::new(NAME, cipher)),
            None => Err(key_length(NAME, key, "32")),
        }
    }

    /// The cipher's name, as [`Security::from_name`](super::Security::from_name) takes it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn encrypt(&self, packets: &mut dyn Iterator<Item = &mut [u8]>) {
        self.cipher.encrypt(packets);
    }

    pub(crate) fn decrypt(&self, packet: &mut [u8]) {
        self.cipher.decrypt(packet);
    }

    /// A block cipher in CFB mode; `allowed` are the key lengths that `C` takes, for the error.
    fn block<C>(name: &'static str, key: &[u8], allowed: &'static str) -> Result<Self, ConfigError>
    where
        C: BlockCipherEncrypt + KeyInit + Send + Sync + 'static,
    {
        match C::new_from_slice(key) {
            Ok(cipher) => Ok(Self::new(name, Cfb::new(cipher))),
            Err(_) => Err(key_length(name, key, allowed)),
        }
    }

    fn new(name: &'static str, cipher: impl PacketCipher + 'static) -> Self {
        let cipher = Arc::new(cipher);
        Self { name, cipher }
    }
}

impl fmt::Debug for LegacyCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LegacyCipher").field(&self.name).finish()
    }
}

fn key_length(cipher: &'static str, key: &[u8], allowed: &'static str) -> ConfigError {
    ConfigError::KeyLength {
        cipher,
        given: key.len(),
        allowed,
    }
}
