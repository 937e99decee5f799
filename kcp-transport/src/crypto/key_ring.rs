//! Keys that change while connections last.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::AeadKey;
use super::aead::TAG_LEN;
use super::nonce::AEAD_NONCE_LEN;
use crate::error::{ConfigError, OpenError};

/// One key to send under and up to two to receive under, which can be changed at run time.
///
/// Give it to [`Security::Ring`](super::Security::Ring) and keep a clone: clones are handles to the
/// same ring, and all endpoints that have one follow. Both sides of a connection change their keys
/// on their own, in three steps:
///
/// 1. [`add_receive`](Self::add_receive) takes packets under the new key as well as the old. Do it on
///    all sides.
/// 2. [`promote`](Self::promote) sends under the new key. Do it on all sides, in any order.
/// 3. [`retire`](Self::retire) refuses the old key, once the last packets under it have arrived:
///    seconds later, or when the last peer has made step 2.
///
/// Packets under a key that the peer does not know yet, or no longer, are lost and sent again once
/// it does. Nothing on the wire tells keys apart: to peers such as kcp-go, which have one key, it is a
/// change of key.
///
/// While there are two keys, each packet costs a copy, and one under the second key another attempt
/// to open it; otherwise the ring costs a lock without contention.
///
/// ```
/// use kcp_transport::crypto::{AeadKey, KeyRing, Security};
///
/// let ring = KeyRing::new(AeadKey::aes_256_gcm(&[1; 32])?);
/// let security = Security::Ring(ring.clone());
/// // Listen or connect with `security`; then, from time to time:
/// ring.add_receive(AeadKey::aes_256_gcm(&[2; 32])?)?;
/// // Once all sides have done so:
/// assert!(ring.promote());
/// // And once all sides have done that:
/// assert!(ring.retire());
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<RwLock<Arc<Keys>>>,
}

/// What a ring holds at one moment.
#[derive(Clone)]
pub(crate) struct Keys {
    /// To seal under, and the first to open under.
    pub(crate) send: AeadKey,
    /// The next key, or the one before.
    other: Option<AeadKey>,
}

impl KeyRing {
    /// A ring with one key, to send and to receive under.
    #[must_use]
    pub fn new(key: AeadKey) -> Self {
        let keys = Keys {
            send: key,
            other: None,
        };
        Self {
            keys: Arc::new(RwLock::new(Arc::new(keys))),
        }
    }

    /// From now on takes packets under `key` too.
    ///
    /// The key may be of another cipher than the one before. It must be a new one: a key that was
    /// in use before has used up nonces, and old packets under it are authentic again.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyRingFull`] if there are two keys already.
    pub fn add_receive(&self, key: AeadKey) -> Result<(), ConfigError> {
        let mut key = Some(key);
        self.change(|keys| match keys.other {
            Some(_) => false,
            None => {
                keys.other = key.take();
                true
            }
        })
        .then_some(())
        .ok_or(ConfigError::KeyRingFull)
    }

    /// From now on sends under the second key, and takes packets under the one before still.
    ///
    /// Once more takes it back. Returns `false`, and changes nothing, if there is only one key.
    pub fn promote(&self) -> bool {
        self.change(|keys| match &mut keys.other {
            Some(other) => {
                std::mem::swap(&mut keys.send, other);
                true
            }
            None => false,
        })
    }

    /// From now on refuses packets under the key that is not sent under.
    ///
    /// Returns `false` if there is only one key.
    pub fn retire(&self) -> bool {
        self.change(|keys| keys.other.take().is_some())
    }

    /// Number of keys that packets are taken under: one or two.
    #[must_use]
    pub fn receive_keys(&self) -> usize {
        1 + usize::from(self.keys().other.is_some())
    }

    /// The key that packets are sent under, to ask for its [name](AeadKey::name) and
    /// [use](AeadKey::sealed).
    #[must_use]
    pub fn send_key(&self) -> AeadKey {
        self.keys().send.clone()
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        // Each change is one assignment: the ring stays whole whatever panics.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    fn change(&self, change: impl FnOnce(&mut Keys) -> bool) -> bool {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut keys))
    }
}

impl Keys {
    /// As [`AeadKey::open`], under whichever key fits.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; AEAD_NONCE_LEN],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        if let Some(other) = &self.other {
            // A failed attempt leaves nothing to try the other key on.
            let copy = sealed.to_vec();
            if self.send.open(nonce, sealed).is_err() {
                sealed.copy_from_slice(&copy);
                other.open(nonce, sealed)?;
            }
        } else {
            self.send.open(nonce, sealed)?;
        }
        let end = sealed.len() - TAG_LEN;
        Ok(&mut sealed[..end])
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        f.debug_struct("KeyRing")
            .field("send", &keys.send)
            .field("other", &keys.other)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> AeadKey {
        AeadKey::aes_128_gcm(&[byte; 16]).expect("16 bytes")
    }

    /// Which of the keys 0..4 the ring opens packets under.
    fn opened(ring: &KeyRing) -> Vec<u8> {
        let opens = |&byte: &u8| {
            let mut sealed = vec![7; 20 + TAG_LEN];
            let tag = key(byte).seal(&[1; 12], &mut sealed[..20]);
            sealed[20..].copy_from_slice(&tag);
            let payload = ring
                .keys()
                .open(&[1; 12], &mut sealed)
                .map(|it| it.to_vec());
            payload.inspect(|it| assert_eq!(*it, [7; 20])).is_ok()
        };
        (0..4).filter(opens).collect()
    }

    fn sends(ring: &KeyRing, byte: u8) -> bool {
        let seal = |key: AeadKey| key.seal(&[1; 12], &mut [3; 20]);
        seal(ring.send_key()) == seal(key(byte))
    }

    #[test]
    fn new_key_is_taken_first_then_sent_under_then_the_old_one_is_refused() {
        let ring = KeyRing::new(key(0));
        assert_eq!(opened(&ring), [0]);
        ring.add_receive(key(1)).expect("room for a second");
        assert_eq!(opened(&ring), [0, 1]);
        assert!(sends(&ring, 0));
        assert!(ring.promote());
        assert_eq!(opened(&ring), [0, 1]);
        assert!(sends(&ring, 1));
        assert!(ring.retire());
        assert_eq!(opened(&ring), [1]);
        assert!(sends(&ring, 1));
    }

    #[test]
    fn never_more_than_two_keys() {
        let ring = KeyRing::new(key(0));
        ring.add_receive(key(1)).expect("room for a second");
        assert_eq!(ring.add_receive(key(2)), Err(ConfigError::KeyRingFull));
        assert_eq!(opened(&ring), [0, 1]);
        assert_eq!(ring.receive_keys(), 2);
    }

    #[test]
    fn steps_out_of_order_change_nothing() {
        let ring = KeyRing::new(key(0));
        assert!(!ring.promote());
        assert!(!ring.retire());
        assert_eq!(opened(&ring), [0]);
        assert!(sends(&ring, 0));
        // A key that turns out not to be known everywhere is taken back.
        ring.add_receive(key(1)).expect("room for a second");
        assert!(ring.promote() && ring.promote() && ring.retire());
        assert_eq!(opened(&ring), [0]);
    }

    #[test]
    fn clones_are_the_same_ring() {
        let ring = KeyRing::new(key(0));
        let clone = ring.clone();
        ring.add_receive(key(1)).expect("room for a second");
        assert!(clone.promote() && clone.retire());
        assert!(sends(&ring, 1));
    }

    #[test]
    fn keys_of_different_ciphers_share_a_ring() {
        let chacha = AeadKey::chacha20_poly1305(&[1; 32]).expect("32 bytes");
        let ring = KeyRing::new(key(0));
        ring.add_receive(chacha.clone()).expect("room for a second");
        let mut sealed = vec![7; 20 + TAG_LEN];
        let tag = chacha.seal(&[1; 12], &mut sealed[..20]);
        sealed[20..].copy_from_slice(&tag);
        assert_eq!(
            ring.keys().open(&[1; 12], &mut sealed).expect("fits"),
            [7; 20]
        );
        assert!(
            ring.keys().open(&[1; 12], &mut [0; 10]).is_err(),
            "too short"
        );
    }
}
