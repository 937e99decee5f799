//! The packet ciphers that are not block ciphers in CFB mode.

use cipher::{KeyIvInit, StreamCipher};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::crypto::PacketCipher;

/// Salsa20 with a 32-byte key.
///
/// The packet's first 8 bytes stay in clear and are the Salsa20 nonce. The rest is XORed with the key
/// stream from its start.
pub(super) struct Salsa20 {
    key: Zeroizing<[u8; KEY_LEN]>,
}

impl Salsa20 {
    /// The cipher, or none if `key` does not have 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let key = Zeroizing::new(key.try_into().ok()?);
        Some(Self { key })
    }
}

impl PacketCipher for Salsa20 {
    fn encrypt(&self, packet: &mut [u8]) {
        // A shorter packet has nothing after the nonce, and fails the checksum.
        if let Some((nonce, rest)) = packet.split_first_chunk_mut::<NONCE_LEN>() {
            let key: &[u8; KEY_LEN] = &self.key;
            salsa20::Salsa20::new(key.into(), (&*nonce).into()).apply_keystream(rest);
        }
    }

    fn decrypt(&self, packet: &mut [u8]) {
        self.encrypt(packet);
    }
}

/// XOR of every packet with the same bytes, derived from the key.
pub(super) struct Xor {
    table: Box<Zeroizing<[u8; XOR_LEN]>>,
}

impl Xor {
    /// The cipher, or none if `key` is empty.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        if key.is_empty() {
            return None;
        }
        let mut table = Box::new(Zeroizing::new([0; XOR_LEN]));
        pbkdf2_hmac::<Sha1>(key, XOR_SALT, XOR_ROUNDS, &mut **table);
        Some(Self { table })
    }
}

impl PacketCipher for Xor {
    fn encrypt(&self, packet: &mut [u8]) {
        // As in kcp-go, bytes beyond the table stay in clear. No datagram of ours is longer.
        for (byte, key) in packet.iter_mut().zip(self.table.iter()) {
            *byte ^= key;
        }
    }

    fn decrypt(&self, packet: &mut [u8]) {
        self.encrypt(packet);
    }
}

/// No encryption at all.
pub(super) struct Identity;

impl PacketCipher for Identity {
    fn encrypt(&self, _packet: &mut [u8]) {}

    fn decrypt(&self, _packet: &mut [u8]) {}
}

const KEY_LEN: usize = 32;

/// Bytes of the packet's nonce that Salsa20 uses.
const NONCE_LEN: usize = 8;

/// Bytes that the XOR cipher covers: the largest mtu. The first 1500 are kcp-go's table.
const XOR_LEN: usize = 9000;

const XOR_ROUNDS: u32 = 32;

const XOR_SALT: &[u8] = b"sH3CIVoF#rWLtJo6";
