//! Ciphers that encrypt packets and do not authenticate them.

#[cfg(feature = "legacy-ciphers")]
mod block;
#[cfg(feature = "legacy-ciphers")]
mod cfb;
#[cfg(feature = "legacy-ciphers")]
mod named;
#[cfg(feature = "legacy-ciphers")]
mod stream;

use std::fmt;
use std::sync::Arc;

use super::cipher::PacketCipher;

/// A cipher without authentication, for peers that support no AEAD.
///
/// A CRC-32 inside the encryption detects transmission errors and wrong keys. It does not stop an
/// attacker: anyone who knows a packet's plaintext can change the packet without being detected. Where
/// that matters, use [`AeadKey`](super::AeadKey), or TLS inside the connection.
///
/// The named ciphers need the feature `legacy-ciphers`, which is on by default.
///
/// Clones share the key; [`Debug`] shows the cipher's name only. Keys are overwritten with zeros when
/// the last clone is dropped. A custom cipher has to do that itself.
#[derive(Clone)]
pub struct LegacyCipher {
    name: &'static str,
    cipher: Arc<dyn PacketCipher>,
}

impl LegacyCipher {
    /// A cipher of your own. It is applied after nonce and checksum are in the packet, as kcp-go's are.
    ///
    /// [`name`](Self::name) returns `name` and [`Debug`] shows it. [`Security::from_name`] does not
    /// know it.
    ///
    /// [`Security::from_name`]: super::Security::from_name
    #[must_use]
    pub fn custom(name: &'static str, cipher: impl PacketCipher + 'static) -> Self {
        Self {
            name,
            cipher: Arc::new(cipher),
        }
    }

    /// The cipher's name: what [`Security::from_name`](super::Security::from_name) takes, or what
    /// [`custom`](Self::custom) was given.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn encrypt(&self, packets: &mut dyn Iterator<Item = &mut [u8]>) {
        self.cipher.encrypt_batch(packets);
        // No packet may leave unencrypted because a custom cipher stopped early.
        packets.for_each(|packet| self.cipher.encrypt(packet));
    }

    pub(crate) fn decrypt(&self, packet: &mut [u8]) {
        self.cipher.decrypt(packet);
    }
}

impl fmt::Debug for LegacyCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LegacyCipher").field(&self.name).finish()
    }
}
