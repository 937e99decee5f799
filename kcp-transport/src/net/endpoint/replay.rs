//! One replay filter for all sockets of a listener.
//!
//! An attacker that replays a packet chooses its source address, and so the socket that receives it.
//! A packet that one socket has accepted must be rejected by all others.

use std::sync::Mutex;

use crate::crypto::AEAD_NONCE_LEN;
use crate::net::sync::lock;
use crate::packet::{ReplayFilter, Sealer};

/// A replay filter shared by several drivers, in parts with a lock each.
///
/// The nonce of a packet selects its part, and the lock is held for one nonce only, so drivers
/// seldom contend. All parts together have the capacity of one filter.
#[derive(Debug)]
pub(in crate::net) struct SharedReplayFilter {
    parts: Vec<Mutex<ReplayFilter>>,
}

impl SharedReplayFilter {
    /// A filter for `capacity` random nonces, or runs of 64 counted ones, in a generation.
    pub(in crate::net) fn new(sealer: &Sealer, capacity: usize, drivers: usize) -> Self {
        let parts = if drivers > 1 { SHARED_PARTS } else { 1 };
        let capacity = capacity / parts;
        Self {
            parts: (0..parts)
                .map(|_| Mutex::new(sealer.replay_filter(capacity)))
                .collect(),
        }
    }

    /// Records the nonce of an authentic packet. Returns whether it is new.
    pub(in crate::net) fn accept(&self, nonce: &[u8; AEAD_NONCE_LEN]) -> bool {
        // Nonces are random. A holder of the key that chooses its nonces can fill one part, as it
        // could fill an undivided filter.
        let part = usize::from(nonce[0]) % self.parts.len();
        lock(&self.parts[part]).accept(nonce)
    }
}

/// With as many busy drivers, about one in ten contends for a lock. A power of two, so that the
/// tables of the parts are as full as that of one filter.
const SHARED_PARTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Security;
    use crate::net::endpoint::{Purpose, replay_capacity};

    const LISTENER: usize = replay_capacity(Purpose::Accept);

    fn nonce(random: u64) -> [u8; AEAD_NONCE_LEN] {
        let mut nonce = [0; AEAD_NONCE_LEN];
        let random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        nonce[..8].copy_from_slice(&random.to_be_bytes());
        nonce
    }

    #[test]
    fn shared_parts_take_each_nonce_once_and_remember_as_many_as_one_filter() {
        let sealer = Sealer::new(&Security::Plaintext, [1; 32]);
        for drivers in [1, 2, 64] {
            let replay_filter = SharedReplayFilter::new(&sealer, LISTENER, drivers);
            let fresh = (0..100_000).filter(|&it| replay_filter.accept(&nonce(it)));
            assert_eq!(fresh.count(), 100_000, "{drivers} drivers");
            let again = (0..100_000).filter(|&it| replay_filter.accept(&nonce(it)));
            assert_eq!(again.count(), 0, "{drivers} drivers");
        }
    }

    #[test]
    fn parts_have_no_more_room_than_the_whole() {
        let sealer = Sealer::new(&Security::Plaintext, [1; 32]);
        let replay_filter = SharedReplayFilter::new(&sealer, LISTENER, 2);
        assert!(replay_filter.parts.len() * (LISTENER / SHARED_PARTS) <= 114_000);
        // The largest number of entries that fit a table of 2^13 slots.
        const { assert!(LISTENER / SHARED_PARTS <= (1 << 13) / 8 * 7) };
    }
}
