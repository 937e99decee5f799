//! Packet ciphers that are no block cipher in CFB mode.

use cipher::{KeyIvInit, StreamCipher};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use zeroize::Zeroizing;

use crate::crypto::PacketCipher;

/// Salsa20 with a 32-byte key.
///
/// The packet's first 8 bytes stay as they are and are the Salsa20 nonce. The rest is combined with
/// the key stream from its start.
pub(super) struct Salsa20 {
    key: Zeroizing<[u8; KEY_LEN]>,
}

impl Salsa20 {
    /// The cipher, unless `key` has a length other than 32 bytes.
    pub(super) fn new(key: &[u8]) -> Option<Self> {
        let key = Zeroizing::new(key.try_into().ok()?);
        Some(Self { key })
    }
}

impl PacketCipher for Salsa20 {
    fn encrypt(&self, packet: &mut [u8]) {
        // Nothing follows the nonce of a shorter packet, which the checksum will refuse.
        if let Some((nonce, rest)) = packet.split_first_chunk_mut::<NONCE_LEN>() {
            let key: &[u8; KEY_LEN] = &self.key;
            salsa20::Salsa20::new(key.into(), (&*nonce).into()).apply_keystream(rest);
        }
    }

    fn decrypt(&self, packet: &mut [u8]) {
        self.encrypt(packet);
    }
}

/// The same bytes, derived from the key, combined with every packet.
pub(super) struct Xor {
    table: Box<Zeroizing<[u8; XOR_LEN]>>,
}

impl Xor {
    /// The cipher, unless `key` is empty.
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
        // As in kcp-go, what is beyond the table stays as it is.
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

/// Bytes that the xor cipher covers: kcp-go's largest mtu.
const XOR_LEN: usize = 1500;

const XOR_ROUNDS: u32 = 32;

const XOR_SALT: &[u8] = b"sH3CIVoF#rWLtJo6";
