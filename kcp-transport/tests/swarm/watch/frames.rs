//! A model of the extension frames that sessions exchange.

use kcp_transport::config::{Config, Extensions};
use kcp_transport::error::{ConnectionError, ResetCode};
use kcp_transport::session::{Session, State};
use kcp_transport::wire::{
    CAPABILITY_MIGRATION, CAPABILITY_RECEIVED, Frame, Frames, Hello, Received, Token,
};

use crate::watch::ledger::Sender;

/// The final frames of a side.
#[derive(Debug, Default)]
pub(crate) struct FinalFrames {
    /// Its stream ends here.
    pub(crate) end: Option<u32>,
    /// It gave up.
    pub(crate) reset: Option<u32>,
}

/// What the user of a session has done about its end.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) shut_down: bool,
    pub(crate) let_go: bool,
    pub(crate) gave_up: bool,
}

/// The frames that a session has received and sent.
#[derive(Debug)]
pub(crate) struct FrameWatch {
    pub(crate) ending: Ending,
    /// It acknowledged the peer's end after its user had dropped it: all bytes must have been read.
    pub(crate) acknowledged_end: bool,
    extensions: Extensions,
    /// It tells what has arrived beyond a gap, and so does its peer.
    tells: bool,
    peer_tells: bool,
    initiates: bool,
    /// Tokens that came in Hellos of the peer.
    names: Vec<u64>,
    /// Its own token came back.
    echoed: bool,
    pings: Vec<u64>,
    /// The last of them, until it is answered.
    unanswered_ping: Option<u64>,
    /// Where its own stream ends, once it has sent a Fin; and whether the peer has acknowledged it.
    end: Option<u32>,
    end_known: bool,
    challenges: Vec<u64>,
    token: Option<u64>,
    /// Hellos to a peer that had sent none, but for those beside a probe.
    unanswered: u32,
    /// Probes without a hello.
    lone_probes: u32,
    resets: u32,
    /// The peer's end, which is to be acknowledged.
    owed: Option<u32>,
    /// A path challenge that is to be answered.
    asked: Option<u64>,
    /// The peer has given up.
    reset_by_peer: bool,
    /// What is due may have to wait.
    paced: bool,
}

/// A payload of frames that a session sends, and what it is sent with.
pub(crate) struct SentFrames<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) sender: &'a Sender,
    /// The number after the last segment that was sent.
    pub(crate) next: u32,
    /// In a datagram with a probe.
    pub(crate) asks: bool,
    /// Packets rebuilt from parity were not visible here, and may have carried any frame.
    pub(crate) blind: bool,
}

impl FrameWatch {
    pub(crate) fn new(config: &Config, initiates: bool) -> Self {
        Self {
            ending: Ending::default(),
            acknowledged_end: false,
            extensions: config.extensions(),
            tells: config.sends_received(),
            peer_tells: false,
            initiates,
            names: Vec::new(),
            echoed: false,
            pings: Vec::new(),
            unanswered_ping: None,
            end: None,
            end_known: false,
            challenges: Vec::new(),
            token: None,
            unanswered: 0,
            lone_probes: 0,
            resets: 0,
            owed: None,
            asked: None,
            reset_by_peer: false,
            paced: config.send_rate().is_some(),
        }
    }

    /// The session is about to be given this payload of a window update.
    pub(crate) fn on_received(&mut self, payload: &[u8]) {
        for frame in Frames::new(payload).map_while(Result::ok) {
            match frame {
                Frame::Hello(hello) => {
                    self.peer_tells |= hello.capabilities & CAPABILITY_RECEIVED != 0;
                    let name = hello.token.get();
                    if !self.names.contains(&name) {
                        self.names.push(name);
                    }
                    self.echoed |=
                        hello.echo.is_some() && hello.echo.map(|it| it.get()) == self.token;
                }
                Frame::Ping(data) => {
                    self.pings.push(data);
                    // Without a Hello in both directions a ping is ignored.
                    if self.token.is_some() && !self.names.is_empty() {
                        self.unanswered_ping = Some(data);
                    }
                }
                Frame::FinAck { tag, end } => {
                    let own = self.token == Some(tag.get());
                    self.end_known |= own && self.end == Some(end);
                }
                Frame::PathChallenge(data) => self.challenges.push(data),
                _ => {}
            }
        }
    }

    /// The session is about to handle this: frames with its token must be applied.
    pub(crate) fn on_authentic(&mut self, payload: &[u8]) {
        let own = |tag: Token| Some(tag.get()) == self.token;
        for frame in Frames::new(payload).map_while(Result::ok) {
            match frame {
                Frame::Fin { tag, end } if own(tag) => self.owed = Some(end),
                Frame::Reset { tag, .. } if own(tag) => self.reset_by_peer = true,
                Frame::PathChallenge(data) if self.echoed => self.asked = Some(data),
                _ => {}
            }
        }
    }

    /// What the peer tells in this payload of the segments that it has received.
    pub(crate) fn told(&self, payload: &[u8]) -> Option<Received> {
        let own = |tag: Token| self.tells && Some(tag.get()) == self.token;
        let mut frames = Frames::new(payload).map_while(Result::ok);
        frames.find_map(|frame| match frame {
            Frame::Received { tag, segments } if own(tag) => Some(segments),
            _ => None,
        })
    }

    /// Checked after the session has handled a datagram.
    pub(crate) fn check_reset(&self, session: &Session) -> Result<(), String> {
        if self.reset_by_peer && !matches!(session.state(), State::Closed(_)) {
            return Err("goes on, though the peer has given up".into());
        }
        Ok(())
    }

    /// Checked when the session has nothing more to send.
    pub(crate) fn check_answered(&self, session: &Session) -> Result<(), String> {
        if !session.is_validated() || self.paced {
            return Ok(());
        }
        match (self.owed, self.asked) {
            (Some(end), _) => Err(format!("the end {end} is not acknowledged")),
            (_, Some(data)) => Err(format!("the path challenge {data} is not answered")),
            _ => Ok(()),
        }
    }

    /// Checked when the session has nothing more to send: a ping must have been answered.
    pub(crate) fn check_pings(&self) -> Result<(), String> {
        match self.unanswered_ping {
            Some(data) => Err(format!("a ping is not answered, {data}")),
            None => Ok(()),
        }
    }

    /// A probe was sent without frames beside it.
    pub(crate) fn on_lone_probe(&mut self) {
        self.lone_probes += 1;
    }

    /// The session sends these frames.
    pub(crate) fn on_sent(
        &mut self,
        outgoing: &SentFrames<'_>,
        own: &mut FinalFrames,
        other: &FinalFrames,
    ) -> Result<(), String> {
        if self.extensions == Extensions::Off {
            return Err("frames with extensions off".into());
        }
        let mut any = false;
        for frame in Frames::new(outgoing.payload) {
            let frame = frame.map_err(|error| error.to_string())?;
            any = true;
            self.check(&frame, outgoing, own, other)
                .map_err(|error| format!("{error}: {frame:?}"))?;
        }
        if any {
            Ok(())
        } else {
            Err("a window update with a payload of no frames".into())
        }
    }

    fn check(
        &mut self,
        frame: &Frame,
        outgoing: &SentFrames<'_>,
        own: &mut FinalFrames,
        other: &FinalFrames,
    ) -> Result<(), String> {
        let state = outgoing.sender.state;
        let is_last = matches!(frame, Frame::Reset { .. });
        if matches!(state, State::Closed(_)) != is_last {
            return Err(format!("said while {state:?}"));
        }
        let tag = match *frame {
            Frame::Hello(hello) => return self.check_hello(&hello, outgoing),
            Frame::Fin { tag, .. }
            | Frame::FinAck { tag, .. }
            | Frame::Reset { tag, .. }
            | Frame::PathResponse { tag, .. }
            | Frame::Received { tag, .. } => Some(tag.get()),
            _ => None,
        };
        let knows = |tag: u64| outgoing.blind || self.names.contains(&tag);
        if !outgoing.blind && self.names.is_empty() {
            return Err("said to a peer that was not heard of".into());
        }
        if tag.is_some_and(|tag| !knows(tag)) {
            return Err("the tag is not one that was heard".into());
        }
        let echoes = |heard: &[u64], data: u64| outgoing.blind || heard.contains(&data);
        let right = match *frame {
            Frame::Fin { end, .. } => {
                if self.end_known {
                    return Err("said again, though it was acknowledged".into());
                }
                own.end = own.end.or(Some(end));
                self.end = own.end;
                let open = matches!(state, State::Connecting | State::Established);
                end == outgoing.next && own.end == Some(end) && !open
            }
            Frame::FinAck { end, .. } => {
                self.owed = None;
                self.acknowledged_end |= self.ending.let_go;
                other.end == Some(end)
            }
            Frame::Reset { code, .. } => {
                self.resets += 1;
                own.reset = Some(code);
                self.resets <= MOST_RESETS && self.has_reason(state, code)
            }
            Frame::Ping(_) => outgoing.sender.has_extensions,
            Frame::Pong(data) => {
                self.unanswered_ping = self.unanswered_ping.filter(|&ping| ping != data);
                echoes(&self.pings, data)
            }
            Frame::PathResponse { data, .. } => {
                self.asked = None;
                echoes(&self.challenges, data)
            }
            Frame::Received { .. } => self.tells && (self.peer_tells || outgoing.blind),
            _ => false,
        };
        if right {
            Ok(())
        } else {
            Err(format!(
                "no reason to say it while {state:?}, {:?}",
                self.ending
            ))
        }
    }

    fn check_hello(&mut self, hello: &Hello, outgoing: &SentFrames<'_>) -> Result<(), String> {
        let token = hello.token.get();
        if token == 0 || *self.token.get_or_insert(token) != token {
            return Err("another token than before".into());
        }
        let migrates = self.extensions == Extensions::Migration;
        let capabilities = if migrates { CAPABILITY_MIGRATION } else { 0 };
        let capabilities = match self.tells {
            true => capabilities | CAPABILITY_RECEIVED,
            false => capabilities,
        };
        if hello.capabilities != capabilities {
            return Err("other capabilities than configured".into());
        }
        if outgoing.blind {
            return Ok(());
        }
        if hello.echo.is_some_and(|it| !self.names.contains(&it.get())) {
            return Err("echoes what was not heard".into());
        }
        if hello.confirmed && !self.echoed {
            return Err("confirmed, but the token did not come back".into());
        }
        if self.names.is_empty() {
            self.unanswered += u32::from(!outgoing.asks);
            // Where there is no room for both, a hello follows the probe it belongs to.
            if !self.initiates || self.unanswered > MOST_HELLOS + self.lone_probes {
                return Err("hello to a peer that sends none".into());
            }
        }
        Ok(())
    }

    /// Whether a session in this state may send a Reset with this code.
    fn has_reason(&self, state: State, code: u32) -> bool {
        let ending = self.ending;
        match state {
            State::Closed(None) if code == GIVE_UP_CODE => ending.gave_up,
            State::Closed(None) if code == ResetCode::UNREAD.get() => ending.let_go,
            State::Closed(None) => {
                code == ResetCode::CANCELLED.get() && ending.let_go && !ending.gave_up
            }
            State::Closed(Some(error)) => {
                let timed_out = matches!(
                    error,
                    ConnectionError::ConnectTimeout
                        | ConnectionError::PeerUnresponsive
                        | ConnectionError::PathTooNarrow(_)
                        | ConnectionError::IdleTimeout
                        | ConnectionError::LingerTimeout
                        | ConnectionError::PeerRestarted
                );
                timed_out && code == ResetCode::TIMED_OUT.get()
            }
            _ => false,
        }
    }
}

/// The reset code of users that give up.
pub(crate) const GIVE_UP_CODE: u32 = 7;

const MOST_HELLOS: u32 = 5;
const MOST_RESETS: u32 = 4;
