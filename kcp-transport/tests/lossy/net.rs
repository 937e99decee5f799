//! Sessions joined by one bottleneck in each direction, in virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::crypto::Overhead;
use kcp_transport::packet::TransmitBatch;
use kcp_transport::session::{Role, Session};
use kcp_transport::testing::Rng;
use kcp_transport::time::Time;
use kcp_transport::wire::ConversationId;

/// What a path does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) rtt: Duration,
    /// Bits a second.
    pub(crate) rate: u64,
    /// Datagrams that wait for the rate.
    pub(crate) queue: usize,
    /// The part of datagrams that is lost, before the queue.
    pub(crate) loss: f64,
    pub(crate) burst: Burst,
    /// The part of datagrams that is overtaken by what is sent in the next milliseconds.
    pub(crate) reorder: f64,
    /// Further time of each datagram, at most.
    pub(crate) jitter: Duration,
    /// How clients and servers stand still meanwhile.
    pub(crate) stalls: [Stalls; 2],
}

/// An end stands still now and then, as programs on busy hosts do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stalls {
    /// The longest stall; they are half as long on average.
    pub(crate) most: Duration,
    /// The average time between two.
    pub(crate) apart: Duration,
}

impl Stalls {
    pub(crate) const NONE: Self = Self::new(0, 0);

    pub(crate) const fn new(most_ms: u64, apart_ms: u64) -> Self {
        Self {
            most: Duration::from_millis(most_ms),
            apart: Duration::from_millis(apart_ms),
        }
    }
}

/// What is lost together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Burst {
    Alone,
    Datagrams(u32),
    Time(Duration),
}

impl Path {
    pub(crate) const fn new(rtt_ms: u64, mbit: u64, queue: usize) -> Self {
        Self {
            rtt: Duration::from_millis(rtt_ms),
            rate: mbit * 1_000_000,
            queue,
            loss: 0.0,
            burst: Burst::Alone,
            reorder: 0.0,
            jitter: Duration::ZERO,
            stalls: [Stalls::NONE; 2],
        }
    }

    pub(crate) const fn losing(self, loss: f64) -> Self {
        Self { loss, ..self }
    }
}

/// Arrival, order of sending, destination and bytes of a datagram.
type Flying = (Time, u64, usize, Vec<u8>);

/// One direction.
#[derive(Debug)]
pub(crate) struct Bottleneck {
    path: Path,
    rng: Rng,
    /// When what waits has left.
    waiting: VecDeque<Time>,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    left: u32,
    until: Time,
    pub(crate) cut: bool,
    /// Bytes put on it, IP headers included, and datagrams it had no room for.
    pub(crate) bytes: u64,
    pub(crate) datagrams: u64,
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
}

impl Bottleneck {
    fn new(path: Path, seed: u64) -> Self {
        Self {
            path,
            rng: Rng::new(seed),
            waiting: VecDeque::new(),
            flying: BinaryHeap::new(),
            order: 0,
            left: 0,
            until: Time::ZERO,
            cut: false,
            bytes: 0,
            datagrams: 0,
            dropped: 0,
            lost: 0,
        }
    }

    fn is_lost(&mut self, now: Time) -> bool {
        let loss = self.path.loss;
        if self.cut {
            return true;
        }
        match self.path.burst {
            Burst::Alone => self.rng.chance(loss),
            Burst::Datagrams(len) => {
                if self.left == 0 && self.rng.chance(loss / f64::from(len)) {
                    self.left = len;
                }
                let lost = self.left > 0;
                self.left = self.left.saturating_sub(1);
                lost
            }
            Burst::Time(len) => {
                // Bursts begin at random; the time between them gives the rate.
                while now >= self.until + len {
                    let mean = len.as_secs_f64() * (1.0 - loss) / loss.max(1e-9);
                    let gap = -mean * (1.0 - self.rng.below(1 << 53) as f64 / 2_f64.powi(53)).ln();
                    self.until = self.until + len + Duration::from_secs_f64(gap.min(1e6));
                }
                now >= self.until
            }
        }
    }

    fn send(&mut self, now: Time, to: usize, datagram: &[u8], overhead: usize) {
        let len = (datagram.len() + overhead + IP_AND_UDP) as u64;
        self.bytes += len;
        self.datagrams += 1;
        if self.is_lost(now) {
            self.lost += 1;
            return;
        }
        while self.waiting.front().is_some_and(|at| *at <= now) {
            self.waiting.pop_front();
        }
        if self.waiting.len() >= self.path.queue {
            self.dropped += 1;
            return;
        }
        let start = self.waiting.back().copied().unwrap_or(now).max(now);
        let micros = (len * 8 * 1_000_000).div_ceil(self.path.rate);
        let departure = start + Duration::from_micros(micros);
        self.waiting.push_back(departure);
        let mut arrival = departure + self.path.rtt / 2 + self.rng.duration(self.path.jitter);
        if self.rng.chance(self.path.reorder) {
            arrival += Duration::from_millis(5);
        }
        self.order += 1;
        let flying = (arrival, self.order, to, datagram.to_vec());
        self.flying.push(Reverse(flying));
    }

    fn next(&self) -> Option<Time> {
        self.flying.peek().map(|Reverse(it)| it.0)
    }

    fn receive(&mut self, now: Time) -> Option<(usize, Vec<u8>)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, _, to, datagram)) = self.flying.pop()?;
        Some((to, datagram))
    }
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    batch: TransmitBatch,
    /// Is given the time at the next full millisecond, as timers of the driver are.
    wake: Option<Time>,
    stalls: Stalls,
    rng: Rng,
    /// Begin and end of a stall.
    stall: [Time; 2],
    /// What arrived in it.
    inbox: Vec<Vec<u8>>,
}

impl End {
    /// When the end does what is to be done now.
    fn ready(&mut self, now: Time) -> Time {
        if self.stalls.most.is_zero() {
            return now;
        }
        while now >= self.stall[1] {
            let begin = self.stall[1] + self.rng.duration(2 * self.stalls.apart);
            self.stall = [begin, begin + self.rng.duration(self.stalls.most)];
        }
        if now < self.stall[0] {
            now
        } else {
            self.stall[1]
        }
    }

    /// Wakes up when the stall ends, if there is one now.
    fn is_stalled(&mut self, now: Time) -> bool {
        let ready = self.ready(now);
        if ready > now {
            self.wake = Some(ready);
        }
        ready > now
    }
}

/// Connections over one path.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) now: Time,
    /// Ends with even numbers are clients, each followed by its server.
    pub(crate) ends: Vec<End>,
    pub(crate) links: [Bottleneck; 2],
    overhead: usize,
}

impl Net {
    pub(crate) fn new(path: Path, pairs: usize, configs: [&Config; 2], seed: u64) -> Self {
        Self::with_configs(path, &vec![configs; pairs], seed)
    }

    /// A connection for each client, each to a server of the default configuration.
    pub(crate) fn with_clients(path: Path, clients: &[&Config], seed: u64) -> Self {
        let server = Config::default();
        let pairs: Vec<_> = clients.iter().map(|client| [*client, &server]).collect();
        Self::with_configs(path, &pairs, seed)
    }

    fn with_configs(path: Path, pairs: &[[&Config; 2]], seed: u64) -> Self {
        // As AES-GCM has it.
        let overhead = Overhead {
            front: 12,
            back: 16,
        };
        let mut rng = Rng::new(seed);
        let mut ends = Vec::new();
        for (pair, configs) in pairs.iter().enumerate() {
            let sides = [Role::Connect, Role::Accept].into_iter().zip(path.stalls);
            for (config, (role, stalls)) in configs.iter().zip(sides) {
                let layout = config.layout(overhead).expect("room for data");
                let id = ConversationId::new(pair as u32 + 1);
                let secret = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
                ends.push(End {
                    session: Session::new(config, layout, id, role, secret, Time::ZERO),
                    batch: TransmitBatch::new(layout, 46),
                    wake: None,
                    stalls,
                    rng: Rng::new(secret as u64),
                    stall: [Time::ZERO; 2],
                    inbox: Vec::new(),
                });
            }
        }
        let mut link = || Bottleneck::new(path, rng.next_u64());
        Self {
            now: Time::ZERO,
            ends,
            links: [link(), link()],
            overhead: overhead.front + overhead.back,
        }
    }

    /// Sends what is due at one end.
    pub(crate) fn flush(&mut self, index: usize) {
        let (now, end) = (self.now, &mut self.ends[index]);
        while end.session.poll_transmit(now, &mut end.batch) {
            for datagram in end.batch.datagrams() {
                // Without a cipher its part is empty, and still counts.
                let datagram = &datagram[12..datagram.len() - 16];
                self.links[index % 2].send(now, index ^ 1, datagram, self.overhead);
            }
            end.batch.clear();
        }
        let at = end.session.poll_timeout();
        end.wake = at.map(|at| Time::from_millis(at.as_micros().div_ceil(1000)).max(now));
    }

    /// Lets the next thing happen, no later than `limit`; returns the ends that it happened to.
    pub(crate) fn step(&mut self, limit: Time) -> Vec<usize> {
        let wakes = self.ends.iter().filter_map(|end| end.wake);
        let arrivals = self.links.iter().filter_map(Bottleneck::next);
        let next = wakes.chain(arrivals).min().unwrap_or(limit);
        self.now = next.max(self.now).min(limit);
        let mut touched = Vec::new();
        for link in 0..2 {
            while let Some((to, datagram)) = self.links[link].receive(self.now) {
                let end = &mut self.ends[to];
                if end.is_stalled(self.now) {
                    end.inbox.push(datagram);
                } else {
                    end.session.handle_datagram(self.now, &datagram);
                    touched.push(to);
                }
            }
        }
        for (index, end) in self.ends.iter_mut().enumerate() {
            let is_due = end.wake.is_some_and(|at| at <= self.now);
            if is_due && !end.is_stalled(self.now) {
                for datagram in std::mem::take(&mut end.inbox) {
                    end.session.handle_datagram(self.now, &datagram);
                }
                end.session.handle_timeout(self.now);
                touched.push(index);
                end.wake = None;
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Connects all.
    pub(crate) fn connect(&mut self) {
        let limit = self.now + Duration::from_secs(20);
        for index in 0..self.ends.len() {
            self.flush(index);
        }
        let connecting = kcp_transport::session::State::Connecting;
        while self.ends.iter().any(|it| it.session.state() == connecting) {
            assert!(self.now < limit, "does not connect");
            for index in self.step(limit) {
                self.flush(index);
            }
        }
    }
}

const IP_AND_UDP: usize = 28;
