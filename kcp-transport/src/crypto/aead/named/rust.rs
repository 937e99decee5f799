//! All ciphers from the RustCrypto crates, for builds without `ring`.

use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;

use super::rust_crypto::RustCipher;

pub(super) fn aes_128_gcm(key: &[u8]) -> Option<RustCipher<Aes128Gcm>> {
    RustCipher::new(key)
}

pub(super) fn aes_256_gcm(key: &[u8]) -> Option<RustCipher<Aes256Gcm>> {
    RustCipher::new(key)
}

pub(super) fn chacha20_poly1305(key: &[u8]) -> Option<RustCipher<ChaCha20Poly1305>> {
    RustCipher::new(key)
}
