//! Authenticated encryption (AEAD), for new deployments, and the trait to add a cipher.

#[cfg(any(feature = "aead-ring", feature = "aead-rust"))]
mod named;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::nonce::AEAD_NONCE_LEN;
use crate::error::{OpenError, SealError};

/// Authenticated encryption (AEAD) with a nonce of 12 bytes and a tag of 16, under a key.
///
/// Implement it for a cipher of your own and pass it to [`AeadKey::custom`]. kcp-go's counterpart is
/// `NewAEADCrypt`, which accepts any `cipher.AEAD` of these sizes. There is no associated data.
///
/// ```
/// use aes_gcm::aead::{AeadInOut, KeyInit};
/// use kcp_transport::crypto::{AeadCipher, AeadKey, Security};
/// use kcp_transport::error::OpenError;
///
/// /// AES-256-GCM from the `aes-gcm` crate.
/// struct Gcm(aes_gcm::Aes256Gcm);
///
/// impl AeadCipher for Gcm {
///     fn seal(&self, nonce: &[u8; 12], body: &mut [u8]) -> [u8; 16] {
///         let tag = self.0.encrypt_inout_detached(&(*nonce).into(), &[], body.into());
///         tag.expect("a packet is short").into()
///     }
///
///     fn open(&self, nonce: &[u8; 12], body: &mut [u8], tag: &[u8; 16]) -> Result<(), OpenError> {
///         let (nonce, tag) = ((*nonce).into(), (*tag).into());
///         let opened = self.0.decrypt_inout_detached(&nonce, &[], body.into(), &tag);
///         opened.map_err(|_| OpenError::Unauthentic)
///     }
/// }
///
/// let key = AeadKey::custom("my-gcm", Gcm(aes_gcm::Aes256Gcm::new(&[7; 32].into())));
/// let security = Security::Aead(key);
/// assert_eq!(security.name(), "my-gcm");
/// ```
pub trait AeadCipher: Send + Sync {
    /// Encrypts `body` in place and returns the tag. The nonce is never the same twice.
    fn seal(&self, nonce: &[u8; 12], body: &mut [u8]) -> [u8; 16];

    /// Verifies the tag and, if it is right, decrypts `body` in place.
    ///
    /// The packet may come from any sender, and its body may be empty.
    ///
    /// # Errors
    ///
    /// [`OpenError::Unauthentic`] if the tag is wrong. The content of `body` is then discarded.
    fn open(&self, nonce: &[u8; 12], body: &mut [u8], tag: &[u8; 16]) -> Result<(), OpenError>;
}

/// A key for authenticated encryption (AEAD).
///
/// Without the key, packets can be neither read, changed nor forged. Clones share the key; [`Debug`]
/// shows the cipher's name only.
///
/// A key counts the packets that are sealed under it and its clones. At
/// [`SOFT_LIMIT`](Self::SOFT_LIMIT) a warning is logged. Beyond [`HARD_LIMIT`](Self::HARD_LIMIT) nothing
/// is sealed, and connections end with
/// [`ConnectionError::KeyExhausted`](crate::error::ConnectionError::KeyExhausted). Change keys before
/// that with a [`KeyRing`](super::KeyRing).
///
/// The ciphers come from `ring` if the feature `aead-ring` is on, and from the RustCrypto crates if
/// only `aead-rust` is; AES-192-GCM, which `ring` lacks, is always RustCrypto's. RustCrypto's keys are
/// overwritten with zeros when the last clone is dropped; `ring` leaves its expanded keys in freed
/// memory. No key stays on the stack that set it up, in either case.
///
/// ```
/// use kcp_transport::crypto::{AeadKey, Security};
///
/// let key = AeadKey::aes_256_gcm(&[7; 32])?;
/// let security = Security::Aead(key);
/// assert_eq!(security.name(), "aes-256-gcm");
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct AeadKey {
    name: &'static str,
    cipher: Arc<dyn AeadCipher>,
    /// Separate from the cipher: padding between two fields would be copied from the stack, and with it
    /// what setting up the key left there.
    sealed: Arc<AtomicU64>,
}

impl AeadKey {
    /// Packets after which a key should be changed: 2^32.
    ///
    /// Among that many random nonces of 12 bytes two are equal with a probability of 2^-33, the highest
    /// that counts as safe. kcp-go's nonces are random. Those of this crate never repeat, but the peer's
    /// packets count as well, and this side does not know how many senders share the key.
    pub const SOFT_LIMIT: u64 = 1 << 32;

    /// Packets after which a key seals nothing more: 2^36.
    ///
    /// With full packets these are 2^43 AES blocks, which can be distinguished from random data with a
    /// probability of 2^-43.
    pub const HARD_LIMIT: u64 = 1 << 36;

    /// A cipher of your own.
    ///
    /// [`name`](Self::name) returns `name` and [`Debug`] shows it. [`Security::from_name`] does not
    /// know it.
    ///
    /// [`Security::from_name`]: super::Security::from_name
    #[must_use]
    pub fn custom(name: &'static str, cipher: impl AeadCipher + 'static) -> Self {
        Self {
            name,
            cipher: Arc::new(cipher),
            sealed: Arc::default(),
        }
    }

    /// The cipher's name: what [`Security::from_name`](super::Security::from_name) takes, or what
    /// [`custom`](Self::custom) was given.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Packets sealed under this key and its clones so far.
    #[must_use]
    pub fn sealed(&self) -> u64 {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Adds packets that were sealed elsewhere under the same key: by another process, or by this one
    /// before it was restarted.
    pub fn count_sealed(&self, packets: u64) {
        let before = self
            .sealed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sealed| {
                Some(sealed.saturating_add(packets))
            });
        self.warn_at_soft_limit(before.unwrap_or_else(|before| before), packets);
    }

    /// Counts packets that are about to be sealed.
    pub(crate) fn spend(&self, packets: u64) -> Result<(), SealError> {
        // Only the number itself is shared between threads, so no ordering is needed.
        let before = self
            .sealed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sealed| {
                let after = sealed.checked_add(packets)?;
                (after <= Self::HARD_LIMIT).then_some(after)
            });
        let before = before.map_err(|_| SealError::KeyExhausted)?;
        self.warn_at_soft_limit(before, packets);
        Ok(())
    }

    fn warn_at_soft_limit(&self, before: u64, packets: u64) {
        if before < Self::SOFT_LIMIT && before.saturating_add(packets) >= Self::SOFT_LIMIT {
            let packets = Self::SOFT_LIMIT;
            tracing::warn!(cipher = self.name, packets, "key should be changed");
        }
    }

    /// Encrypts `body` in place and returns the tag.
    pub(crate) fn seal(&self, nonce: &[u8; AEAD_NONCE_LEN], body: &mut [u8]) -> [u8; TAG_LEN] {
        self.cipher.seal(nonce, body)
    }

    /// Verifies the tag at the end of `sealed` and decrypts the rest in place.
    ///
    /// Returns the decrypted part.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; AEAD_NONCE_LEN],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        let (body, tag) = sealed.split_last_chunk_mut().ok_or(OpenError::TooShort)?;
        self.cipher.open(nonce, body, tag)?;
        Ok(body)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AeadKey").field(&self.name).finish()
    }
}

/// Bytes of the authentication tag of every AEAD here.
pub(crate) const TAG_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AeadKey {
        AeadKey::aes_128_gcm(&[1; 16]).expect("16 bytes")
    }

    #[test]
    fn clones_count_the_packets_of_one_key() {
        let key = key();
        key.spend(3).expect("far from the limit");
        key.clone().spend(4).expect("far from the limit");
        assert_eq!(key.sealed(), 7);
    }

    #[test]
    fn key_seals_no_packet_beyond_its_limit() {
        let key = key();
        key.count_sealed(AeadKey::HARD_LIMIT - 10);
        assert_eq!(key.spend(11), Err(SealError::KeyExhausted));
        assert_eq!(key.spend(10), Ok(()));
        assert_eq!(key.sealed(), AeadKey::HARD_LIMIT);
        for packets in [1, 46, u64::MAX] {
            assert_eq!(key.spend(packets), Err(SealError::KeyExhausted));
        }
        assert_eq!(
            key.sealed(),
            AeadKey::HARD_LIMIT,
            "refusals are not counted"
        );
        assert_eq!(key.spend(0), Ok(()));
    }

    #[test]
    fn count_from_elsewhere_never_wraps() {
        let key = key();
        for _ in 0..3 {
            key.count_sealed(u64::MAX - 1);
            assert_eq!(key.spend(1), Err(SealError::KeyExhausted));
        }
        assert_eq!(key.sealed(), u64::MAX);
    }
}
