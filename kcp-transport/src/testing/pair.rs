//! Two sessions and the two links between them.

use std::time::Duration;

use super::{Link, LinkConfig, Rng};
use crate::config::Config;
use crate::crypto::Security;
use crate::error::ConnectionError;
use crate::packet::{Opener, ReplayFilter, Sealer, TransmitBatch};
use crate::session::{FirstNumbers, Role, Session, State};
use crate::time::Time;
use crate::wire::ConversationId;

/// The options of a simulated connection.
#[derive(Clone, Debug)]
pub struct PairConfig {
    /// Options of the connecting side.
    pub client: Config,
    /// Options of the accepting side.
    pub server: Config,
    /// Cipher of both sides.
    pub security: Security,
    /// Both directions of the path.
    pub link: LinkConfig,
    /// First sequence number of both directions.
    pub initial_sequence: u32,
    /// FEC groups of each side before their numbers wrap to 0; `None` begins at 0.
    pub fec_groups_left: Option<u32>,
    /// First timestamp of both sides; `None` is random.
    pub initial_timestamp: Option<u32>,
}

impl Default for PairConfig {
    fn default() -> Self {
        Self {
            client: Config::default(),
            server: Config::default(),
            security: Security::Plaintext,
            link: LinkConfig::default(),
            initial_sequence: 0,
            fec_groups_left: None,
            initial_timestamp: None,
        }
    }
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The connecting side.
    Client,
    /// The accepting side.
    Server,
}

/// A session with its cipher, and the link it sends on.
#[derive(Debug)]
pub struct Peer {
    /// The session under test.
    pub session: Session,
    /// The link to the other side.
    pub link: Link,
    sealer: Sealer,
    opener: Opener,
    filter: ReplayFilter,
    batch: TransmitBatch,
    refused: u64,
}

impl Peer {
    /// Datagrams that the cipher or the replay filter refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn transmit(&mut self, now: Time, trace: &mut Trace) {
        while self.session.poll_transmit(now, &mut self.batch) {
            if let Err(error) = self.sealer.seal(&mut self.batch) {
                self.session.abort(error.into());
            }
            for datagram in self.batch.datagrams() {
                trace.note(now, datagram);
                self.link.send(now, datagram);
            }
            self.batch.clear();
        }
    }

    fn receive(&mut self, now: Time, datagram: &mut [u8]) {
        match self.opener.open_once(datagram, &mut self.filter) {
            Ok(payload) => self.session.handle_datagram(now, payload),
            Err(_) => self.refused += 1,
        }
    }
}

/// A hash of everything sent, to compare runs.
#[derive(Debug)]
struct Trace(u64);

impl Trace {
    fn note(&mut self, now: Time, bytes: &[u8]) {
        // FNV-1a, a word at a time: fast, and different for different runs in practice.
        let mut mix = |word: u64| self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01b3);
        mix(now.as_micros());
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(u64::from_le_bytes(word));
        }
    }
}

/// Two sessions connected by two links.
#[derive(Debug)]
pub struct Pair {
    now: Time,
    /// The connecting side.
    pub client: Peer,
    /// The accepting side.
    pub server: Peer,
    trace: Trace,
}

impl Pair {
    /// A pair whose whole run depends only on `seed` and `config`.
    ///
    /// # Panics
    ///
    /// If an mtu has no room for data under the cipher.
    #[must_use]
    pub fn new(seed: u64, config: &PairConfig) -> Self {
        Self::with_securities(seed, config, [&config.security; 2])
    }

    /// As [`Pair::new`], with a cipher for each side, the client's first, instead of
    /// [`PairConfig::security`]. For keys that each side changes by itself.
    ///
    /// # Panics
    ///
    /// If an mtu has no room for data under the cipher.
    #[must_use]
    pub fn with_securities(seed: u64, config: &PairConfig, securities: [&Security; 2]) -> Self {
        let mut rng = Rng::new(seed);
        let conversation = ConversationId::new(rng.next_u32());
        let mut peer = |own: &Config, security: &Security, role| {
            let layout = own
                .layout(security.overhead())
                .expect("mtu has room for data");
            let mut seed = [0; 32];
            rng.fill(&mut seed);
            let drawn = rng.next_u32();
            let offset = config.initial_timestamp.unwrap_or(drawn);
            let sealer = Sealer::new(security, seed);
            Peer {
                session: Session::with_first_numbers(
                    own,
                    layout,
                    conversation,
                    role,
                    (u128::from(rng.next_u64()) << 64) | u128::from(offset),
                    FirstNumbers {
                        sequence: config.initial_sequence,
                        fec_groups_left: config.fec_groups_left,
                    },
                    Time::ZERO,
                ),
                link: Link::new(config.link.clone(), rng.next_u64()),
                opener: sealer.opener(),
                filter: sealer.replay_filter(REPLAY_CAPACITY),
                sealer,
                batch: TransmitBatch::new(layout, 32),
                refused: 0,
            }
        };
        Self {
            now: Time::ZERO,
            client: peer(&config.client, securities[0], Role::Connect),
            server: peer(&config.server, securities[1], Role::Accept),
            trace: Trace(0xcbf2_9ce4_8422_2325),
        }
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// A number that is equal for two runs only if both sent the same datagrams at the same times.
    #[must_use]
    pub fn trace(&self) -> u64 {
        self.trace.0
    }

    /// One of the two sides.
    pub fn peer(&mut self, side: Side) -> &mut Peer {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Sends what is due, advances time to the next event and processes it.
    ///
    /// Returns `false` without advancing time if there is no further event.
    pub fn step(&mut self) -> bool {
        self.settle();
        let next = [
            self.client.session.poll_timeout(),
            self.server.session.poll_timeout(),
            self.client.link.next_arrival(),
            self.server.link.next_arrival(),
        ];
        let Some(next) = next.into_iter().flatten().min() else {
            return false;
        };
        // A deadline at or before now that stays due would stop time forever.
        self.now = next.max(self.now + MIN_STEP);
        self.deliver();
        true
    }

    /// As [`Pair::step`], but advances time to `limit` at most.
    pub fn step_until(&mut self, limit: Time) -> bool {
        self.settle();
        let next = [
            self.client.session.poll_timeout(),
            self.server.session.poll_timeout(),
            self.client.link.next_arrival(),
            self.server.link.next_arrival(),
        ];
        let next = next.into_iter().flatten().min().unwrap_or(limit);
        self.now = next.max(self.now + MIN_STEP).min(limit.max(self.now));
        self.deliver();
        self.now < limit
    }

    fn settle(&mut self) {
        self.client.transmit(self.now, &mut self.trace);
        self.server.transmit(self.now, &mut self.trace);
    }

    fn deliver(&mut self) {
        while let Some(mut datagram) = self.client.link.receive(self.now) {
            self.server.receive(self.now, &mut datagram);
        }
        while let Some(mut datagram) = self.server.link.receive(self.now) {
            self.client.receive(self.now, &mut datagram);
        }
        self.client.session.handle_timeout(self.now);
        self.server.session.handle_timeout(self.now);
    }

    /// Suspends both hosts: time passes without any processing. Datagrams that arrive meanwhile are
    /// received after it.
    pub fn sleep(&mut self, time: Duration) {
        self.settle();
        self.now += time;
        self.deliver();
    }

    /// Runs for `time`.
    pub fn run_for(&mut self, time: Duration) {
        let limit = self.now + time;
        while self.step_until(limit) {}
        self.settle();
    }

    /// Steps until `done` returns true, for at most `time`. Returns whether it did.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let limit = self.now + time;
        loop {
            if done(self) {
                return true;
            }
            if self.now >= limit || !self.step() {
                return false;
            }
        }
    }

    /// Sends `data` from client to server and returns what the server read.
    ///
    /// # Errors
    ///
    /// The error of the side whose session ended before everything had arrived.
    pub fn transfer(&mut self, data: &[u8]) -> Result<Vec<u8>, ConnectionError> {
        let mut unsent = data;
        let mut received = Vec::new();
        while received.len() < data.len() {
            if matches!(self.client.session.state(), State::Established) {
                let taken = self.client.session.write(self.now, unsent);
                unsent = &unsent[taken..];
            }
            let moving = self.step();
            self.read_all(&mut received);
            for peer in [&self.client, &self.server] {
                if let State::Closed(error) = peer.session.state() {
                    return Err(error.unwrap_or(ConnectionError::EndpointClosed));
                }
            }
            assert!(
                moving || received.len() >= data.len(),
                "the sessions fell asleep over data"
            );
        }
        Ok(received)
    }

    fn read_all(&mut self, received: &mut Vec<u8>) {
        let mut buffer = [0; 4096];
        loop {
            match self.server.session.read(self.now, &mut buffer) {
                0 => return,
                read => received.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// Nonces that the replay filter remembers: more than are in transit.
const REPLAY_CAPACITY: usize = 10_000;

/// Minimum time between two steps.
const MIN_STEP: Duration = Duration::from_micros(1);
