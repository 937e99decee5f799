//! Rate limits for each network that datagrams come from.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Time;

/// A rate and a burst for each source prefix: 24 bits of a v4 address or 64 of a v6 address, which
/// is the usual allocation of one user.
///
/// The table has a fixed size. Prefixes that hash to the same slot share its rate. The slot depends
/// on a secret key, so an attacker cannot aim for a slot.
#[derive(Debug)]
pub(in crate::net) struct RateLimit {
    /// For each slot, the time up to which its rate is spent. Empty until used.
    spent_until: Vec<Time>,
    interval: Duration,
    tolerance: Duration,
    slots: RandomState,
}

impl RateLimit {
    /// At most `per_second` in the long run and `burst` at once, each at least 1.
    pub(in crate::net) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            spent_until: Vec::new(),
            interval,
            tolerance: interval * burst.saturating_sub(1),
            slots: RandomState::new(),
        }
    }

    /// Whether one more event of `source` is allowed now; if so, it is counted.
    pub(in crate::net) fn allows(&mut self, source: IpAddr, now: Time) -> bool {
        self.spent_until.resize(SLOTS, Time::ZERO);
        // Narrowing is intended: any bits of the hash will do.
        let slot = self.slots.hash_one(prefix(source)) as usize % SLOTS;
        let from = self.spent_until[slot].max(now);
        let allowed = from - now <= self.tolerance;
        if allowed {
            self.spent_until[slot] = from + self.interval;
        }
        allowed
    }
}

/// The prefix of an address; v4-mapped v6 addresses count as v4.
fn prefix(source: IpAddr) -> (bool, u64) {
    match source.to_canonical() {
        IpAddr::V4(ip) => (false, u64::from(ip.to_bits() >> 8)),
        // Narrowing is safe: 64 bits are left.
        IpAddr::V6(ip) => (true, (ip.to_bits() >> 64) as u64),
    }
}

/// 32 KiB. A flood from very many networks fills all slots, whatever their number. Then no network
/// has an advantage, and new peers must validate their addresses.
const SLOTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn burst_passes_at_once_and_then_the_rate() {
        let mut limit = RateLimit::new(100, 200);
        let mut now = Time::from_millis(5);
        let passed = (0..1000).filter(|_| limit.allows(ip("10.0.0.1"), now));
        assert_eq!(passed.count(), 200);
        let mut passed = 0;
        for _ in 0..10_000 {
            now += Duration::from_millis(1);
            passed += u32::from(limit.allows(ip("10.0.0.1"), now));
        }
        assert_eq!(passed, 1000);
    }

    #[test]
    fn networks_have_rates_of_their_own() {
        let now = Time::ZERO;
        let mut v4 = RateLimit::new(1, 1);
        assert!(v4.allows(ip("10.0.0.1"), now));
        assert!(!v4.allows(ip("10.0.0.255"), now));
        assert!(!v4.allows(ip("::ffff:10.0.0.7"), now));
        let others = (1..=100).filter(|&net| v4.allows(IpAddr::from([10, 0, net, 1]), now));
        // Some networks share a slot by chance: one on average, and 20 once in 10^18 runs.
        assert!(others.count() > 80);

        let mut v6 = RateLimit::new(1, 1);
        assert!(v6.allows(ip("2001:db8::1"), now));
        assert!(!v6.allows(ip("2001:db8::ffff:1"), now));
        let others = (1..=100)
            .filter(|&net| v6.allows(IpAddr::from([0x2001, 0xdb8, 0, net, 0, 0, 0, 1]), now));
        assert!(others.count() > 80);
    }
}
