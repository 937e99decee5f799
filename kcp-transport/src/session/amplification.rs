//! How much a session sends to an address that may be someone else's.
//!
//! Who opens a session may have forged where its packet came from. Until an acknowledgement has
//! echoed a timestamp of ours, which only who receives our packets knows, the answers go to
//! somebody who may never have asked. So a session that was opened by its peer sends no more than
//! three times what it received, or three datagrams if that is more; QUIC has the same rule (RFC
//! 9000, section 8.1). Everything counts, in bytes of UDP payload. A datagram is that of the mtu, or
//! 576 bytes: with less there would be no room for questions.
//!
//! Part of that is kept back for questions. If all answers to an honest peer are lost, and it
//! waits in silence because its own data was acknowledged, then nothing but a question can bring
//! the proof, and with it the right to repeat the answers.

use std::time::Duration;

use super::{Role, Session};
use crate::arq::Outcome;
use crate::packet::{PacketLayout, TransmitBatch};
use crate::time::Time;
use crate::wire::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Segments, Timestamp};

/// What a session keeps until its peer's address is proved.
#[derive(Debug)]
pub(super) struct AddressValidation {
    /// Number and timestamp of all questions, once one was asked. Nobody can echo the timestamp
    /// who has not received it.
    challenge: Option<(u32, Timestamp)>,
    /// Something is due that may not leave.
    blocked: bool,
    /// When to ask next; `None` until something was held back.
    challenge_at: Option<Time>,
    /// The wait that `challenge_at` ends.
    wait: Duration,
}

/// What the next datagram may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// Anything.
    Full,
    /// Questions, acknowledgements and probes.
    Control,
    /// Questions.
    Challenge,
    /// Nothing.
    Nothing,
}

impl AddressValidation {
    pub(super) fn new(role: Role) -> Option<Box<Self>> {
        (role == Role::Accept).then(|| {
            Box::new(Self {
                challenge: None,
                blocked: false,
                challenge_at: None,
                wait: FIRST_WAIT,
            })
        })
    }

    /// When there may be something to send, if that is not when it is due.
    pub(super) fn blocked_until(&self) -> Option<Option<Time>> {
        self.blocked.then_some(self.challenge_at)
    }
}

impl Session {
    /// Whether the peer was shown to receive where we send, or we have chosen that address.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.validation.is_none()
    }

    /// The peer has shown in another way that it receives where we send.
    pub fn mark_validated(&mut self) {
        self.validation = None;
    }

    /// The peer has shown that it receives where we send before this session was made for it. It
    /// is told so, since it may wait for a first answer.
    #[cfg(feature = "tokio")]
    pub(crate) fn accept_validated(&mut self) {
        self.mark_validated();
        self.arq.announce_window();
    }

    /// Something came in: there may be more to send, and the peer may be proved.
    pub(super) fn on_arrival(&mut self) {
        if let Some(validation) = &mut self.validation {
            validation.blocked = false;
        }
    }

    /// Looks for the proof in what the segments brought.
    pub(super) fn check_validation(&mut self, segments: &[u8], outcome: Outcome) {
        let Some(validation) = &self.validation else {
            return;
        };
        let echoes = |header: SegmentHeader| {
            header.command == Command::Ack
                && Some((header.sequence, header.timestamp)) == validation.challenge
        };
        let mut headers = Segments::new(segments).map_while(Result::ok);
        if outcome.validated || headers.any(|(header, _)| echoes(header)) {
            self.mark_validated();
        }
    }

    /// What may leave now.
    pub(super) fn allowance(&self, batch: &TransmitBatch, counted: usize) -> Allowance {
        if self.validation.is_none() {
            return Allowance::Full;
        }
        let laid = (batch.total_len() - counted) as u64;
        let sent = self.counters.bytes_sent + laid;
        let mtu = self.layout.mtu() as u64;
        let most = (FACTOR * self.counters.bytes_received).max(floor(self.layout));
        let kept = reserve(self.layout);
        if sent + mtu + kept <= most {
            Allowance::Full
        } else if sent + kept / 2 <= most {
            Allowance::Control
        } else if sent + challenge_len(self.layout) <= most {
            Allowance::Challenge
        } else {
            Allowance::Nothing
        }
    }

    /// Nothing more leaves for now. If something should, sees to it that the peer is asked.
    pub(super) fn hold_back(&mut self, now: Time, allowance: Allowance) {
        let due = self.is_due(now);
        if let Some(validation) = self.validation.as_mut().filter(|_| due) {
            validation.blocked = true;
            validation.challenge_at = match allowance {
                Allowance::Nothing => None,
                _ => validation.challenge_at.or(Some(now + validation.wait)),
            };
        }
    }

    /// Adds a question, if it is time for one.
    ///
    /// It is a data segment without data that the peer has had already. Every KCP peer
    /// acknowledges those, since the first acknowledgement may be lost, and delivers nothing.
    pub(super) fn push_challenge(&mut self, now: Time, batch: &mut TransmitBatch) -> usize {
        let Some(validation) = &mut self.validation else {
            return 0;
        };
        if validation.challenge_at.is_none_or(|at| at > now) {
            return 0;
        }
        validation.challenge_at = Some(now + validation.wait);
        validation.wait = (validation.wait * 2).min(LONGEST_WAIT);
        let mut challenge = self.arq.repeated_push();
        let named = (challenge.sequence, challenge.timestamp);
        (challenge.sequence, _) = *validation.challenge.get_or_insert(named);
        let header = self.layout.shard_header();
        let encoder = &mut self.encoder;
        batch.push_with(|packet| {
            challenge.encode(&mut packet[header..]);
            let len = header + SEGMENT_HEADER_LEN;
            if let Some(encoder) = encoder {
                encoder.encode(now, &mut packet[..len]);
            }
            len
        })
    }
}

/// Bytes that may go out whatever came in.
fn floor(layout: PacketLayout) -> u64 {
    FACTOR * MIN_DATAGRAM.max(layout.mtu() as u64)
}

/// Bytes that only questions may use, and half of which acknowledgements and probes may.
fn reserve(layout: PacketLayout) -> u64 {
    (CHALLENGES * challenge_len(layout)).min(floor(layout) * 2 / 3)
}

/// Bytes of a datagram with one segment and no data.
fn challenge_len(layout: PacketLayout) -> u64 {
    let overhead = layout.overhead();
    (overhead.front + layout.shard_header() + SEGMENT_HEADER_LEN + overhead.back) as u64
}

/// How many times what came in may go out; and how many datagrams, if that is more.
const FACTOR: u64 = 3;

/// What every IPv4 host takes in (RFC 1122, section 3.3.2): a datagram that may go out to anyone.
const MIN_DATAGRAM: u64 = 576;

/// Questions there is always room for: enough for half a minute, after which the user time-out ends
/// a connection that nobody answers.
const CHALLENGES: u64 = 12;

/// Time for the answers that were sent to be acknowledged.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Makes the questions last, and what comes after an outage not wait for long.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
