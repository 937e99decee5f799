//! The AEAD ciphers that can be chosen by name.

#[cfg(feature = "aead-ring")]
mod ring;
#[cfg(all(feature = "aead-rust", any(test, not(feature = "aead-ring"))))]
mod rust;
mod rust_crypto;

#[cfg(feature = "aead-ring")]
use self::ring as backend;
#[cfg(not(feature = "aead-ring"))]
use self::rust as backend;
use super::{AeadCipher, AeadKey};
use crate::crypto::stack_wipe::wiping_stack;
use crate::error::ConfigError;

/// With the feature `aead-ring` or `aead-rust`.
impl AeadKey {
    /// AES-GCM with a key of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_128_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build("aes-128-gcm", key, "16", backend::aes_128_gcm)
    }

    /// AES-GCM with a key of 24 bytes. Slower than the other two AES-GCM key lengths.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_192_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build("aes-192-gcm", key, "24", rust_crypto::aes_192_gcm)
    }

    /// AES-GCM with a key of 32 bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn aes_256_gcm(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build("aes-256-gcm", key, "32", backend::aes_256_gcm)
    }

    /// ChaCha20-Poly1305 with a key of 32 bytes: the fastest without AES instructions.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyLength`] for a key of any other length.
    pub fn chacha20_poly1305(key: &[u8]) -> Result<Self, ConfigError> {
        Self::build("chacha20-poly1305", key, "32", backend::chacha20_poly1305)
    }

    /// The cipher that `make` makes of the key. `allowed` is the key length for the error.
    fn build<C: AeadCipher + 'static>(
        name: &'static str,
        key: &[u8],
        allowed: &'static str,
        make: fn(&[u8]) -> Option<C>,
    ) -> Result<Self, ConfigError> {
        wiping_stack(|| match make(key) {
            Some(cipher) => Ok(Self::custom(name, cipher)),
            None => Err(ConfigError::KeyLength {
                cipher: name,
                given: key.len(),
                allowed,
            }),
        })
    }
}

/// Why encrypting cannot fail.
const SHORT: &str = "a packet is far below the cipher's 64 GiB limit";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed<C: AeadCipher + 'static>(cipher: Option<C>) -> Box<dyn AeadCipher> {
        Box::new(cipher.expect("right key length"))
    }

    proptest! {
        #[test]
        fn backends_seal_alike_and_open_the_same_packets(
            key: [u8; 32], nonce: [u8; 12], body in prop::collection::vec(any::<u8>(), 0..=1500),
        ) {
            for (one, other) in [
                (boxed(ring::aes_128_gcm(&key[..16])), boxed(rust::aes_128_gcm(&key[..16]))),
                (boxed(ring::aes_256_gcm(&key)), boxed(rust::aes_256_gcm(&key))),
                (boxed(ring::chacha20_poly1305(&key)), boxed(rust::chacha20_poly1305(&key))),
            ] {
                let (mut sealed, mut expected) = (body.clone(), body.clone());
                let tag = other.seal(&nonce, &mut sealed);
                prop_assert_eq!(tag, one.seal(&nonce, &mut expected));
                prop_assert_eq!(&sealed, &expected);
                prop_assert_eq!(other.open(&nonce, &mut sealed, &tag), Ok(()));
                prop_assert_eq!(&sealed, &body);
                let mut forged = tag;
                forged[usize::from(key[0] % 16)] ^= 1 << (key[1] % 8);
                prop_assert!(one.open(&nonce, &mut expected.clone(), &forged).is_err());
                prop_assert!(other.open(&nonce, &mut expected, &forged).is_err());
            }
        }
    }

    #[test]
    fn backends_take_the_same_key_lengths() {
        for len in 0..=40 {
            let key = vec![1; len];
            assert_eq!(
                rust::aes_128_gcm(&key).is_some(),
                ring::aes_128_gcm(&key).is_some()
            );
            assert_eq!(
                rust::aes_256_gcm(&key).is_some(),
                ring::aes_256_gcm(&key).is_some()
            );
            let chacha = rust::chacha20_poly1305(&key).is_some();
            assert_eq!(chacha, ring::chacha20_poly1305(&key).is_some());
        }
    }
}
