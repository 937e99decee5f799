//! Decisions on datagrams that match no session.
//!
//! A first packet opens a session at once while few sessions have unvalidated peers and its network
//! is within its rate. Otherwise its sender must validate its address first, which takes a round
//! trip and no memory for each peer (see [`cookie`]); the packet itself is kept meanwhile in a
//! small queue that all challenged peers share (see [`held`]). So forged packets can hold no more
//! sessions than [`ListenerConfig::max_unvalidated`], whatever their number, and all other peers can still
//! connect.
//!
//! No session is closed to make room for another: acknowledged data stays, for the program that
//! accepts the session.
//!
//! Data and probes of an unknown conversation are answered by a window update that acknowledges
//! nothing. A peer that has restarted sends the same, which is how the other side detects the
//! restart. The answer goes only to packets that a peer repeats until they are answered, never to
//! another answer, and is no longer than the packet it answers.

mod cookie;
mod held;
mod rate_limit;

use std::net::SocketAddr;

use cookie::Cookies;
use held::HeldDatagrams;
use rate_limit::RateLimit;

use crate::config::ListenerConfig;
use crate::error::ResetCode;
use crate::session::Unsolicited;
use crate::stats::EndpointStats;
use crate::time::Time;
use crate::wire::{Command, ConversationId, SegmentHeader, Timestamp};

use super::accept_queue::AcceptState;
use super::demux::TimeWaitEntry;

/// Decides on datagrams that match no session.
#[derive(Debug)]
pub(in crate::net) struct Admission {
    cookies: Cookies,
    unvalidated: RateLimit,
    validated: RateLimit,
    challenges: RateLimit,
    replies: RateLimit,
    held: HeldDatagrams,
    max_unvalidated: usize,
    window: u16,
}

/// The payload of a datagram without a session.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct UnmatchedDatagram {
    pub(in crate::net) now: Time,
    pub(in crate::net) peer: SocketAddr,
    pub(in crate::net) conversation: ConversationId,
    pub(in crate::net) unsolicited: Unsolicited,
}

/// The action for an unmatched datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum Verdict {
    Open {
        validated: bool,
    },
    Reply(SegmentHeader),
    /// The payload is to be kept until the challenge is answered.
    ChallengeAddress(SegmentHeader),
    ChallengePath(SegmentHeader, u64),
    /// A peer of this crate that opens a conversation is to receive this reason.
    Refuse(ResetCode),
    Ignore,
}

impl Admission {
    /// For a listener that announces `window` to peers without a session.
    pub(in crate::net) fn new(config: &ListenerConfig, window: u16) -> Self {
        // The kernel spreads peers over the sockets of a listener, so each applies a share of the
        // limits.
        let shards = config.shards();
        let rate = config.open_rate().get().div_ceil(u32::from(shards));
        let validated = rate.saturating_mul(VALIDATED_FACTOR);
        Self {
            cookies: Cookies::default(),
            unvalidated: RateLimit::new(rate, rate.saturating_mul(2)),
            validated: RateLimit::new(validated, validated.saturating_mul(2)),
            challenges: RateLimit::new(CHALLENGES, CHALLENGES),
            replies: RateLimit::new(REPLIES, REPLIES),
            held: HeldDatagrams::default(),
            max_unvalidated: config.max_unvalidated().div_ceil(usize::from(shards)),
            window,
        }
    }

    /// Decides on a payload, given the number of sessions with unvalidated peers.
    pub(in crate::net) fn admit(
        &mut self,
        datagram: UnmatchedDatagram,
        accepting: AcceptState,
        unvalidated: usize,
        stats: &mut EndpointStats,
    ) -> Verdict {
        let (now, ip) = (datagram.now, datagram.peer.ip());
        match (datagram.unsolicited, accepting) {
            (Unsolicited::Opening, AcceptState::Open) => {
                if unvalidated < self.max_unvalidated && self.unvalidated.allows(ip, now) {
                    return Verdict::Open { validated: false };
                }
                self.challenge_address(datagram, stats)
            }
            (Unsolicited::Answer(_), AcceptState::Open) => {
                if !self.is_address_response(datagram) {
                    stats.stray += 1;
                    Verdict::Ignore
                } else if self.validated.allows(ip, now) {
                    Verdict::Open { validated: true }
                } else {
                    stats.over_rate += 1;
                    Verdict::Ignore
                }
            }
            (Unsolicited::Opening | Unsolicited::Answer(_), AcceptState::Full) => {
                stats.backlog_full += 1;
                Verdict::Refuse(ResetCode::BACKLOG_FULL)
            }
            (Unsolicited::Opening | Unsolicited::Answer(_), AcceptState::Spent) => {
                stats.over_budget += 1;
                Verdict::Refuse(ResetCode::OVER_BUDGET)
            }
            (Unsolicited::Data { .. } | Unsolicited::Probe, _) => {
                stats.stray += 1;
                self.answer(datagram, 0, stats)
            }
            // A hello may follow the first packet by itself.
            (_, AcceptState::Closed) => {
                stats.stray += 1;
                Verdict::Refuse(ResetCode::GOING_AWAY)
            }
            (Unsolicited::Other, _) => {
                stats.stray += 1;
                Verdict::Ignore
            }
        }
    }

    /// The window update in front of the reset that refuses an opening, within the rate of replies.
    pub(in crate::net) fn refusal(
        &mut self,
        datagram: UnmatchedDatagram,
        stats: &mut EndpointStats,
    ) -> Option<SegmentHeader> {
        match self.reply(datagram, self.window_update(datagram.conversation, 0)) {
            Verdict::Reply(header) => {
                stats.refused += 1;
                Some(header)
            }
            _ => None,
        }
    }

    fn challenge_address(
        &mut self,
        datagram: UnmatchedDatagram,
        stats: &mut EndpointStats,
    ) -> Verdict {
        if !self.challenges.allows(datagram.peer.ip(), datagram.now) {
            stats.over_rate += 1;
            return Verdict::Ignore;
        }
        stats.addresses_challenged += 1;
        Verdict::ChallengeAddress(self.cookies.address_challenge(
            datagram.peer,
            datagram.conversation,
            self.window,
            datagram.now,
        ))
    }

    /// Keeps the first payload of a conversation whose peer is challenged.
    pub(in crate::net) fn hold_opening(&mut self, datagram: UnmatchedDatagram, payload: &[u8]) {
        self.held.hold_opening(datagram, payload);
    }

    /// Keeps data that follows a payload of [`Self::hold_opening`]. Returns whether it was kept.
    pub(in crate::net) fn hold_next(
        &mut self,
        datagram: UnmatchedDatagram,
        payload: &[u8],
    ) -> bool {
        matches!(datagram.unsolicited, Unsolicited::Data { fresh: true, .. })
            && self.held.hold_next(datagram, payload)
    }

    /// Takes the payloads that were kept for a conversation whose peer has answered.
    pub(in crate::net) fn take_held(
        &mut self,
        peer: SocketAddr,
        conversation: ConversationId,
        now: Time,
    ) -> Vec<Box<[u8]>> {
        self.held.take(peer, conversation, now)
    }

    /// Whether payloads are kept.
    pub(in crate::net) fn holds_datagrams(&self) -> bool {
        !self.held.is_empty()
    }

    /// Frees the memory of payloads that were kept.
    pub(in crate::net) fn release(&mut self) {
        self.held.clear();
    }

    /// Decides on a payload for a session that ended or moved a short while ago.
    ///
    /// Data that the session had acknowledged is acknowledged again: the peer may be closing too,
    /// and wait for that alone. Other packets of a peer that considers the session alive are
    /// answered by a window update that acknowledges nothing. Packets that look like the first of a
    /// conversation get no answer: they may open a new session with the same id, whose data must
    /// not be acknowledged.
    pub(in crate::net) fn on_closed_conversation(
        &mut self,
        datagram: UnmatchedDatagram,
        time_wait: TimeWaitEntry,
        stats: &mut EndpointStats,
    ) -> Verdict {
        stats.late += 1;
        match datagram.unsolicited {
            Unsolicited::Data {
                sequence,
                fresh: false,
            } => {
                let una = time_wait.acknowledged(sequence).unwrap_or(0);
                self.answer(datagram, una, stats)
            }
            Unsolicited::Probe => self.answer(datagram, 0, stats),
            _ => Verdict::Ignore,
        }
    }

    /// Decides on a payload whose conversation id belongs to a session at another address that may
    /// migrate.
    ///
    /// The sender is challenged, instead of learning that there is no session here. The window
    /// update that carries the challenge acknowledges nothing: any host may receive it.
    pub(in crate::net) fn challenge_path(
        &mut self,
        datagram: UnmatchedDatagram,
        stats: &mut EndpointStats,
    ) -> Verdict {
        let data = self
            .cookies
            .path_challenge(datagram.peer, datagram.conversation, datagram.now);
        match self.reply(datagram, self.window_update(datagram.conversation, 0)) {
            Verdict::Reply(header) => {
                stats.paths_challenged += 1;
                Verdict::ChallengePath(header, data)
            }
            other => other,
        }
    }

    /// Whether a payload answers an address challenge of ours.
    pub(in crate::net) fn is_address_response(&self, datagram: UnmatchedDatagram) -> bool {
        let Unsolicited::Answer(echo) = datagram.unsolicited else {
            return false;
        };
        self.cookies
            .is_address_response(datagram.peer, datagram.conversation, echo, datagram.now)
    }

    /// Whether `data` answers a challenge of [`Self::challenge_path`].
    pub(in crate::net) fn is_path_response(&self, datagram: UnmatchedDatagram, data: u64) -> bool {
        self.cookies
            .is_path_response(datagram.peer, datagram.conversation, data, datagram.now)
    }

    fn answer(
        &mut self,
        datagram: UnmatchedDatagram,
        una: u32,
        stats: &mut EndpointStats,
    ) -> Verdict {
        let verdict = self.reply(datagram, self.window_update(datagram.conversation, una));
        stats.strays_answered += u64::from(verdict != Verdict::Ignore);
        verdict
    }

    fn window_update(&self, conversation: ConversationId, una: u32) -> SegmentHeader {
        SegmentHeader {
            conversation,
            command: Command::WindowUpdate,
            fragments_left: 0,
            window: self.window,
            timestamp: Timestamp::default(),
            sequence: 0,
            unacknowledged: una,
            payload_len: 0,
        }
    }

    fn reply(&mut self, datagram: UnmatchedDatagram, header: SegmentHeader) -> Verdict {
        if self.replies.allows(datagram.peer.ip(), datagram.now) {
            Verdict::Reply(header)
        } else {
            Verdict::Ignore
        }
    }
}

/// How much faster peers with validated addresses may open sessions: 100 000 a second by default,
/// more than a core can open.
///
/// A NAT or a load balancer gives the traffic of all its users one address, which is known and not
/// forged. The backlog and the memory budget bound what it may open.
const VALIDATED_FACTOR: u32 = 1000;

/// Address challenges to one network in a second, and at once: twice what a core opens.
///
/// No challenge is longer than the packet it answers, so forging packets gains nothing; this still
/// bounds the traffic to a victim, to 1.1 MB/s of IP packets.
const CHALLENGES: u32 = 20_000;

/// Other stateless replies to one network in a second, and at once. They are no longer than the
/// packets they answer either.
const REPLIES: u32 = 2000;

#[cfg(test)]
mod tests;
