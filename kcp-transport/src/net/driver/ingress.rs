//! The incoming path: from the socket through the cipher to the sessions.

use std::io;
use std::time::Duration;

use crate::error::{OpenError, ResetCode};
use crate::net::connection::Handle;
use crate::net::endpoint::{Endpoint, SessionKey};
use crate::net::io::{Path, ReceiveBuffers};
use crate::session::{Destination, Unsolicited, opening_token, path_response};
use crate::stats::EndpointStats;
use crate::time::Time;
use crate::wire::{ConversationId, Frame, FrameWriter, MAX_EXTENSION_LEN, SegmentHeader};

use super::accept_queue::AcceptState;
use super::admission::{Admission, UnmatchedDatagram, Verdict};
use super::demux::TimeWaitEntry;
use super::registry::Registry;
use super::sessions::{Initiator, Sessions};
use super::warning::UnauthenticWarning;

/// Receives, decrypts and routes datagrams. Its memory is reused from batch to batch.
#[derive(Debug)]
pub(in crate::net) struct Ingress {
    buffers: ReceiveBuffers,
    admission: Admission,
    unauthentic: UnauthenticWarning,
    /// The payloads of the current buffer.
    routed: Vec<Routed>,
    last_received: Time,
    /// Consecutive receive calls that failed.
    failures: u32,
    /// The end of the current pause.
    paused_until: Option<Time>,
    pub(in crate::net) stats: EndpointStats,
}

/// The range of one opened payload in the receive buffer, and the slot of its session.
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
            admission: Admission::new(&endpoint.listener, endpoint.config.receive_window()),
            unauthentic: UnauthenticWarning::default(),
            routed: Vec::new(),
            last_received: now,
            failures: 0,
            paused_until: None,
            stats: EndpointStats::default(),
        }
    }

    /// Receives one batch, delivers it to its sessions and adds those to `dirty`.
    pub(in crate::net) fn receive(
        &mut self,
        registry: &Registry,
        sessions: &mut Sessions,
        dirty: &mut Vec<SessionKey>,
    ) -> io::Result<()> {
        let endpoint = &registry.endpoint;
        let Self {
            buffers,
            admission,
            unauthentic,
            routed,
            stats,
            ..
        } = self;
        let mut arrived = None;
        buffers.receive(&*endpoint.transport(), |bytes, received| {
            let now = *arrived.get_or_insert_with(|| endpoint.clock.now());
            let mut router = Router {
                registry,
                sessions,
                admission,
                unauthentic,
                stats,
                now,
                path: received.path,
                previous: None,
            };
            router.route_all(bytes, received.stride, routed);
            deliver(now, bytes, routed, sessions, dirty);
        })?;
        if !buffers.is_held() {
            // What many connections keep of a single run adds up.
            *routed = Vec::new();
        }
        self.last_received = arrived.unwrap_or(self.last_received);
        self.failures = 0;
        Ok(())
    }

    /// Delivers a payload that another socket received.
    pub(in crate::net) fn deliver_forwarded(
        now: Time,
        (path, payload): (Path, Vec<u8>),
        sessions: &mut Sessions,
        dirty: &mut Vec<SessionKey>,
    ) {
        // The session may have ended meanwhile; the payload is dropped then.
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

    /// Records a failed receive call. After a few failures in a row receiving pauses, each time for
    /// longer: an error may last as long as the socket.
    pub(in crate::net) fn on_failure(&mut self, now: Time) {
        self.failures += 1;
        if let Some(excess) = self.failures.checked_sub(FAILURES_BEFORE_PAUSE) {
            let pause = SHORTEST_PAUSE * (1 << excess.min(6));
            self.paused_until = Some(now + pause.min(LONGEST_PAUSE));
        }
    }

    /// Whether receiving pauses; clears a pause that has ended.
    pub(in crate::net) fn is_paused(&mut self, now: Time) -> bool {
        self.paused_until = self.paused_until.filter(|&until| until > now);
        self.paused_until.is_some()
    }

    /// The end of the pause.
    pub(in crate::net) fn paused_until(&self) -> Option<Time> {
        self.paused_until
    }

    /// When memory is to be freed, if there is any to free.
    pub(in crate::net) fn release_at(&self, spare: bool) -> Option<Time> {
        let buffers = spare || self.buffers.is_held();
        let after = match (buffers, self.admission.holds_datagrams()) {
            (true, _) => RELEASE_AFTER,
            (false, true) => RELEASE_DATAGRAMS_AFTER,
            (false, false) => return None,
        };
        Some(self.last_received + after)
    }

    /// Frees the receive buffers after a period without datagrams. Returns whether it did.
    pub(in crate::net) fn release(&mut self, now: Time) -> bool {
        let silence = now - self.last_received;
        if silence >= RELEASE_AFTER {
            self.buffers.release();
            self.routed = Vec::new();
        }
        if silence >= RELEASE_DATAGRAMS_AFTER {
            self.admission.release();
        }
        silence >= RELEASE_AFTER
    }
}

/// Finds the sessions of the datagrams of one path.
struct Router<'a> {
    registry: &'a Registry,
    sessions: &'a mut Sessions,
    admission: &'a mut Admission,
    unauthentic: &'a mut UnauthenticWarning,
    stats: &'a mut EndpointStats,
    now: Time,
    path: Path,
    previous: Option<(Destination, usize)>,
}

impl Router<'_> {
    /// Decrypts each datagram in place, and records the ranges of those that have a session.
    fn route_all(&mut self, bytes: &mut [u8], stride: usize, routed: &mut Vec<Routed>) {
        let endpoint = &self.registry.endpoint;
        let front = endpoint.layout.overhead().front;
        self.stats.wire_bytes_received += bytes.len() as u64;
        routed.clear();
        if !self.path.is_answerable() {
            let datagrams = bytes.len().div_ceil(stride.max(1)) as u64;
            self.stats.datagrams_received += datagrams;
            self.stats.unanswerable += datagrams;
            return;
        }
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
                Err(_) => {
                    self.stats.unauthentic += 1;
                    self.unauthentic.count(self.now, self.path.peer);
                }
            }
            start = next;
        }
    }

    /// Finds the session of a payload, or opens one for it.
    fn route(&mut self, payload: &[u8]) -> Option<usize> {
        let destination = Destination::of(payload);
        // Most runs belong to one session.
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

    /// Handles a payload without a session: may open one, forward the payload or reply.
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
            unsolicited: Unsolicited::of(payload),
        };
        if let Some((group, shard)) = &self.registry.group
            && let Some(owner) = group.owner(self.path.peer, conversation, *shard)
        {
            self.forward(&owner, payload);
            // Parity that follows belongs to the same session.
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
            None if self.admission.hold_next(datagram, payload) => Verdict::Ignore,
            None => {
                let accepting = self.accept_state();
                let unvalidated = self.sessions.unvalidated();
                self.admission
                    .admit(datagram, accepting, unvalidated, self.stats)
            }
        };
        match verdict {
            Verdict::Open { validated: false } => self.open(conversation, Initiator::Peer),
            Verdict::Open { validated: true } => self.open_validated(conversation),
            Verdict::Reply(header) => {
                self.reply(payload, &header, &[]);
                None
            }
            Verdict::ChallengeAddress(header) => {
                self.reply(payload, &header, &[]);
                self.admission.hold_opening(datagram, payload);
                None
            }
            Verdict::ChallengePath(header, data) => {
                self.reply_frame(payload, &header, &Frame::PathChallenge(data));
                None
            }
            Verdict::Refuse(code) => {
                self.refuse(datagram, payload, code);
                None
            }
            Verdict::Ignore => None,
        }
    }

    /// Sends the reason to a peer that supports extensions and gets no session. Its hello is longer than the
    /// answer.
    fn refuse(&mut self, datagram: UnmatchedDatagram, payload: &[u8], code: ResetCode) {
        if !self.registry.endpoint.accepts() {
            return;
        }
        let Some(tag) = opening_token(payload) else {
            return;
        };
        if let Some(header) = self.admission.refusal(datagram, self.stats) {
            let code = code.get();
            self.reply_frame(payload, &header, &Frame::Reset { tag, code });
        }
    }

    /// Answers a payload with one segment, which `data` follows.
    fn reply(&self, payload: &[u8], header: &SegmentHeader, data: &[u8]) {
        let endpoint = &self.registry.endpoint;
        endpoint.reply(self.path, endpoint.answers_with_fec(payload), header, data);
    }

    /// Answers a payload with a window update that carries one frame.
    fn reply_frame(&self, payload: &[u8], header: &SegmentHeader, frame: &Frame) {
        let mut frames = FrameWriter::new(MAX_EXTENSION_LEN);
        frames.push(frame);
        let header = SegmentHeader {
            // At most some dozens of bytes.
            payload_len: frames.payload().len() as u32,
            ..*header
        };
        self.reply(payload, &header, frames.payload());
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

    /// Whether an unmatched datagram may come from the new address of a peer.
    ///
    /// A datagram that looks like the first of a conversation is treated as one, and so is the
    /// answer to an address challenge: another client may use the same conversation id. The
    /// exception is an address that a session has left a short while ago: its peer may have
    /// returned with the first packet unanswered.
    fn may_have_migrated(
        &self,
        datagram: UnmatchedDatagram,
        time_wait: Option<TimeWaitEntry>,
    ) -> bool {
        let migration = self.registry.migration.as_ref();
        let has_left = matches!(time_wait, Some(TimeWaitEntry::Moved(_)));
        (datagram.unsolicited != Unsolicited::Opening || has_left)
            && !self.admission.is_address_response(datagram)
            && migration.is_some_and(|migration| migration.may_move(datagram.conversation))
    }

    /// Requests migration of the session if the payload is a valid path response. Returns whether
    /// it is.
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

    /// Opens a session for a peer that has answered a challenge, and delivers the payloads that were
    /// kept until then.
    fn open_validated(&mut self, conversation: ConversationId) -> Option<usize> {
        let slot = self.open(conversation, Initiator::ValidatedPeer)?;
        let held = self
            .admission
            .take_held(self.path.peer, conversation, self.now);
        if let Some(connection) = self.sessions.at(slot)
            && !held.is_empty()
        {
            connection.deliver(self.now, held.iter().map(|payload| &payload[..]));
        }
        Some(slot)
    }

    fn open(&mut self, conversation: ConversationId, initiator: Initiator) -> Option<usize> {
        let connection = self
            .sessions
            .open(self.registry, self.now, self.path, conversation, initiator)
            .ok()?;
        {
            let _span = connection.span().enter();
            tracing::debug!(peer = %self.path.peer, %conversation, "session opened");
        }
        let slot = connection.key.slot;
        if let Err(unwanted) = self.registry.accept_queue.offer(connection) {
            // The listener was closed, so the session has no reader. It has no token of the peer
            // yet that a reset could carry.
            unwanted.hasten(self.now);
            drop(Handle(unwanted));
        }
        Some(slot)
    }
}

/// Delivers the payloads to their sessions, each run under one lock.
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

/// Consecutive failures that may concern single datagrams. A refused port causes one for each
/// datagram that was sent to it.
const FAILURES_BEFORE_PAUSE: u32 = 4;

/// The resolution of the runtime timer.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The delay that persistent errors add to datagrams between them; at this pause they cost 16 calls
/// a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

/// Time without datagrams after which buffers for receiving and sending are freed: longer than most
/// pauses of a busy socket.
const RELEASE_AFTER: Duration = Duration::from_millis(100);

/// The same for first datagrams of peers that are challenged: longer than most round trips.
const RELEASE_DATAGRAMS_AFTER: Duration = Duration::from_secs(1);
