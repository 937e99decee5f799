//! Keys that change while connections are open.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::AeadKey;
use super::aead::TAG_LEN;
use super::nonce::AEAD_NONCE_LEN;
use crate::error::{ConfigError, OpenError};

/// One key to send with and up to two to receive with. They can be changed at run time.
///
/// Pass it to [`Security::Ring`](super::Security::Ring) and keep a clone: clones are handles to the same
/// ring, and a change applies to all endpoints that use it. Each side of a connection changes its keys
/// itself, in three steps:
///
/// 1. [`add_receive`](Self::add_receive) accepts packets under the new key as well as the old one. Do it
///    on all sides.
/// 2. [`promote`](Self::promote) sends under the new key. Do it on all sides, in any order.
/// 3. [`retire`](Self::retire) rejects the old key. Do it after the last packets under it have arrived:
///    some seconds after the last peer has done step 2.
///
/// Packets under a key that the peer does not accept are lost, and their data is sent again. Nothing on
/// the wire identifies the key. A peer with a single key, such as kcp-go, cannot open packets under a new
/// one until its own key is changed.
///
/// While there are two keys, receiving a packet takes a copy, and a packet under the second key is tried
/// twice. Otherwise the ring costs an uncontended lock for each packet or batch.
///
/// ```
/// use kcp_transport::crypto::{AeadKey, KeyRing, Security};
///
/// let ring = KeyRing::new(AeadKey::aes_256_gcm(&[1; 32])?);
/// let security = Security::Ring(ring.clone());
/// // Listen or connect with `security`. Later, on this side and on all others:
/// ring.add_receive(AeadKey::aes_256_gcm(&[2; 32])?)?;
/// // When all sides have done that:
/// assert!(ring.promote());
/// // And when all sides have done that:
/// assert!(ring.retire());
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    keys: Arc<RwLock<Arc<Keys>>>,
}

/// The keys of a ring at one moment.
#[derive(Clone)]
pub(crate) struct Keys {
    /// The key to seal with, and the first to try when opening.
    pub(crate) send: AeadKey,
    /// The next key, or the previous one.
    other: Option<AeadKey>,
}

impl KeyRing {
    /// A ring with one key, for sending and receiving.
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

    /// Accepts packets under `key` too.
    ///
    /// The key may belong to another AEAD cipher. It must be new: with a key that was in use before, old
    /// packets would be authentic again, and nonces could repeat.
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

    /// Sends under the second key, and still accepts packets under the previous one.
    ///
    /// A second call reverts this. Returns `false` and changes nothing if there is only one key.
    pub fn promote(&self) -> bool {
        self.change(|keys| match &mut keys.other {
            Some(other) => {
                std::mem::swap(&mut keys.send, other);
                true
            }
            None => false,
        })
    }

    /// Rejects packets under the key that is not the send key.
    ///
    /// Returns `false` if there is only one key.
    pub fn retire(&self) -> bool {
        self.change(|keys| keys.other.take().is_some())
    }

    /// Number of keys that packets are accepted under: one or two.
    #[must_use]
    pub fn receive_keys(&self) -> usize {
        1 + usize::from(self.keys().other.is_some())
    }

    /// The key that packets are sent under, with its [name](AeadKey::name) and the
    /// [number of packets](AeadKey::sealed) sealed with it.
    #[must_use]
    pub fn send_key(&self) -> AeadKey {
        self.keys().send.clone()
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        // Each change is one assignment, so a panic cannot leave the ring inconsistent.
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&keys)
    }

    fn change(&self, change: impl FnOnce(&mut Keys) -> bool) -> bool {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut keys))
    }
}

impl Keys {
    /// As [`AeadKey::open`], with the key that the packet was sealed with.
    pub(crate) fn open<'a>(
        &self,
        nonce: &[u8; AEAD_NONCE_LEN],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], OpenError> {
        if let Some(other) = &self.other {
            // A failed attempt destroys the packet, so the other key needs a copy.
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
