//! The choice of a cipher, by type.

use super::{
    AEAD_NONCE_LEN, AeadKey, CHECKSUM_LEN, KeyRing, LegacyCipher, NONCE_LEN, Overhead, TAG_LEN,
};

/// How packets are protected. Both sides need the same cipher and key.
///
/// One key protects both directions and, at a listener, all connections.
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
/// New deployments should use [`Aead`](Self::Aead) or [`Ring`](Self::Ring). With them, endpoints also
/// drop replayed packets and their own packets when these are reflected. Weaker choices have to be named.
/// There is no default:
///
/// ```compile_fail,E0277
/// # use kcp_transport::crypto::Security;
/// let security: Security = Default::default();
/// ```
///
/// A cipher without authentication is not accepted as an AEAD, neither as a key:
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
/// nor as a custom cipher:
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
/// No protection has to be named too:
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
    /// Authenticated encryption: without the key, packets can be neither read, changed nor forged.
    Aead(AeadKey),
    /// Authenticated encryption under keys that can be changed while connections are open.
    Ring(KeyRing),
    /// Encryption without authentication, or a checksum alone. For peers that support no AEAD.
    Legacy(LegacyCipher),
    /// Neither encryption nor a checksum. Anyone on the path can read and change packets; anyone who
    /// guesses the addresses and the conversation id can inject them. For tests, or with TLS inside the
    /// connection.
    Plaintext,
}

impl Security {
    /// The cipher's name: one of [`NAMES`](Self::NAMES), or that of a custom cipher. For a ring, the name
    /// of the send key's cipher.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Aead(key) => key.name(),
            Self::Ring(ring) => ring.keys().send.name(),
            Self::Legacy(cipher) => cipher.name(),
            Self::Plaintext => "null",
        }
    }

    /// Packets sealed under the key, for a ring under its send key. 0 for ciphers without
    /// authentication, whose packets are not counted.
    #[must_use]
    pub fn sealed(&self) -> u64 {
        match self {
            Self::Aead(key) => key.sealed(),
            Self::Ring(ring) => ring.keys().send.sealed(),
            Self::Legacy(_) | Self::Plaintext => 0,
        }
    }

    /// Bytes that the cipher adds to each packet.
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
