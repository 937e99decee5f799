//! Encrypting outgoing packets.

use std::sync::Arc;

use super::{Opener, ReplayFilter, TransmitBatch};
use crate::crypto::{
    AEAD_NONCE_LEN, AeadKey, CHECKSUM_LEN, NONCE_LEN, NonceSource, Nonces, Security, TAG_LEN,
};
use crate::error::SealError;

/// Encrypts packets in place, batch by batch.
///
/// Clones share key and nonces, so that several tasks can seal at once.
///
/// ```
/// use kcp_transport::crypto::{AeadKey, Security};
/// use kcp_transport::packet::{PacketLayout, Opener, Sealer, TransmitBatch};
///
/// let security = Security::Aead(AeadKey::aes_128_gcm(&[1; 16])?);
/// let sealer = Sealer::new(&security, [2; 32]); // in production: 32 random bytes
///
/// let layout = PacketLayout::new(1400, security.overhead(), false)?;
/// let mut batch = TransmitBatch::new(layout, 20);
/// batch.push_with(|payload| {
///     payload[..5].copy_from_slice(b"hello");
///     5
/// });
/// sealer.seal(&mut batch)?;
///
/// let mut datagram = batch.datagrams().next().expect("one was pushed").to_vec();
/// let payload = Opener::new(&security).open(&mut datagram).expect("the same key");
/// assert_eq!(payload, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sealer {
    security: Security,
    nonces: Arc<NonceSource>,
}

impl Sealer {
    /// A sealer whose nonces follow from `seed`.
    ///
    /// Every sealer needs a random seed of its own. Two sealers with the same seed and key repeat
    /// nonces, which breaks confidentiality and authenticity of an AEAD. The same happens if the
    /// process is copied by `fork` or the machine is restored from a snapshot.
    #[must_use]
    pub fn new(security: &Security, seed: [u8; 32]) -> Self {
        Self {
            security: security.clone(),
            nonces: Arc::new(NonceSource::new(seed)),
        }
    }

    /// An opener with the same key that refuses packets sealed by this sealer and its clones, as
    /// far as the cipher permits: see [`Opener::open`].
    ///
    /// Both directions use one key, so a packet that is reflected to its sender is authentic there.
    /// Packets of other sealers with the same key, even in the same process, cannot be
    /// distinguished from the peer's.
    #[must_use]
    pub fn opener(&self) -> Opener {
        Opener::refusing(&self.security, Arc::clone(&self.nonces))
    }

    /// A filter for [`Opener::open_once`] whose secret follows from this sealer's seed.
    #[must_use]
    pub fn replay_filter(&self, capacity: usize) -> ReplayFilter {
        ReplayFilter::new(self.nonces.secret(), capacity)
    }

    /// Number of packets sealed with the current key by all sealers that share it:
    /// [`Security::sealed`].
    #[must_use]
    pub fn sealed(&self) -> u64 {
        self.security.sealed()
    }

    /// Encrypts all datagrams of the batch and writes their nonces, checksums or tags.
    ///
    /// # Errors
    ///
    /// [`SealError::KeyExhausted`] if the batch would exceed [`AeadKey::HARD_LIMIT`] of the key.
    /// The batch is then emptied, so that nothing is sent unsealed.
    ///
    /// # Panics
    ///
    /// If the batch's layout was made for a cipher with another overhead.
    pub fn seal(&self, batch: &mut TransmitBatch) -> Result<(), SealError> {
        assert_eq!(
            batch.layout().overhead(),
            self.security.overhead(),
            "the batch is laid out for another cipher"
        );
        let mut nonces = self.nonces.reserve(batch.len());
        match &self.security {
            Security::Aead(key) => seal_batch(key, batch, &mut nonces)?,
            Security::Ring(ring) => seal_batch(&ring.keys().send, batch, &mut nonces)?,
            // Each datagram is framed just before it is encrypted, while it is in the cache.
            Security::Legacy(cipher) => {
                cipher.encrypt(
                    &mut batch
                        .datagrams_mut()
                        .map(|datagram| frame(datagram, nonces.next_opaque().expect(RESERVED))),
                );
            }
            Security::Plaintext => {}
        }
        Ok(())
    }

    /// Seals one datagram with a given nonce of 12 (AEAD) or 16 bytes, to compare with known bytes.
    ///
    /// For tests only: a nonce that is used twice breaks the cipher.
    ///
    /// # Panics
    ///
    /// If the nonce has another length.
    #[cfg(any(test, feature = "testing"))]
    pub fn seal_with_nonce(security: &Security, datagram: &mut [u8], nonce: &[u8]) {
        match security {
            Security::Aead(key) => {
                let nonce = nonce.try_into().expect("an AEAD's nonce has 12 bytes");
                seal_aead(key, datagram, nonce);
            }
            Security::Ring(ring) => {
                let security = Security::Aead(ring.send_key());
                Self::seal_with_nonce(&security, datagram, nonce);
            }
            Security::Legacy(cipher) => {
                let nonce = nonce.try_into().expect("the nonce has 16 bytes");
                cipher.encrypt(&mut std::iter::once(frame(datagram, nonce)));
            }
            Security::Plaintext => {}
        }
    }
}

fn seal_batch(
    key: &AeadKey,
    batch: &mut TransmitBatch,
    nonces: &mut Nonces<'_>,
) -> Result<(), SealError> {
    // A batch is far below 2^64.
    key.spend(batch.len() as u64)
        .inspect_err(|_| batch.clear())?;
    for datagram in batch.datagrams_mut() {
        seal_aead(key, datagram, nonces.next_counted().expect(RESERVED));
    }
    Ok(())
}

fn seal_aead(key: &AeadKey, datagram: &mut [u8], nonce: [u8; AEAD_NONCE_LEN]) {
    let (front, rest) = datagram.split_at_mut(AEAD_NONCE_LEN);
    let (payload, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
    front.copy_from_slice(&nonce);
    tag.copy_from_slice(&key.seal(&nonce, payload));
}

/// Writes nonce and checksum in front of the payload and returns the whole.
fn frame(datagram: &mut [u8], nonce: [u8; NONCE_LEN]) -> &mut [u8] {
    let (front, payload) = datagram.split_at_mut(NONCE_LEN + CHECKSUM_LEN);
    front[..NONCE_LEN].copy_from_slice(&nonce);
    front[NONCE_LEN..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    datagram
}

/// Why a reserved nonce exists.
const RESERVED: &str = "as many nonces as datagrams were reserved";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{AeadCipher, KeyRing, LegacyCipher, Overhead, PacketCipher};
    use crate::error::OpenError;
    use crate::packet::{Opener, PacketLayout};
    use std::collections::HashSet;

    fn ciphers() -> impl Iterator<Item = Security> {
        Security::NAMES
            .iter()
            .map(|name| Security::from_password(name, "secret", b"salt").expect("a known name"))
    }

    fn payload(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 + len) as u8).collect()
    }

    fn batch(security: &Security, lengths: impl Iterator<Item = usize>) -> TransmitBatch {
        let layout = PacketLayout::new(1500, security.overhead(), false).expect("fits");
        let mut batch = TransmitBatch::new(layout, 2000);
        for len in lengths {
            batch.push_with(|body| {
                body[..len].copy_from_slice(&payload(len));
                len
            });
        }
        batch
    }

    #[test]
    fn what_is_sealed_opens_at_every_length() {
        for security in ciphers() {
            let Overhead { front, back } = security.overhead();
            let most = 1500 - front - back;
            let mut batch = batch(&security, 1..=most);
            Sealer::new(&security, [1; 32])
                .seal(&mut batch)
                .expect("far from the limit");
            let opener = Opener::new(&security);
            let mut len = 0;
            for datagram in batch.datagrams_mut() {
                len += 1;
                assert_eq!(datagram.len(), front + len + back);
                let opened = opener.open(datagram).expect("sealed under the same key");
                assert_eq!(opened, payload(len), "{} of {len}", security.name());
            }
            assert_eq!(len, most);
        }
    }

    #[test]
    fn empty_payload_opens() {
        for security in ciphers() {
            let Overhead { front, back } = security.overhead();
            let mut datagram = vec![0; front + back];
            let nonce = vec![5; if back > 0 { AEAD_NONCE_LEN } else { NONCE_LEN }];
            Sealer::seal_with_nonce(&security, &mut datagram, &nonce);
            assert_eq!(Opener::new(&security).open(&mut datagram), Ok(&mut [][..]));
        }
    }

    #[test]
    fn batch_is_the_same_as_one_by_one() {
        // Equal and unequal sizes, more and fewer datagrams than are encrypted in parallel.
        let lengths = [1300, 1300, 7, 1300, 900, 1, 1300, 1300, 1300, 16, 44, 1299];
        for security in ciphers() {
            for count in 0..=lengths.len() {
                let lengths = || lengths[..count].iter().copied();
                let mut sealed = batch(&security, lengths());
                Sealer::new(&security, [1; 32])
                    .seal(&mut sealed)
                    .expect("far from the limit");
                let single = Sealer::new(&security, [1; 32]);
                for (datagram, len) in sealed.datagrams().zip(lengths()) {
                    let mut alone = batch(&security, std::iter::once(len));
                    single.seal(&mut alone).expect("far from the limit");
                    assert_eq!(alone.datagrams().next(), Some(datagram));
                }
            }
        }
    }

    #[test]
    fn equal_payloads_never_look_equal() {
        for security in ciphers().filter(|security| !matches!(security, Security::Plaintext)) {
            let mut batch = batch(&security, std::iter::repeat_n(100, 500));
            let sealer = Sealer::new(&security, [1; 32]);
            sealer.clone().seal(&mut batch).expect("far from the limit");
            let mut seen: HashSet<_> = batch.datagrams().map(<[u8]>::to_vec).collect();
            sealer.seal(&mut batch).expect("far from the limit");
            seen.extend(batch.datagrams().map(<[u8]>::to_vec));
            assert_eq!(seen.len(), 1000, "{}", security.name());
        }
    }

    #[test]
    fn layout_is_that_of_kcp_go() {
        let seal = |name, nonce: &[u8], len| {
            let security = Security::from_password(name, "secret", b"salt").expect("known");
            let mut datagram = vec![7; len];
            Sealer::seal_with_nonce(&security, &mut datagram, nonce);
            datagram
        };
        let checksum = crc32fast::hash(&[7; 10]).to_le_bytes();
        let none = seal("none", &[5; 16], 30);
        assert_eq!(none, [&[5; 16][..], &checksum[..], &[7; 10][..]].concat());
        let salsa20 = seal("salsa20", &[5; 16], 30);
        assert_eq!(salsa20[..8], [5; 8], "its nonce travels in clear");
        assert_ne!(salsa20[8..16], [5; 8]);
        let aead = seal("aes-128-gcm", &[5; 12], 38);
        assert_eq!(aead[..12], [5; 12]);
        assert_ne!(aead[12..22], [7; 10]);
    }

    /// Inverts every bit. Its batch function stops after two packets.
    struct Inverter;

    impl PacketCipher for Inverter {
        fn encrypt(&self, packet: &mut [u8]) {
            packet.iter_mut().for_each(|byte| *byte = !*byte);
        }

        fn decrypt(&self, packet: &mut [u8]) {
            self.encrypt(packet);
        }

        fn encrypt_batch(&self, packets: &mut dyn Iterator<Item = &mut [u8]>) {
            packets.take(2).for_each(|packet| self.encrypt(packet));
        }
    }

    impl AeadCipher for Inverter {
        fn seal(&self, nonce: &[u8; 12], body: &mut [u8]) -> [u8; 16] {
            let mut tag = [nonce[11]; 16];
            tag[..4].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
            self.encrypt(body);
            tag
        }

        fn open(&self, nonce: &[u8; 12], body: &mut [u8], tag: &[u8; 16]) -> Result<(), OpenError> {
            self.decrypt(body);
            let mut copy = body.to_vec();
            let fits = self.seal(nonce, &mut copy) == *tag;
            fits.then_some(()).ok_or(OpenError::Unauthentic)
        }
    }

    #[test]
    fn ciphers_of_users_open_what_they_sealed_and_leave_nothing_unsealed() {
        for (security, overhead) in [
            (
                Security::Legacy(LegacyCipher::custom("inverter", Inverter)),
                Overhead { front: 20, back: 0 },
            ),
            (
                Security::Aead(AeadKey::custom("inverter", Inverter)),
                Overhead {
                    front: 12,
                    back: 16,
                },
            ),
        ] {
            assert_eq!(security.name(), "inverter");
            assert_eq!(security.overhead(), overhead);
            let mut batch = batch(&security, 100..110);
            Sealer::new(&security, [1; 32])
                .seal(&mut batch)
                .expect("far from the limit");
            for (datagram, len) in batch.datagrams_mut().zip(100..) {
                let sealed: Vec<u8> = payload(len).into_iter().map(|byte| !byte).collect();
                assert_eq!(datagram[overhead.front..][..len], sealed);
                datagram[overhead.front] ^= 1;
                let opener = Opener::new(&security);
                let forged = opener.open(&mut datagram.to_vec()).is_err();
                assert!(forged);
                datagram[overhead.front] ^= 1;
                assert_eq!(opener.open(datagram).expect("authentic"), payload(len));
            }
        }
    }

    #[test]
    fn exhausted_key_seals_nothing_and_leaves_nothing_to_send() {
        let key = AeadKey::aes_128_gcm(&[1; 16]).expect("16 bytes");
        let security = Security::Aead(key.clone());
        let sealer = Sealer::new(&security, [1; 32]);
        key.count_sealed(AeadKey::HARD_LIMIT - 10);
        let mut fits = batch(&security, 1..=10);
        let mut too_many = batch(&security, 1..=11);
        assert_eq!(sealer.seal(&mut too_many), Err(SealError::KeyExhausted));
        assert!(too_many.is_empty());
        assert_eq!(sealer.seal(&mut fits), Ok(()));
        assert_eq!((fits.len(), sealer.sealed()), (10, AeadKey::HARD_LIMIT));
    }

    #[test]
    fn nonces_that_wrap_pass_the_replay_filter_once() {
        let security = Security::from_password("aes-128-gcm", "secret", b"salt").expect("known");
        let [here, peer] = [[1; 32], [2; 32]].map(|seed| Sealer::new(&security, seed));
        for sealer in [&here, &peer] {
            sealer.nonces.reserve(0xffff_fc00);
        }
        let mut filter = here.replay_filter(1000);
        let mut sent = batch(&security, std::iter::repeat_n(10, 2000));
        let mut received = batch(&security, std::iter::repeat_n(10, 2000));
        here.seal(&mut sent).expect("far from the limit");
        peer.seal(&mut received).expect("far from the limit");
        let mut count = |batch: &TransmitBatch, result: Result<(), OpenError>| {
            let opened = batch.datagrams().map(|datagram| {
                let mut datagram = datagram.to_vec();
                let opened = here.opener().open_once(&mut datagram, &mut filter);
                opened.map(|_| ())
            });
            opened.filter(|opened| *opened == result).count()
        };
        assert_eq!(count(&received, Ok(())), 2000);
        assert_eq!(count(&received, Err(OpenError::Replayed)), 2000);
        assert_eq!(count(&sent, Err(OpenError::Reflected)), 2000);
    }

    #[test]
    fn ring_seals_under_its_newest_key_and_opens_under_two() {
        let key = |byte| AeadKey::aes_128_gcm(&[byte; 16]).expect("16 bytes");
        let ring = KeyRing::new(key(0));
        let security = Security::Ring(ring.clone());
        let sealer = Sealer::new(&security, [1; 32]);
        let opener = Opener::new(&security);
        let sealed = || {
            let mut batch = batch(&security, std::iter::once(100));
            sealer.seal(&mut batch).expect("far from the limit");
            batch.datagrams().next().expect("one").to_vec()
        };
        let opens = |mut datagram: Vec<u8>| opener.open(&mut datagram).map(|it| it.to_vec());
        let old = sealed();
        ring.add_receive(key(1)).expect("room for a second");
        assert_eq!(opens(sealed()), Ok(payload(100)));
        assert!(ring.promote());
        assert_eq!(sealer.sealed(), 0, "counts anew");
        let new = sealed();
        for datagram in [&old, &new] {
            assert_eq!(opens(datagram.clone()), Ok(payload(100)));
        }
        let mut forged = new.clone();
        forged[50] ^= 1;
        assert_eq!(opens(forged), Err(OpenError::Unauthentic));
        assert!(ring.retire());
        assert_eq!(opens(new), Ok(payload(100)));
        assert_eq!(opens(old), Err(OpenError::Unauthentic), "retired");
    }

    #[test]
    #[should_panic(expected = "laid out for another cipher")]
    fn foreign_layout_is_refused() {
        let mut batch = batch(&Security::Plaintext, std::iter::once(100));
        let security = Security::from_password("aes", "secret", b"salt").expect("known");
        Sealer::new(&security, [1; 32])
            .seal(&mut batch)
            .expect("far from the limit");
    }

    #[test]
    fn sealer_and_opener_move_between_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<Sealer>();
        shared::<Opener>();
        shared::<Security>();
    }
}
