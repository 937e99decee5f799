//! The extension protocol between two sessions of this crate.
//!
//! Hellos are exchanged like SYN, SYN-ACK and ACK: each side sends its token and echoes the
//! other's. A peer that echoes a token has received it, so a hello from an off-path attacker has no
//! lasting effect, and frames that end or move the session carry the receiver's token. The
//! connecting side begins; the accepting side sends no frames to a peer that has sent no hello.

mod fill;
mod repeat;
mod session;

use std::time::Duration;

use crate::config::{Config, Extensions};
use crate::crypto::constant_time_eq;
use crate::error::ResetCode;
use crate::time::Time;
use crate::wire::{
    CAPABILITY_MIGRATION, CAPABILITY_RECEIVED, Frame, Frames, Hello, Received, Token,
};

use repeat::Repeat;

pub(super) use session::handle_payload;

/// What this side offers in its hello.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer {
    token: Token,
    capabilities: u32,
}

impl Offer {
    /// `None` if extensions are off, or if `limit`, the bytes of data in a datagram, is too small
    /// for them.
    pub(super) fn new(config: &Config, limit: usize, token: u64) -> Option<Self> {
        let migration = match config.extensions() {
            Extensions::Off => return None,
            Extensions::On => 0,
            Extensions::Migration => CAPABILITY_MIGRATION,
        };
        let received = match config.sends_received() {
            true => CAPABILITY_RECEIVED,
            false => 0,
        };
        let capabilities = migration | received;
        (limit >= Extensions::MIN_ROOM).then_some(Self {
            // Zero is reserved for an unknown token.
            token: Token::new(token.max(1)),
            capabilities,
        })
    }
}

/// What received frames request of the session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    /// The end of the peer's stream.
    pub(super) end: Option<u32>,
    /// The peer has reset the session.
    pub(super) reset: Option<ResetCode>,
}

#[derive(Debug)]
pub(super) struct Extension {
    offer: Offer,
    initiates: bool,
    peer: Option<Peer>,
    /// The peer has echoed our token, so `peer` is the host that receives our packets.
    confirmed: bool,
    /// Repetition of the connecting side's hello, once started.
    hello: Repeat,
    started: bool,
    /// A hello is due now.
    hello_due: bool,
    /// When a hello was first sent, and when last.
    hello_at: Option<(Time, Time)>,
    /// The same of the hellos that the peer has just answered.
    answered: Option<(Time, Time)>,
    fin: Option<Fin>,
    fin_ack_due: Option<u32>,
    reset: Option<Reset>,
    ping: Option<u64>,
    ping_due: bool,
    pings: u64,
    pong_due: Option<u64>,
    path_response_due: Option<u64>,
    requests: Requests,
    /// What the peer has received beyond a gap, as it has just told.
    received: Option<Received>,
    /// Number of frames with a wrong token or without a matching request.
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    token: Token,
    capabilities: u32,
}

#[derive(Clone, Copy, Debug)]
struct Fin {
    end: u32,
    repeat: Repeat,
    acknowledged: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reset {
    code: ResetCode,
    repeat: Repeat,
}

impl Extension {
    /// The state of the side that sends the first hello (`initiates`) or of the side that received
    /// one.
    pub(super) fn new(offer: Offer, initiates: bool) -> Self {
        Self {
            offer,
            initiates,
            peer: None,
            confirmed: false,
            hello: Repeat::new(None, 0),
            started: false,
            hello_due: false,
            hello_at: None,
            answered: None,
            fin: None,
            fin_ack_due: None,
            reset: None,
            ping: None,
            ping_due: false,
            pings: 0,
            pong_due: None,
            path_response_due: None,
            requests: Requests::default(),
            received: None,
            refused: 0,
        }
    }

    /// Whether a payload contains a hello, for which an [`Extension`] must be created.
    pub(super) fn has_hello(payload: &[u8]) -> bool {
        let mut frames = Frames::new(payload);
        frames.any(|frame| matches!(frame, Ok(Frame::Hello(_))))
    }

    /// Whether the peer has confirmed by an echo of our token that it supports extensions.
    pub(super) fn is_negotiated(&self) -> bool {
        self.confirmed
    }

    /// The token that a peer must present to move the session, if it may move.
    pub(super) fn migration_token(&self) -> Option<Token> {
        let both = self.offer.capabilities & self.peer?.capabilities & CAPABILITY_MIGRATION;
        (self.confirmed && both != 0).then_some(self.offer.token)
    }

    /// Whether this side announces to the peer what arrives beyond a gap.
    ///
    /// This does not wait for the peer's confirmation, which is sent once and may be lost: like every
    /// frame, it has a hello in front until then.
    pub(super) fn announces_received(&self) -> bool {
        let peer = self.peer.map_or(0, |peer| peer.capabilities);
        self.offers_received() && peer & CAPABILITY_RECEIVED != 0
    }

    fn offers_received(&self) -> bool {
        self.offer.capabilities & CAPABILITY_RECEIVED != 0
    }

    /// What the last payload told of the segments that the peer has received; once.
    fn take_received(&mut self) -> Option<Received> {
        self.received.take()
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Sends a hello together with a connecting probe.
    pub(super) fn send_hello(&mut self) {
        self.hello_due |= self.initiates && !self.confirmed;
    }

    /// Repeats hellos until one is answered, after other packets were sent to the peer.
    pub(super) fn start_hellos(&mut self, now: Time) {
        if self.initiates && !self.started {
            self.started = true;
            self.hello = Repeat::new(Some(now), HELLOS);
        }
    }

    /// Sets the end of our stream, which is sent once the peer has confirmed extensions.
    pub(super) fn finish(&mut self, now: Time, end: u32) {
        self.fin.get_or_insert(Fin {
            end,
            repeat: Repeat::new(Some(now), FINS),
            acknowledged: false,
        });
    }

    /// Whether the end was set.
    pub(super) fn has_finished(&self) -> bool {
        self.fin.is_some()
    }

    /// Whether the peer has acknowledged the end of our stream.
    pub(super) fn is_end_known(&self) -> bool {
        self.fin.is_some_and(|fin| fin.acknowledged)
    }

    /// Whether shutting down need not wait for the end of our stream to be acknowledged: the peer
    /// has acknowledged it, does not support it, or did not answer several times and may be gone.
    pub(super) fn is_settled(&self) -> bool {
        !self.confirmed
            || self
                .fin
                .is_none_or(|fin| fin.acknowledged || fin.repeat.left() <= FINS - FINS_WAITED_FOR)
    }

    /// Acknowledges the peer's end, which agrees with what was received.
    pub(super) fn acknowledge_end(&mut self, end: u32) {
        self.fin_ack_due = Some(end);
    }

    /// Counts a well-formed frame with wrong content.
    pub(super) fn refuse(&mut self) {
        self.refused += 1;
    }

    /// Resets the session. No other frame is sent from now on.
    pub(super) fn reset(&mut self, now: Time, code: ResetCode) {
        if self.peer.is_some() {
            self.reset.get_or_insert(Reset {
                code,
                repeat: Repeat::new(Some(now), RESETS),
            });
        }
    }

    /// Sends a ping.
    pub(super) fn ping(&mut self) {
        self.pings += 1;
        // Unpredictable without the token, and never repeated.
        let data = mix(self.offer.token.get() ^ mix(self.pings));
        self.ping = Some(data);
        self.ping_due = true;
    }

    /// When the first and the last of the hellos were sent that the peer has answered for the first
    /// time; once.
    pub(super) fn take_answered(&mut self) -> Option<(Time, Time)> {
        self.answered.take()
    }

    /// Processes the payload of a window update.
    pub(super) fn on_payload(&mut self, payload: &[u8]) {
        for frame in Frames::new(payload) {
            match frame {
                Ok(frame) => self.on_frame(&frame),
                Err(_) => self.refused += 1,
            }
        }
    }

    /// Whether [`Self::take_requests`] would return any.
    pub(super) fn has_requests(&self) -> bool {
        self.requests.end.is_some() || self.requests.reset.is_some()
    }

    /// The requests since the last call.
    pub(super) fn take_requests(&mut self) -> Requests {
        std::mem::take(&mut self.requests)
    }

    fn on_frame(&mut self, frame: &Frame) {
        match *frame {
            Frame::Hello(hello) => self.on_hello(&hello),
            Frame::Fin { tag, end } if self.is_own(tag) => self.requests.end = Some(end),
            Frame::FinAck { tag, end } if self.is_own(tag) => self.on_fin_ack(end),
            Frame::Reset { tag, code } if self.is_own(tag) => {
                self.requests.reset = Some(ResetCode::from_wire(code));
            }
            Frame::Ping(data) if self.peer.is_some() => self.pong_due = Some(data),
            // A pong that arrives before the ping was sent is no answer.
            Frame::Pong(data) if self.ping == Some(data) && !self.ping_due => self.ping = None,
            Frame::PathChallenge(data) if self.peer.is_some() => {
                self.path_response_due = Some(data);
            }
            // A peer that has our token has our capabilities.
            Frame::Received { tag, segments } if self.offers_received() && self.is_own(tag) => {
                self.received = Some(segments);
            }
            // The driver checks these, since it knows the source address.
            Frame::PathResponse { .. } => {}
            _ => self.refused += 1,
        }
    }

    fn on_hello(&mut self, hello: &Hello) {
        let known = self.peer.filter(|_| self.confirmed);
        if known.is_some_and(|peer| !same(peer.token, hello.token)) {
            self.refused += 1;
            return;
        }
        self.peer = Some(Peer {
            token: hello.token,
            capabilities: hello.capabilities,
        });
        match hello.echo {
            Some(echo) if self.is_own(echo) => {
                if !self.confirmed {
                    self.answered = self.hello_at;
                }
                self.confirmed = true;
                self.started = true;
                self.hello.stop();
            }
            // The sender has processed a forged hello and needs ours.
            Some(_) => self.refused += 1,
            None => {}
        }
        // A confirmed hello is not answered, otherwise both sides could answer each other forever.
        self.hello_due |= !hello.confirmed;
    }

    fn on_fin_ack(&mut self, end: u32) {
        match &mut self.fin {
            Some(fin) if fin.end == end => fin.acknowledged = true,
            _ => self.refused += 1,
        }
    }

    fn is_own(&self, tag: Token) -> bool {
        same(tag, self.offer.token)
    }
}

fn same(one: Token, other: Token) -> bool {
    constant_time_eq(&one.get().to_le_bytes(), &other.get().to_le_bytes())
}

/// The output function of SplitMix64.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Hellos sent without an answer, in addition to those that go with connecting probes: about two
/// seconds.
const HELLOS: u8 = 5;

/// With half of all datagrams lost each way, one end in a hundred thousand does not arrive and one
/// in a hundred is not acknowledged.
const FINS: u8 = 16;

/// Number of unanswered ends that shutting down waits for. The data has arrived in any case, and
/// the remaining repetitions are sent in the background.
const FINS_WAITED_FOR: u8 = 5;

/// With half of all datagrams lost, one reset in sixteen does not arrive; the peer then ends by its
/// time-outs.
const RESETS: u8 = 4;

/// A round trip on most paths. More precision is not needed for hellos.
const FIRST_HELLO_WAIT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_pong_is_refused_and_leaves_no_timer() {
        let offer = Offer {
            token: Token::new(1),
            capabilities: 0,
        };
        let mut extension = Extension::new(offer, true);
        extension.on_hello(&Hello {
            confirmed: true,
            capabilities: 0,
            token: Token::new(2),
            echo: Some(Token::new(1)),
        });
        extension.ping();
        let data = extension.ping.expect("is due");
        extension.on_frame(&Frame::Pong(data));
        assert_eq!(extension.refused, 1);
        let limit = 100;
        let said = extension.fill(Time::ZERO, Duration::ZERO, limit);
        assert!(!said.payload().is_empty());
        assert_eq!(extension.next(), None, "the ping is said");
        extension.on_frame(&Frame::Pong(data));
        assert_eq!((extension.ping, extension.refused), (None, 1));
    }
}
