//! The choice of a cipher, by type.

use super::{
    AEAD_NONCE_LEN, AeadKey, CHECKSUM_LEN, KeyRing, LegacyCipher, NONCE_LEN, Overhead, TAG_LEN,
};

/// How packets are protected. Both sides need the same cipher and key.
///
/// One key serves both directions and, at a listener, all its connections.
///
/// ```
/// use kcp_transport::crypto::Security;
///
/// // What `kcptun --crypt aes-128-gcm --key secret` uses.
/// let security = Security::from_password("aes-128-gcm", "secret", Security::KCPTUN_SALT)?;
/// assert_eq!(security.overhead().back, 16);
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
///
/// [`Aead`](Self::Aead) and [`Ring`](Self::Ring) are what new deployments should use. Under them,
/// endpoints also refuse packets that come a second time and those of their own that are sent back.
/// Weaker choices must be asked for by name. There is no default:
///
/// ```compile_fail,E0277
/// # use kcp_transport::crypto::Security;
/// let security: Security = Default::default();
/// ```
///
/// A cipher without authentication passes for no AEAD, neither as a key:
///
/// ```compile_fail,E0308
/// # use kcp_transport::crypto::{LegacyCipher, Security};
/// let security = Security::Aead(LegacyCipher::aes_256(&[7; 32])?);
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
///
/// nor in a key ring:
///
/// ```compile_fail,E0308
/// # use kcp_transport::crypto::{KeyRing, LegacyCipher};
/// let ring = KeyRing::new(LegacyCipher::none());
/// ```
///
/// nor as a cipher of one's own:
///
/// ```compile_fail,E0277
/// # use kcp_transport::crypto::{AeadKey, PacketCipher};
/// struct Own;
///
/// impl PacketCipher for Own {
///     fn encrypt(&self, _packet: &mut [u8]) {}
///     fn decrypt(&self, _packet: &mut [u8]) {}
/// }
///
/// let key = AeadKey::custom("own", Own);
/// ```
///
/// And no protection at all has to be written down:
///
/// ```
/// # use kcp_transport::crypto::{AeadKey, LegacyCipher, Security};
/// let good = Security::Aead(AeadKey::aes_256_gcm(&[7; 32])?);
/// let weak = Security::Legacy(LegacyCipher::aes_256(&[7; 32])?);
/// let none = Security::Plaintext;
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Security {
    /// Authenticated encryption: nobody without the key reads, changes or makes packets.
    Aead(AeadKey),
    /// Authenticated encryption under keys that can be changed while connections last.
    Ring(KeyRing),
    /// Encryption without authentication, or a checksum alone. For peers that cannot do better.
    Legacy(LegacyCipher),
    /// Neither encryption nor a checksum: anyone on the path, and anyone who guesses addresses and
    /// conversation, can read or write. For tests, or under TLS.
    Plaintext,
}

impl Security {
    /// The cipher's name, one of [`NAMES`](Self::NAMES) or that of a cipher of your own. Of a ring,
    /// that of the key to send under.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Aead(key) => key.name(),
            Self::Ring(ring) => ring.keys().send.name(),
            Self::Legacy(cipher) => cipher.name(),
            Self::Plaintext => "null",
        }
    }

    /// Packets sealed under the key that is sent under; 0 for ciphers without authentication, whose
    /// packets are not counted.
    #[must_use]
    pub fn sealed(&self) -> u64 {
        match self {
            Self::Aead(key) => key.sealed(),
            Self::Ring(ring) => ring.keys().send.sealed(),
            Self::Legacy(_) | Self::Plaintext => 0,
        }
    }

    /// Bytes the cipher adds to each packet.
    #[must_use]
    pub const fn overhead(&self) -> Overhead {
        match self {
            Self::Aead(_) | Self::Ring(_) => Overhead {
                front: AEAD_NONCE_LEN,
                back: TAG_LEN,
            },
            Self::Legacy(_) => Overhead {
                front: NONCE_LEN + CHECKSUM_LEN,
                back: 0,
            },
            Self::Plaintext => Overhead { front: 0, back: 0 },
        }
    }
}
