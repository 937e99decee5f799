//! Packet ciphers of kcp-go's wire format: keys, key streams, nonces.
//!
//! What stands where in a packet is the business of [`packet`](crate::packet); entropy is an
//! argument. A cipher that is not here is an implementation of [`PacketCipher`] or [`AeadCipher`].

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
    /// In front of the payload: nonce and checksum.
    pub front: usize,
    /// After the payload: the authentication tag.
    pub back: usize,
}

/// Bytes of the CRC-32 between nonce and payload, for ciphers without a tag.
pub(crate) const CHECKSUM_LEN: usize = 4;
