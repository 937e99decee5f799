//! One direction of a simulated path.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Rng;
use crate::time::Time;

/// The properties of a link. Probabilities are per datagram, 0 to 1, and independent.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Delay of every datagram. Default 20 ms.
    pub delay: Duration,
    /// Maximum additional random delay of each datagram. Default 0.
    pub jitter: Duration,
    /// Probability of loss. Default 0.
    pub loss: f64,
    /// Probability of duplication. Default 0.
    pub duplicate: f64,
    /// Probability of a delay up to four times as long, so that later datagrams overtake. Default
    /// 0.
    pub reorder: f64,
    /// Probability of a flipped bit or a truncated end. Default 0.
    pub corrupt: f64,
    /// Bytes per second, with a queue in front. Default unlimited.
    pub rate: Option<u64>,
    /// Capacity in datagrams of the queue in front of a limited link. Default 400.
    pub queue: usize,
    /// Longer datagrams are lost. Default none is too long.
    pub mtu: usize,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            corrupt: 0.0,
            rate: None,
            queue: 400,
            mtu: usize::MAX,
        }
    }
}

/// Counters of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Datagrams sent on the link.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lost at random, to a full queue or because of their length.
    pub lost: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Delayed so that others overtake.
    pub reordered: u64,
    /// Delivered with an error.
    pub corrupted: u64,
}

/// One direction of a path, which delays, duplicates, reorders, corrupts and loses datagrams.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    rng: Rng,
    under_way: BinaryHeap<Reverse<(Time, u64, Vec<u8>)>>,
    order: u64,
    busy_until: Time,
    cut: bool,
    stats: LinkStats,
}

impl Link {
    /// A link whose random decisions depend only on `seed`.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            config,
            rng: Rng::new(seed),
            under_way: BinaryHeap::new(),
            order: 0,
            busy_until: Time::ZERO,
            cut: false,
            stats: LinkStats::default(),
        }
    }

    /// Changes the properties of the link from now on.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Cuts or restores the link. Datagrams already on the link still arrive.
    pub fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// A copy of the counters.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Sends a datagram on the link.
    pub fn send(&mut self, now: Time, datagram: &[u8]) {
        self.stats.sent += 1;
        self.stats.bytes += datagram.len() as u64;
        let Some(departure) = self.departure(now, datagram.len()) else {
            self.stats.lost += 1;
            return;
        };
        if self.cut || datagram.len() > self.config.mtu || self.rng.chance(self.config.loss) {
            self.stats.lost += 1;
            return;
        }
        let copies = if self.rng.chance(self.config.duplicate) {
            2
        } else {
            1
        };
        self.stats.duplicated += copies - 1;
        for _ in 0..copies {
            let mut arrival = departure + self.config.delay + self.rng.duration(self.config.jitter);
            if self.rng.chance(self.config.reorder) {
                self.stats.reordered += 1;
                arrival += self.rng.duration(self.config.delay * 3);
            }
            let mut datagram = datagram.to_vec();
            if self.rng.chance(self.config.corrupt) {
                self.stats.corrupted += 1;
                self.damage(&mut datagram);
            }
            self.order += 1;
            self.under_way
                .push(Reverse((arrival, self.order, datagram)));
        }
    }

    /// When the datagram leaves the queue in front of the link; `None` if the queue is full.
    fn departure(&mut self, now: Time, len: usize) -> Option<Time> {
        let Some(rate) = self.config.rate else {
            return Some(now);
        };
        let time_of = |bytes: u64| Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        let start = self.busy_until.max(now);
        if start - now > time_of(self.config.queue as u64 * 1500) {
            return None;
        }
        self.busy_until = start + time_of(len as u64);
        Some(self.busy_until)
    }

    fn damage(&mut self, datagram: &mut Vec<u8>) {
        let len = datagram.len() as u64;
        if self.rng.chance(0.5) {
            datagram.truncate(self.rng.below(len) as usize);
        } else if len > 0 {
            let bit = self.rng.below(len * 8);
            datagram[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Time> {
        self.under_way
            .peek()
            .map(|Reverse((arrival, _, _))| *arrival)
    }

    /// Returns a datagram that has arrived.
    pub fn receive(&mut self, now: Time) -> Option<Vec<u8>> {
        if self.next_arrival()? > now {
            return None;
        }
        self.under_way
            .pop()
            .map(|Reverse((_, _, datagram))| datagram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(config: LinkConfig, seed: u64) -> Vec<(Time, Vec<u8>)> {
        let mut link = Link::new(config, seed);
        for index in 0..1000_u16 {
            link.send(Time::from_millis(index.into()), &index.to_le_bytes());
        }
        let mut arrived = Vec::new();
        while let Some(at) = link.next_arrival() {
            arrived.push((at, link.receive(at).expect("has arrived")));
        }
        arrived
    }

    #[test]
    fn same_seed_gives_the_same_run() {
        let config = LinkConfig {
            loss: 0.2,
            duplicate: 0.1,
            reorder: 0.2,
            corrupt: 0.1,
            jitter: Duration::from_millis(3),
            ..LinkConfig::default()
        };
        assert_eq!(arrivals(config.clone(), 1), arrivals(config.clone(), 1));
        assert_ne!(arrivals(config.clone(), 1), arrivals(config, 2));
    }

    #[test]
    fn limited_rate_spreads_datagrams_and_drops_beyond_the_queue() {
        let config = LinkConfig {
            delay: Duration::ZERO,
            rate: Some(1_500_000),
            queue: 10,
            ..LinkConfig::default()
        };
        let mut link = Link::new(config, 1);
        for _ in 0..100 {
            link.send(Time::ZERO, &[0; 1500]);
        }
        assert_eq!(link.next_arrival(), Some(Time::from_millis(1)));
        assert_eq!(link.stats().lost, 89);
    }
}
