//! Address validation: limits what a session sends to an address that may be forged.
//!
//! The source address of a first packet may be forged. Until an acknowledgement echoes one of our
//! timestamps, which only a host that receives our packets can do, answers may reach a victim that
//! requested nothing. So a session that was opened by its peer sends at most three times the bytes
//! it received, or three datagrams if that is more, as QUIC does (RFC 9000, section 8.1). All bytes
//! of UDP payload count. A datagram counts as the mtu, or as 576 bytes if the mtu is smaller: with
//! less there would be no room for challenges.
//!
//! Part of that is reserved for challenges. If all answers to an honest peer are lost while its own
//! data was acknowledged, the peer waits in silence. Then only a challenge can validate its
//! address, which in turn permits retransmitting the answers.

use std::time::Duration;

use super::{Role, Session};
use crate::arq::Outcome;
use crate::packet::{PacketLayout, TransmitBatch};
use crate::time::Time;
use crate::wire::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Segments, Timestamp};

/// The state of a session until its peer's address is validated.
#[derive(Debug)]
pub(super) struct AddressValidation {
    /// Number and timestamp of all challenges, once one was sent. Only a host that received a
    /// challenge can echo the timestamp.
    challenge: Option<(u32, Timestamp)>,
    /// Something is due but may not be sent.
    blocked: bool,
    /// When to send the next challenge; `None` until something was held back.
    challenge_at: Option<Time>,
    /// The wait that `challenge_at` ends.
    wait: Duration,
}

/// What the next datagram may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// Anything.
    Full,
    /// Challenges, acknowledgements and probes.
    Control,
    /// Challenges.
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

    /// When something may be sent, if sending is blocked.
    pub(super) fn blocked_until(&self) -> Option<Option<Time>> {
        self.blocked.then_some(self.challenge_at)
    }
}

impl Session {
    /// Whether the peer's address is validated: the peer receives there, or this side opened the
    /// session and chose the address.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.validation.is_none()
    }

    /// Marks the peer's address as validated by other means.
    pub fn mark_validated(&mut self) {
        self.validation = None;
    }

    /// Marks the peer's address as validated before this session was created, and announces the
    /// window, since the peer may wait for a first answer.
    #[cfg(feature = "tokio")]
    pub(crate) fn accept_validated(&mut self) {
        self.mark_validated();
        self.arq.announce_window();
    }

    /// A datagram was received: more may be sent now, and the peer may be validated.
    pub(super) fn on_arrival(&mut self) {
        if let Some(validation) = &mut self.validation {
            validation.blocked = false;
        }
    }

    /// Checks whether received segments validate the peer's address.
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

    /// What may be sent now.
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

    /// Records that nothing more may be sent now. If something is due, schedules a challenge.
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

    /// Adds a challenge if one is due.
    ///
    /// A challenge is an empty data segment whose number the peer has already received. Every KCP
    /// peer acknowledges such a segment, since its first acknowledgement may be lost, and delivers
    /// nothing.
    pub(super) fn push_challenge(&mut self, now: Time, batch: &mut TransmitBatch) -> usize {
        let Some(validation) = &mut self.validation else {
            return 0;
        };
        if validation.challenge_at.is_none_or(|at| at > now) {
            return 0;
        }
        validation.challenge_at = Some(now + validation.wait);
        validation.wait = (validation.wait * 2).min(LONGEST_WAIT);
        let mut challenge = self.arq.repeated_push(0);
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

/// Bytes that may be sent whatever was received.
fn floor(layout: PacketLayout) -> u64 {
    FACTOR * MIN_DATAGRAM.max(layout.mtu() as u64)
}

/// Bytes reserved for challenges; acknowledgements and probes may use half of them.
fn reserve(layout: PacketLayout) -> u64 {
    (CHALLENGES * challenge_len(layout)).min(floor(layout) * 2 / 3)
}

/// Length of a datagram with one segment and no data.
fn challenge_len(layout: PacketLayout) -> u64 {
    let overhead = layout.overhead();
    (overhead.front + layout.shard_header() + SEGMENT_HEADER_LEN + overhead.back) as u64
}

/// How many times the received bytes may be sent, and the number of datagrams that may be sent if
/// that is more.
const FACTOR: u64 = 3;

/// The datagram that every IPv4 host accepts (RFC 1122, section 3.3.2), which may be sent to any
/// address.
const MIN_DATAGRAM: u64 = 576;

/// Number of challenges there is always room for: enough for half a minute, after which the user
/// time-out ends an unanswered connection.
const CHALLENGES: u64 = 12;

/// Wait before the first challenge: time for the sent answers to be acknowledged.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Longest wait between challenges: the reserve lasts, and recovery after an outage does not take
/// long.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
