//! Packet ciphers of kcp-go's wire format: keys, key streams, nonces.
//!
//! The module [`packet`](crate::packet) lays out packets, and entropy is an argument. To add a cipher,
//! implement [`PacketCipher`] or [`AeadCipher`].

mod aead;
mod cipher;
mod compare;
mod key_ring;
mod legacy;
mod nonce;
mod password;
mod security;
mod stack_wipe;
mod suite;

pub use self::cipher::PacketCipher;
pub use aead::{AeadCipher, AeadKey};
pub use key_ring::KeyRing;
pub use legacy::LegacyCipher;
pub use nonce::{NonceSource, Nonces};
pub use password::derive_key;
pub use security::Security;

pub(crate) use aead::TAG_LEN;
pub(crate) use compare::constant_time_eq;
pub(crate) use nonce::{AEAD_NONCE_LEN, NONCE_LEN};

/// Bytes that a cipher adds to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overhead {
    /// Before the payload: the nonce, and the checksum if there is one.
    pub front: usize,
    /// After the payload: the authentication tag.
    pub back: usize,
}

/// Bytes of the CRC-32 between nonce and payload, for ciphers without a tag.
pub(crate) const CHECKSUM_LEN: usize = 4;
