//! Decrypting and checking incoming packets.

use std::sync::Arc;

use super::ReplayFilter;
use crate::crypto::{AEAD_NONCE_LEN, CHECKSUM_LEN, LegacyCipher, NONCE_LEN, NonceSource, Security};
use crate::error::OpenError;

/// Decrypts and checks packets in place, one at a time.
///
/// Clones share the key.
#[derive(Clone, Debug)]
pub struct Opener {
    security: Security,
    /// The source of the nonces of packets that this endpoint sealed.
    own: Option<Arc<NonceSource>>,
}

impl Opener {
    /// An opener for packets sealed with the same key by a [`Sealer`](super::Sealer) or by kcp-go.
    ///
    /// It does not detect reflected packets. The one of [`Sealer::opener`](super::Sealer::opener)
    /// does.
    #[must_use]
    pub fn new(security: &Security) -> Self {
        Self {
            security: security.clone(),
            own: None,
        }
    }

    pub(super) fn refusing(security: &Security, own: Arc<NonceSource>) -> Self {
        Self {
            security: security.clone(),
            own: Some(own),
        }
    }

    /// Decrypts a datagram and returns its payload: FEC header, if any, and segments.
    ///
    /// After an error the content of the datagram is unspecified.
    ///
    /// # Errors
    ///
    /// [`OpenError::TooShort`] if the datagram is shorter than nonce and checksum or tag, and
    /// [`OpenError::Unauthentic`] if the checksum or tag is wrong. [`Security::Plaintext`] accepts
    /// every datagram. [`OpenError::Reflected`] if the datagram was sealed by the sealer that
    /// created this opener. Without an AEAD, an attacker that also changes the nonce may evade that
    /// check.
    pub fn open<'a>(&self, datagram: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        let overhead = self.security.overhead();
        if datagram.len() < overhead.front + overhead.back {
            return Err(OpenError::TooShort);
        }
        let own = self.own.as_deref();
        match &self.security {
            Security::Aead(key) => {
                open_aead(datagram, own, |nonce, sealed| key.open(nonce, sealed))
            }
            Security::Ring(ring) => {
                let keys = ring.keys();
                open_aead(datagram, own, |nonce, sealed| keys.open(nonce, sealed))
            }
            Security::Legacy(cipher) => open_checksummed(cipher, datagram, own),
            Security::Plaintext => Ok(datagram),
        }
    }

    /// As [`open`](Self::open), and also refuses authentic datagrams that were received before.
    ///
    /// Only datagrams that an AEAD has authenticated are passed to `filter`.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), and [`OpenError::Replayed`].
    pub fn open_once<'a>(
        &self,
        datagram: &'a mut [u8],
        filter: &mut ReplayFilter,
    ) -> Result<&'a mut [u8], OpenError> {
        self.open_fresh(datagram, |nonce| filter.accept(nonce))
    }

    /// As [`open_once`](Self::open_once), with a function that returns whether a nonce is new.
    pub(crate) fn open_fresh<'a>(
        &self,
        datagram: &'a mut [u8],
        is_fresh: impl FnOnce(&[u8; AEAD_NONCE_LEN]) -> bool,
    ) -> Result<&'a mut [u8], OpenError> {
        let nonce = self.nonce(datagram).copied();
        let payload = self.open(datagram)?;
        match nonce {
            Some(nonce) if !is_fresh(&nonce) => Err(OpenError::Replayed),
            _ => Ok(payload),
        }
    }

    /// The nonce of a datagram sealed by an AEAD: its first 12 bytes.
    ///
    /// `None` for other ciphers. It is authentic only after [`open`](Self::open) has succeeded.
    #[must_use]
    pub fn nonce<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8; AEAD_NONCE_LEN]> {
        match &self.security {
            Security::Aead(_) | Security::Ring(_) => datagram.first_chunk(),
            Security::Legacy(_) | Security::Plaintext => None,
        }
    }
}

fn open_aead<'a>(
    datagram: &'a mut [u8],
    own: Option<&NonceSource>,
    open: impl FnOnce(&[u8; AEAD_NONCE_LEN], &'a mut [u8]) -> Result<&'a mut [u8], OpenError>,
) -> Result<&'a mut [u8], OpenError> {
    let (nonce, sealed) = datagram
        .split_first_chunk_mut()
        .ok_or(OpenError::TooShort)?;
    let payload = open(nonce, sealed)?;
    match own {
        Some(own) if own.is_own_counted(nonce) => Err(OpenError::Reflected),
        _ => Ok(payload),
    }
}

fn open_checksummed<'a>(
    cipher: &LegacyCipher,
    datagram: &'a mut [u8],
    own: Option<&NonceSource>,
) -> Result<&'a mut [u8], OpenError> {
    // After decryption the nonce is in clear, whichever part of it the cipher encrypts.
    cipher.decrypt(datagram);
    let (nonce, rest) = datagram
        .split_first_chunk_mut::<NONCE_LEN>()
        .ok_or(OpenError::TooShort)?;
    let (checksum, payload) = rest
        .split_first_chunk_mut::<CHECKSUM_LEN>()
        .ok_or(OpenError::TooShort)?;
    if u32::from_le_bytes(*checksum) != crc32fast::hash(payload) {
        return Err(OpenError::Unauthentic);
    }
    match own {
        Some(own) if own.is_own_opaque(nonce) => Err(OpenError::Reflected),
        _ => Ok(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Overhead;
    use crate::packet::{PacketLayout, Sealer, TransmitBatch};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// All ciphers that verify packets.
    fn ciphers(password: &'static str) -> impl Iterator<Item = Security> {
        Security::NAMES
            .iter()
            .filter(|&&name| name != "null")
            .map(move |name| Security::from_password(name, password, b"salt").expect("known"))
    }

    fn sealed(security: &Security, len: usize) -> Vec<u8> {
        let Overhead { front, back } = security.overhead();
        let mut datagram = vec![0x5a; front + len + back];
        let nonce = [3; NONCE_LEN];
        let nonce_len = if back > 0 { AEAD_NONCE_LEN } else { NONCE_LEN };
        Sealer::seal_with_nonce(security, &mut datagram, &nonce[..nonce_len]);
        datagram
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        for security in ciphers("secret") {
            let opener = Opener::new(&security);
            let good = sealed(&security, 57);
            // The checksum does not cover the nonce. Changes of its bits are undetected if there is
            // no chaining and they do not select the key stream, or if the chain ends within the
            // nonce.
            let unchecked = match security.name() {
                "none" | "xor" => 0..NONCE_LEN * 8,
                "salsa20" => 8 * 8..NONCE_LEN * 8,
                "3des" | "cast5" | "blowfish" | "tea" | "xtea" => 0..8 * 8,
                _ => 0..0,
            };
            for bit in (0..good.len() * 8).filter(|bit| !unchecked.contains(bit)) {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let result = opener.open(&mut bad);
                assert_eq!(
                    result,
                    Err(OpenError::Unauthentic),
                    "{} {bit}",
                    security.name()
                );
            }
        }
    }

    #[test]
    fn every_other_length_is_refused() {
        for security in ciphers("secret") {
            let opener = Opener::new(&security);
            let good = sealed(&security, 57);
            let Overhead { front, back } = security.overhead();
            for len in 0..good.len() {
                let expected = if len < front + back {
                    OpenError::TooShort
                } else {
                    OpenError::Unauthentic
                };
                assert_eq!(opener.open(&mut good[..len].to_vec()), Err(expected));
            }
            let longer = &mut [&good[..], &[0]].concat();
            assert_eq!(opener.open(longer), Err(OpenError::Unauthentic));
        }
    }

    #[test]
    fn wrong_key_is_refused() {
        for (security, other) in ciphers("secret").zip(ciphers("secrets")) {
            let result = Opener::new(&other).open(&mut sealed(&security, 57)).is_ok();
            assert_eq!(result, security.name() == "none", "{}", security.name());
        }
    }

    #[test]
    fn nonce_is_seen_for_aead_only() {
        let opener =
            |name| Opener::new(&Security::from_password(name, "secret", b"salt").expect("known"));
        let datagram = [[1; 12], [2; 12], [3; 12]].concat();
        assert_eq!(opener("aes-128-gcm").nonce(&datagram), Some(&[1; 12]));
        assert_eq!(opener("aes-128-gcm").nonce(&datagram[..11]), None);
        assert_eq!(opener("aes").nonce(&datagram), None);
        assert_eq!(opener("null").nonce(&datagram), None);
    }

    /// Datagrams that `sealer` sealed, `count` of them.
    fn sealed_by(sealer: &Sealer, security: &Security, count: usize) -> Vec<Vec<u8>> {
        let layout = PacketLayout::new(1400, security.overhead(), false).expect("fits");
        let mut batch = TransmitBatch::new(layout, count);
        for index in 0..count {
            batch.push_with(|payload| {
                payload[..4].copy_from_slice(&(index as u32).to_le_bytes());
                4
            });
        }
        sealer.seal(&mut batch).expect("far from the limit");
        batch.datagrams().map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn own_packets_that_are_reflected_are_refused_with_every_cipher() {
        for security in ciphers("secret") {
            let [one, other] = [[1; 32], [2; 32]].map(|seed| Sealer::new(&security, seed));
            for datagram in sealed_by(&one, &security, 1000) {
                let reflected = one.opener().open(&mut datagram.clone()).map(|_| ());
                assert_eq!(reflected, Err(OpenError::Reflected), "{}", security.name());
                let received = other.opener().open(&mut datagram.clone()).is_ok();
                assert!(received, "{}", security.name());
            }
        }
    }

    #[test]
    fn replayed_and_reflected_packets_are_never_accepted() {
        let security = Security::from_password("aes-128-gcm", "secret", b"salt").expect("known");
        let [one, other] = [[1; 32], [2; 32]].map(|seed| Sealer::new(&security, seed));
        let (sent, received) = (
            sealed_by(&one, &security, 50_000),
            sealed_by(&other, &security, 50_000),
        );
        let opener = one.opener();
        let mut filter = one.replay_filter(1000);
        let mut count = |datagrams: &[Vec<u8>], result: Result<(), OpenError>| {
            let opened = datagrams.iter().map(|datagram| {
                let mut datagram = datagram.clone();
                opener.open_once(&mut datagram, &mut filter).map(|_| ())
            });
            opened.filter(|opened| *opened == result).count()
        };
        assert_eq!(count(&received, Ok(())), 50_000);
        assert_eq!(count(&received, Err(OpenError::Replayed)), 50_000);
        assert_eq!(count(&sent, Err(OpenError::Reflected)), 50_000);
    }

    #[test]
    fn forged_packets_leave_no_trace_in_the_replay_filter() {
        for name in ["aes-128-gcm", "aes-192-gcm", "chacha20-poly1305"] {
            let security = Security::from_password(name, "secret", b"salt").expect("known");
            let [one, other] = [[1; 32], [2; 32]].map(|seed| Sealer::new(&security, seed));
            let opener = one.opener();
            let mut filter = one.replay_filter(1000);
            let before = format!("{filter:?}");
            let good = sealed_by(&other, &security, 100);
            for datagram in &good {
                for index in 0..datagram.len() {
                    let mut forged = datagram.clone();
                    forged[index] ^= 0x10;
                    let opened = opener.open_once(&mut forged, &mut filter).map(|_| ());
                    assert_eq!(opened, Err(OpenError::Unauthentic));
                }
            }
            assert_eq!(format!("{filter:?}"), before);
            for mut datagram in good {
                assert!(opener.open_once(&mut datagram, &mut filter).is_ok());
            }
        }
    }

    #[test]
    fn packets_without_authentication_stay_out_of_the_replay_filter() {
        for name in ["aes", "none", "null"] {
            let security = Security::from_password(name, "secret", b"salt").expect("known");
            let [one, other] = [[1; 32], [2; 32]].map(|seed| Sealer::new(&security, seed));
            let mut filter = one.replay_filter(1000);
            let datagram = &sealed_by(&other, &security, 1)[0];
            for _ in 0..2 {
                let opened = one
                    .opener()
                    .open_once(&mut datagram.clone(), &mut filter)
                    .is_ok();
                assert!(opened, "{name}");
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_never_panics(
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            // Deriving the keys takes longer than the rest of the test.
            static OPENERS: LazyLock<Vec<Opener>> =
                LazyLock::new(|| ciphers("secret").map(|security| Opener::new(&security)).collect());
            for opener in &*OPENERS {
                prop_assert!(opener.open(&mut garbage.clone()).is_err());
            }
            let plain = Opener::new(&Security::Plaintext);
            prop_assert_eq!(plain.open(&mut garbage.clone()).map(|p| p.to_vec()), Ok(garbage));
        }
    }
}
