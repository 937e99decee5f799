//! The way in: from the socket through the cipher to the sessions.

use std::io;
use std::time::Duration;

use crate::error::OpenError;
use crate::net::connection::Handle;
use crate::net::endpoint::{Endpoint, SessionKey};
use crate::net::io::{Path, ReceiveBuffers};
use crate::session::{Destination, Unsolicited, path_response};
use crate::stats::EndpointStats;
use crate::time::Time;
use crate::wire::{ConversationId, Frame, FrameWriter, MAX_EXTENSION_LEN, SegmentHeader};

use super::accept_queue::AcceptState;
use super::admission::{Admission, UnmatchedDatagram, Verdict};
use super::demux::TimeWaitEntry;
use super::registry::Registry;
use super::sessions::{Initiator, Sessions};

/// Receives, opens and routes datagrams. Its memory is reused from batch to batch.
#[derive(Debug)]
pub(in crate::net) struct Ingress {
    buffers: ReceiveBuffers,
    admission: Admission,
    /// Payloads of the buffer at hand.
    routed: Vec<Routed>,
    last_received: Time,
    /// Calls that failed since the last that did not.
    failures: u32,
    /// Until when receiving is not worth a call.
    paused_until: Option<Time>,
    pub(in crate::net) stats: EndpointStats,
}

/// One opened payload, as a place in the receive buffer, and the session it is for.
#[derive(Clone, Copy, Debug)]
struct Routed {
    slot: usize,
    start: usize,
    end: usize,
}

impl Ingress {
    pub(in crate::net) fn new(endpoint: &Endpoint, now: Time, receive_slots: usize) -> Self {
        Self {
            buffers: ReceiveBuffers::new(receive_slots),
            admission: Admission::new(&endpoint.config),
            routed: Vec::new(),
            last_received: now,
            failures: 0,
            paused_until: None,
            stats: EndpointStats::default(),
        }
    }

    /// Receives one batch and gives each session its part; those that got some become dirty.
    pub(in crate::net) fn receive(
        &mut self,
        registry: &Registry,
        sessions: &mut Sessions,
        dirty: &mut Vec<SessionKey>,
    ) -> io::Result<()> {
        let endpoint = &registry.endpoint;
        let count = self.buffers.receive(endpoint.transport())?;
        let now = endpoint.clock.now();
        self.last_received = now;
        self.failures = 0;
        for index in 0..count {
            let (bytes, received) = self.buffers.get_mut(index);
            let mut router = Router {
                registry,
                sessions,
                admission: &mut self.admission,
                stats: &mut self.stats,
                now,
                path: received.path,
                previous: None,
            };
            router.route_all(bytes, received.stride, &mut self.routed);
            deliver(now, bytes, &self.routed, sessions, dirty);
        }
        Ok(())
    }

    /// Gives a session what came for it at another socket.
    pub(in crate::net) fn deliver_forwarded(
        now: Time,
        (path, payload): (Path, Vec<u8>),
        sessions: &mut Sessions,
        dirty: &mut Vec<SessionKey>,
    ) {
        // It may have ended meanwhile; then it is as good as lost.
        let destination = Destination::of(&payload);
        if let Some(slot) = sessions.find(path, destination) {
            if destination != Destination::Parity {
                sessions.note_active(path, slot);
            }
            let whole = [Routed {
                slot,
                start: 0,
                end: payload.len(),
            }];
            deliver(now, &payload, &whole, sessions, dirty);
        }
    }

    /// Notes that receiving failed. After a few times it pauses, each time for longer: an error may
    /// stay for as long as the socket lives.
    pub(in crate::net) fn on_failure(&mut self, now: Time) {
        self.failures += 1;
        if let Some(excess) = self.failures.checked_sub(FAILURES_BEFORE_PAUSE) {
            let pause = SHORTEST_PAUSE * (1 << excess.min(6));
            self.paused_until = Some(now + pause.min(LONGEST_PAUSE));
        }
    }

    /// Whether receiving pauses; ends the pause when its time has come.
    pub(in crate::net) fn is_paused(&mut self, now: Time) -> bool {
        self.paused_until = self.paused_until.filter(|&until| until > now);
        self.paused_until.is_some()
    }

    /// When [`Ingress::is_paused`] must be asked again.
    pub(in crate::net) fn paused_until(&self) -> Option<Time> {
        self.paused_until
    }

    /// Gives memory back after a silence.
    pub(in crate::net) fn release(&mut self, now: Time) -> bool {
        let silent = now - self.last_received >= RELEASE_AFTER;
        if silent {
            self.buffers.release();
        }
        silent
    }
}

/// Finds the sessions of datagrams that came from one path.
struct Router<'a> {
    registry: &'a Registry,
    sessions: &'a mut Sessions,
    admission: &'a mut Admission,
    stats: &'a mut EndpointStats,
    now: Time,
    path: Path,
    previous: Option<(Destination, usize)>,
}

impl Router<'_> {
    /// Opens every datagram where it lies, and notes those that have a session.
    fn route_all(&mut self, bytes: &mut [u8], stride: usize, routed: &mut Vec<Routed>) {
        let endpoint = &self.registry.endpoint;
        let front = endpoint.layout.overhead().front;
        self.stats.wire_bytes_received += bytes.len() as u64;
        routed.clear();
        let mut start = 0;
        for datagram in bytes.chunks_mut(stride.max(1)) {
            let next = start + datagram.len();
            self.stats.datagrams_received += 1;
            let replay_filter = &endpoint.replay_filter;
            let opened = endpoint
                .opener
                .open_fresh(datagram, |nonce| replay_filter.accept(nonce));
            match opened {
                Ok(payload) => {
                    if let Some(slot) = self.route(payload) {
                        let start = start + front;
                        let end = start + payload.len();
                        routed.push(Routed { slot, start, end });
                    }
                }
                Err(OpenError::TooShort) => self.stats.too_short += 1,
                Err(OpenError::Reflected) => self.stats.reflected += 1,
                Err(OpenError::Replayed) => self.stats.replayed += 1,
                Err(_) => self.stats.unauthentic += 1,
            }
            start = next;
        }
    }

    /// Finds the session of a payload, or opens one for it.
    fn route(&mut self, payload: &[u8]) -> Option<usize> {
        let destination = Destination::of(payload);
        // Most runs are for one session.
        if let Some((same, slot)) = self.previous
            && same == destination
        {
            return Some(slot);
        }
        let slot = match self.sessions.find(self.path, destination) {
            Some(slot) => slot,
            None => self.admit(destination, payload)?,
        };
        if destination != Destination::Parity {
            self.sessions.note_active(self.path, slot);
        }
        self.previous = Some((destination, slot));
        Some(slot)
    }

    /// Opens a session for a payload that belongs to none, if it may.
    fn admit(&mut self, destination: Destination, payload: &[u8]) -> Option<usize> {
        let conversation = match destination {
            Destination::Conversation(conversation) => conversation,
            Destination::Parity => {
                let group = self.registry.group.as_ref();
                match group.and_then(|(group, it)| group.owner_of_parity(self.path.peer, *it)) {
                    Some(owner) => self.forward(&owner, payload),
                    None => self.stats.stray += 1,
                }
                return None;
            }
            Destination::Malformed => {
                self.stats.malformed += 1;
                return None;
            }
        };
        let datagram = UnmatchedDatagram {
            now: self.now,
            peer: self.path.peer,
            conversation,
            stranger: Unsolicited::of(payload),
        };
        if let Some((group, shard)) = &self.registry.group
            && let Some(owner) = group.owner(self.path.peer, conversation, *shard)
        {
            self.forward(&owner, payload);
            // So is parity that follows.
            self.sessions.note_elsewhere(self.path);
            self.previous = None;
            return None;
        }
        let time_wait = self.sessions.time_wait(self.path, conversation, self.now);
        let verdict = match time_wait {
            _ if self.may_have_migrated(datagram, time_wait) => {
                match self.migrate(datagram, payload) {
                    true => return None,
                    false => self.admission.challenge_path(datagram, self.stats),
                }
            }
            Some(time_wait) => self
                .admission
                .on_closed_conversation(datagram, time_wait, self.stats),
            None => {
                let accepting = self.accept_state();
                let unvalidated = self.sessions.unvalidated();
                self.admission
                    .admit(datagram, accepting, unvalidated, self.stats)
            }
        };
        match verdict {
            Verdict::Open { validated: false } => self.open(conversation, Initiator::Peer),
            Verdict::Open { validated: true } => self.open(conversation, Initiator::ValidatedPeer),
            Verdict::Reply(header) => {
                self.registry.endpoint.reply(self.path, &header, &[]);
                None
            }
            Verdict::Challenge(header, data) => {
                let mut frames = FrameWriter::new(MAX_EXTENSION_LEN);
                frames.push(&Frame::PathChallenge(data));
                let header = SegmentHeader {
                    // Some dozens of bytes.
                    payload_len: frames.payload().len() as u32,
                    ..header
                };
                let endpoint = &self.registry.endpoint;
                endpoint.reply(self.path, &header, frames.payload());
                None
            }
            Verdict::Ignore => None,
        }
    }

    /// Whether peers may open one more session.
    fn accept_state(&self) -> AcceptState {
        let budget = self.registry.endpoint.budget.as_ref();
        match self.registry.accept_queue.admits() {
            AcceptState::Open if budget.is_some_and(|it| it.is_spent()) => AcceptState::Spent,
            state => state,
        }
    }

    fn forward(&mut self, owner: &Endpoint, payload: &[u8]) {
        let taken = owner.mailbox.forward(self.path, payload);
        self.stats.forwarded += u64::from(taken);
        self.stats.forwards_dropped += u64::from(!taken);
    }

    /// Whether a payload without a session may be that of one whose peer has moved.
    ///
    /// What looks like a beginning is taken for one, and so is the answer to a question about one:
    /// the name may be used by others too. But where a session has left a short while ago, its peer
    /// may be back with the first packet unanswered.
    fn may_have_migrated(
        &self,
        datagram: UnmatchedDatagram,
        time_wait: Option<TimeWaitEntry>,
    ) -> bool {
        let migration = self.registry.migration.as_ref();
        let has_left = matches!(time_wait, Some(TimeWaitEntry::Moved(_)));
        (datagram.stranger != Unsolicited::Opening || has_left)
            && !self.admission.is_address_response(datagram)
            && migration.is_some_and(|migration| migration.may_move(datagram.conversation))
    }

    /// Has the session moved whose peer answers a challenge from here. Returns whether there is one.
    fn migrate(&mut self, datagram: UnmatchedDatagram, payload: &[u8]) -> bool {
        let Some((tag, data)) = path_response(payload) else {
            return false;
        };
        let migration = self.registry.migration.as_ref();
        let session = migration.and_then(|migration| migration.find(datagram.conversation, tag));
        let Some(connection) = session.filter(|_| self.admission.is_path_response(datagram, data))
        else {
            return false;
        };
        let mailbox = &connection.endpoint.mailbox;
        mailbox.relocate(connection.key, self.path);
        true
    }

    fn open(&mut self, conversation: ConversationId, initiator: Initiator) -> Option<usize> {
        let connection = self
            .sessions
            .open(self.registry, self.now, self.path, conversation, initiator)
            .ok()?;
        tracing::debug!(peer = %self.path.peer, %conversation, "session opened");
        let slot = connection.key.slot;
        if let Err(unwanted) = self.registry.accept_queue.offer(connection) {
            // Nobody will read what it receives.
            drop(Handle(unwanted));
        }
        Some(slot)
    }
}

/// Gives each session its runs of payloads, each under one lock.
fn deliver(
    now: Time,
    bytes: &[u8],
    routed: &[Routed],
    sessions: &mut Sessions,
    dirty: &mut Vec<SessionKey>,
) {
    for run in routed.chunk_by(|a, b| a.slot == b.slot) {
        let slot = run[0].slot;
        let Some(connection) = sessions.at(slot) else {
            continue;
        };
        connection.deliver(now, run.iter().map(|place| &bytes[place.start..place.end]));
        dirty.push(connection.key);
        sessions.note_validation(slot);
    }
}

/// Failures that say something about one datagram at most. A refused port is told once for each
/// datagram that went there.
const FAILURES_BEFORE_PAUSE: u32 = 4;

/// The finest the runtime's timer can do.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Delay that a storm of errors adds to what comes between them; it costs 16 calls a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// Silence after which the memory for receiving is given back.
const RELEASE_AFTER: Duration = Duration::from_secs(1);
