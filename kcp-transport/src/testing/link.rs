//! One direction of a bad path.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::Rng;
use crate::time::Time;

/// How bad a link is. Probabilities are per datagram, 0 to 1, and independent.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// Time every datagram takes. Default 20 ms.
    pub delay: Duration,
    /// Further time, drawn anew for each datagram up to this. Default 0.
    pub jitter: Duration,
    /// Datagrams that vanish. Default 0.
    pub loss: f64,
    /// Datagrams that arrive twice. Default 0.
    pub duplicate: f64,
    /// Datagrams that take up to four times as long, so that later ones overtake. Default 0.
    pub reorder: f64,
    /// Datagrams that have a bit flipped or their end cut off. Default 0.
    pub corrupt: f64,
    /// Bytes a second, with a queue in front. Default unlimited.
    pub rate: Option<u64>,
    /// Datagrams the queue in front of a limited link holds. Default 400.
    pub queue: usize,
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
        }
    }
}

/// What became of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkStats {
    /// Handed to the link.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lost, to chance or to a full queue.
    pub lost: u64,
    /// Delivered twice.
    pub duplicated: u64,
    /// Delayed so that others overtake.
    pub reordered: u64,
    /// Delivered with an error.
    pub corrupted: u64,
}

/// One direction of a path: datagrams go in, and come out later, or twice, or never.
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
    /// A link whose luck depends on `seed` alone.
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

    /// Makes the link better or worse from now on.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Cuts the link, or mends it. What is under way arrives all the same.
    pub fn set_cut(&mut self, cut: bool) {
        self.cut = cut;
    }

    /// What became of the datagrams so far.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Puts a datagram on the link.
    pub fn send(&mut self, now: Time, datagram: &[u8]) {
        self.stats.sent += 1;
        self.stats.bytes += datagram.len() as u64;
        let Some(departure) = self.departure(now, datagram.len()) else {
            self.stats.lost += 1;
            return;
        };
        if self.cut || self.rng.chance(self.config.loss) {
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

    /// Takes out a datagram that has arrived.
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
