//! How often something may happen for each network that datagrams come from.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Time;

/// A rate and a burst for each source prefix: 24 bits of a v4 address, 64 of a v6 one, which is
/// what one user commonly has.
///
/// The table has a fixed size. Prefixes that share a place by chance share their rate; nobody can
/// choose to, since places follow from a secret.
#[derive(Debug)]
pub(in crate::net) struct RateLimit {
    /// For each place, the time up to which its rate is spent. Empty until used.
    spent_until: Vec<Time>,
    interval: Duration,
    tolerance: Duration,
    places: RandomState,
}

impl RateLimit {
    /// At most `per_second` in the long run, and `burst` at once; at least 1 each.
    pub(in crate::net) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            spent_until: Vec::new(),
            interval,
            tolerance: interval * burst.saturating_sub(1),
            places: RandomState::new(),
        }
    }

    /// Whether one more may happen for `source` now; if so, it counts.
    pub(in crate::net) fn allows(&mut self, source: IpAddr, now: Time) -> bool {
        self.spent_until.resize(PLACES, Time::ZERO);
        // Narrowing is the point: any bits of the hash will do.
        let place = self.places.hash_one(prefix(source)) as usize % PLACES;
        let from = self.spent_until[place].max(now);
        let allowed = from - now <= self.tolerance;
        if allowed {
            self.spent_until[place] = from + self.interval;
        }
        allowed
    }
}

/// The network of an address; v4 addresses in v6 form are v4's.
fn prefix(source: IpAddr) -> (bool, u64) {
    match source.to_canonical() {
        IpAddr::V4(ip) => (false, u64::from(ip.to_bits() >> 8)),
        // Narrowing is safe: 64 bits are left.
        IpAddr::V6(ip) => (true, (ip.to_bits() >> 64) as u64),
    }
}

/// 32 KiB. A flood from very many networks fills all places whatever their number; then nobody
/// has an advantage, and what comes for the first time must prove its address.
const PLACES: usize = 4096;

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
        // By chance some of them share a place: one on average, and 20 once in 10^18 runs.
        assert!(others.count() > 80);

        let mut v6 = RateLimit::new(1, 1);
        assert!(v6.allows(ip("2001:db8::1"), now));
        assert!(!v6.allows(ip("2001:db8::ffff:1"), now));
        let others = (1..=100)
            .filter(|&net| v6.allows(IpAddr::from([0x2001, 0xdb8, 0, net, 0, 0, 0, 1]), now));
        assert!(others.count() > 80);
    }
}
