//! One direction of a link, without a clock.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use super::loss::Losses;
use super::random::Random;
use super::spec::{Direction, LossAt};

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that entered the link.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
    /// Packets lost at random or in an outage.
    pub lost: u64,
    /// Packets dropped because the queue was full.
    pub queue_drops: u64,
    /// Packets delivered.
    pub delivered: u64,
    /// Total time that the delivered packets spent in the link.
    pub transit: Duration,
}

impl Counters {
    /// The difference to `earlier` counters.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets - earlier.packets,
            bytes: self.bytes - earlier.bytes,
            lost: self.lost - earlier.lost,
            queue_drops: self.queue_drops - earlier.queue_drops,
            delivered: self.delivered - earlier.delivered,
            transit: self.transit.saturating_sub(earlier.transit),
        }
    }

    /// Mean time in the link; `None` if nothing was delivered.
    pub fn mean_transit(&self) -> Option<Duration> {
        (self.delivered > 0).then(|| self.transit.div_f64(self.delivered as f64))
    }
}

/// One direction of a link. Times count from the start of the link.
#[derive(Debug)]
pub(crate) struct Pipe {
    spec: Direction,
    losses: Losses,
    /// Number of packets of each flow, if `lose_nth` is set.
    flows: HashMap<[u8; FLOW_LEN], u32>,
    reordering: Random,
    duplicating: Random,
    jitter: Random,
    /// Departure times of the packets in the queue. The wire is free after the last.
    departures: VecDeque<Duration>,
    busy_until: Duration,
    latest: Duration,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    order: u64,
    dead_until: Duration,
    counters: Counters,
}

/// Ordered by delivery time, then by arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    delivery: Duration,
    order: u64,
    arrival: Duration,
    packet: Vec<u8>,
}

impl Pipe {
    /// A direction whose faults are determined by `seed`.
    pub(crate) fn new(spec: Direction, seed: u64) -> Self {
        let mut seeds = Random::new(seed);
        Self {
            losses: Losses::new(&spec, seeds.next()),
            flows: HashMap::new(),
            reordering: Random::new(seeds.next()),
            duplicating: Random::new(seeds.next()),
            jitter: Random::new(seeds.next()),
            spec,
            departures: VecDeque::new(),
            busy_until: Duration::ZERO,
            latest: Duration::ZERO,
            in_flight: BinaryHeap::new(),
            order: 0,
            dead_until: Duration::ZERO,
            counters: Counters::default(),
        }
    }

    /// Loses all packets that enter before `until`. Packets already in flight are delivered.
    pub(crate) fn cut_until(&mut self, until: Duration) {
        self.dead_until = until;
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes an IP packet that enters the link at `now`.
    pub(crate) fn push(&mut self, now: Duration, packet: &[u8]) {
        self.counters.packets += 1;
        self.counters.bytes += packet.len() as u64;
        // All faults are drawn for every packet, so that one fault does not affect the sequence of another.
        let chosen = self.losses.is_lost(now) | self.is_nth(packet);
        let lost = chosen || now < self.dead_until;
        let reordered = self.reordering.chance(self.spec.reorder);
        let late_by = self.reordering.up_to(self.spec.reorder_by);
        let copies = 1 + u32::from(self.duplicating.chance(self.spec.duplicate));
        let jitter = self.jitter.up_to(self.spec.jitter);
        if lost && self.spec.loss_at == LossAt::Before {
            self.counters.lost += 1;
            return;
        }
        let Some(departure) = self.departure(now, packet.len()) else {
            self.counters.queue_drops += 1;
            return;
        };
        if lost {
            self.counters.lost += 1;
            return;
        }
        let mut delivery = departure + self.spec.delay + jitter;
        if reordered {
            delivery += late_by;
        } else {
            // Jitter changes the gaps between packets, like a queue elsewhere, but not their order.
            self.latest = self.latest.max(delivery);
            delivery = self.latest;
        }
        for _ in 0..copies {
            self.order += 1;
            self.in_flight.push(Reverse(InFlight {
                delivery,
                order: self.order,
                arrival: now,
                packet: packet.to_vec(),
            }));
        }
    }

    /// Whether the packet is the one of its flow that `lose_nth` selects.
    fn is_nth(&mut self, packet: &[u8]) -> bool {
        if self.spec.lose_nth == 0 {
            return false;
        }
        let Some(flow) = packet.get(FLOW_AT..).and_then(<[u8]>::first_chunk) else {
            return false;
        };
        let count = self.flows.entry(*flow).or_default();
        *count += 1;
        *count == self.spec.lose_nth
    }

    /// The time at which a packet that arrives now has left the queue; `None` if the queue is full.
    fn departure(&mut self, now: Duration, len: usize) -> Option<Duration> {
        while self.departures.front().is_some_and(|left| *left <= now) {
            self.departures.pop_front();
        }
        // One packet is on the wire, the others wait.
        if self.departures.len() > self.spec.queue {
            return None;
        }
        let bits = len as u64 * 8;
        let on_wire = Duration::from_nanos(bits * 1_000_000_000 / self.spec.rate);
        self.busy_until = self.busy_until.max(now) + on_wire;
        self.departures.push_back(self.busy_until);
        Some(self.busy_until)
    }

    /// The time of the next delivery.
    pub(crate) fn next_delivery(&self) -> Option<Duration> {
        self.in_flight.peek().map(|Reverse(next)| next.delivery)
    }

    /// Returns a packet that is due.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.next_delivery()? > now {
            return None;
        }
        let Reverse(due) = self.in_flight.pop()?;
        self.counters.delivered += 1;
        self.counters.transit += due.delivery - due.arrival;
        Some(due.packet)
    }
}

/// Offset of the addresses and ports in an IPv4 packet without options.
const FLOW_AT: usize = 12;
/// Length of the addresses and ports, in bytes.
const FLOW_LEN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Sends numbered packets of 1500 bytes, one every `gap`. Returns the delivery time of each.
    fn run(spec: Direction, packets: u16, gap: Duration) -> (Vec<(Duration, u16)>, Counters) {
        let mut pipe = Pipe::new(spec, 3);
        for index in 0..packets {
            let mut packet = [0; 1500];
            packet[..2].copy_from_slice(&index.to_le_bytes());
            pipe.push(gap * u32::from(index), &packet);
        }
        let mut out = Vec::new();
        while let Some(at) = pipe.next_delivery() {
            let packet = pipe.pop(at).expect("is due");
            out.push((at, u16::from_le_bytes([packet[0], packet[1]])));
        }
        (out, pipe.counters())
    }

    fn order(out: &[(Duration, u16)]) -> Vec<u16> {
        out.iter().map(|(_, index)| *index).collect()
    }

    #[test]
    fn packets_leave_at_the_rate_and_arrive_after_the_delay() {
        let spec = Direction {
            rate: 12_000_000,
            queue: 100,
            ..Direction::default()
        };
        let (out, counters) = run(spec, 50, Duration::ZERO);
        // 1500 bytes at 12 Mbit/s are 1 ms each.
        let expected: Vec<_> = (0..50).map(|n| (ms(26 + u64::from(n)), n)).collect();
        assert_eq!(out, expected);
        assert_eq!((counters.bytes, counters.queue_drops), (75_000, 0));
        assert_eq!(counters.mean_transit(), Some(ms(26) + ms(49) / 2));
    }

    #[test]
    fn full_queue_drops_the_newest() {
        let spec = Direction {
            rate: 12_000_000,
            queue: 25,
            ..Direction::default()
        };
        let (out, counters) = run(spec.clone(), 40, Duration::ZERO);
        // One packet is on the wire, 25 wait.
        assert_eq!(order(&out), (0..26).collect::<Vec<_>>());
        assert_eq!(counters.queue_drops, 14);
        let (out, _) = run(spec, 40, ms(1));
        assert_eq!(out.len(), 40);
    }

    #[test]
    fn only_loss_after_the_queue_uses_the_rate() {
        let spec = |loss_at| Direction {
            rate: 12_000_000,
            queue: 2000,
            loss: 0.5,
            loss_at,
            ..Direction::default()
        };
        let (before, counters) = run(spec(LossAt::Before), 1000, Duration::ZERO);
        let end = before.last().expect("some arrive").0;
        assert_eq!(end, ms(25 + before.len() as u64));
        assert_eq!(counters.lost, 1000 - before.len() as u64);
        let (after, _) = run(spec(LossAt::After), 1000, Duration::ZERO);
        assert_eq!(order(&after), order(&before), "the seed decides which");
        assert_eq!(after[0].0, ms(26 + u64::from(after[0].1)));
        assert!(after.last().expect("some arrive").0 > ms(1000));
    }

    #[test]
    fn jitter_keeps_the_order_and_reordering_does_not() {
        let jittered = Direction {
            jitter: ms(10),
            ..Direction::default()
        };
        let (out, _) = run(jittered, 500, ms(1));
        assert!(order(&out).is_sorted());
        let reordered = Direction {
            reorder: 0.1,
            ..Direction::default()
        };
        let (out, _) = run(reordered, 500, ms(1));
        let order = order(&out);
        assert_eq!(order.len(), 500);
        let overtaken = order.windows(2).filter(|two| two[0] > two[1]).count();
        assert!((20..80).contains(&overtaken), "{overtaken}");
        for (at, index) in out {
            let late = at - ms(u64::from(index)) - ms(25);
            assert!(late <= ms(6), "{index} late by {late:?}");
        }
    }

    #[test]
    fn duplicates_arrive_twice_and_count_once() {
        let spec = Direction {
            duplicate: 0.2,
            ..Direction::default()
        };
        let (out, counters) = run(spec, 1000, ms(1));
        assert!((1150..1250).contains(&out.len()), "{}", out.len());
        assert_eq!(counters.packets, 1000);
    }

    #[test]
    fn cut_link_loses_new_packets_and_delivers_those_in_flight() {
        let mut pipe = Pipe::new(Direction::default(), 1);
        pipe.push(ms(0), &[0; 100]);
        pipe.cut_until(ms(2000));
        pipe.push(ms(1), &[0; 100]);
        pipe.push(ms(1999), &[0; 100]);
        pipe.push(ms(2000), &[0; 100]);
        let mut delivered = 0;
        while pipe.pop(ms(9000)).is_some() {
            delivered += 1;
        }
        assert_eq!((delivered, pipe.counters().lost), (2, 2));
    }

    #[test]
    fn one_packet_of_each_flow_is_lost() {
        let spec = Direction {
            lose_nth: 2,
            ..Direction::default()
        };
        let mut pipe = Pipe::new(spec, 1);
        for port in [7, 8, 7, 7, 8] {
            let mut packet = [0; 40];
            packet[21] = port;
            pipe.push(ms(0), &packet);
        }
        let mut delivered = Vec::new();
        while let Some(packet) = pipe.pop(ms(1000)) {
            delivered.push(packet[21]);
        }
        assert_eq!(delivered, [7, 8, 7]);
        assert_eq!(pipe.counters().lost, 2);
    }

    #[test]
    fn packets_are_not_delivered_early() {
        let mut pipe = Pipe::new(Direction::default(), 1);
        pipe.push(ms(10), &[0; 125]);
        let due = ms(35) + Duration::from_micros(10);
        assert_eq!(pipe.next_delivery(), Some(due));
        assert_eq!(pipe.pop(due - Duration::from_nanos(1)), None);
        assert_eq!(pipe.pop(due).map(|packet| packet.len()), Some(125));
        assert_eq!(pipe.next_delivery(), None);
    }
}
