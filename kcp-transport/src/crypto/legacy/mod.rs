//! Ciphers that hide packets and do not authenticate them.

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

/// A cipher without authentication, for peers that know nothing better.
///
/// A CRC-32 inside the encryption finds accidents and wrong keys. It does not stop an attacker: who
/// knows a packet's plaintext can change the packet. Use [`AeadKey`](super::AeadKey) or TLS on top
/// wherever that matters.
///
/// Cloning shares the key; [`Debug`] shows the cipher's name only. Keys are overwritten with zeros
/// when the last clone is dropped; those of a custom cipher are its own affair.
#[derive(Clone)]
pub struct LegacyCipher {
    name: &'static str,
    cipher: Arc<dyn PacketCipher>,
}

impl LegacyCipher {
    /// A cipher of your own, in the place of kcp-go's: after nonce and checksum are in the packet.
    ///
    /// `name` is what [`name`](Self::name) returns and [`Debug`] shows; no function looks it up.
    #[must_use]
    pub fn custom(name: &'static str, cipher: impl PacketCipher + 'static) -> Self {
        Self {
            name,
            cipher: Arc::new(cipher),
        }
    }

    /// The cipher's name, as [`Security::from_name`](super::Security::from_name) takes it, or
    /// what [`custom`](Self::custom) was given.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn encrypt(&self, packets: &mut dyn Iterator<Item = &mut [u8]>) {
        self.cipher.encrypt_batch(packets);
        // No packet may leave as it is because somebody's cipher stopped early.
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
