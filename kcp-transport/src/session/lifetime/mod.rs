//! The life cycle of a connection: how it opens, detects a dead peer, and ends.
//!
//! KCP has no SYN, FIN or RST. But every KCP peer answers a window probe at any time, even as the
//! first packet of a conversation. Connecting and keepalive are built on that.

mod ending;

use std::io::ErrorKind;
use std::time::Duration;

use crate::config::Config;
use crate::error::{ConnectionError, ResetCode, SystemError};
use crate::time::Time;
use crate::wire::ConversationId;

use super::Role;
use super::refusals::{self, Meaning, Refusals};

/// The state of a session's life cycle.
///
/// ```text
///   Connecting --answer--> Established --shutdown--> Draining --all acknowledged--> Drained
///       |                       |                       |                             |
///       |                       +-------abandon---------+----------abandon------------+
///       |                       |                       v
///       |                       |                   Lingering --acknowledged and silent--+
///       |                       |                       |                                |
///       +------time-outs--------+------time-outs--------+                                |
///                               v                                                        v
///                         Closed(Some(error))                                      Closed(None)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// The peer was probed and has not answered.
    Connecting,
    /// Data flows both ways.
    Established,
    /// The writing side is closed; not everything is acknowledged.
    Draining,
    /// The writing side is closed; everything is acknowledged. Reads continue.
    Drained,
    /// The user has released the session; it ends when all is acknowledged and the peer is silent.
    Lingering,
    /// Ended: with an error, or without one because the user released the session.
    Closed(Option<ConnectionError>),
}

/// The state of the rest of the session, as far as the life cycle depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LivenessInputs {
    /// Nothing is queued or unacknowledged.
    pub(super) drained: bool,
    /// Drained, and the peer knows the end of our stream, if it supports ends.
    pub(super) settled: bool,
    /// Both sides have received everything and know the end of the other's stream.
    pub(super) finished: bool,
    /// The peer supports extensions.
    pub(super) extended: bool,
    /// Data waits for the reader.
    pub(super) readable: bool,
    /// Since when sent data has been unacknowledged without progress.
    pub(super) unacknowledged_since: Option<Time>,
    /// The size of a probe of the path that the peer has acknowledged since then.
    pub(super) probe_passed: Option<u16>,
    /// When the peer last acknowledged something new.
    pub(super) last_progress: Time,
    /// The peer's window is zero.
    pub(super) shut: bool,
    /// Data waits for the peer's window to open.
    pub(super) blocked: bool,
    /// The peer acknowledges less than it did before.
    pub(super) regressed: bool,
    /// Current retransmission time-out.
    pub(super) rto: Duration,
}

/// What the session must do after a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    None,
    Probe,
    Shrink,
}

#[derive(Debug)]
pub(super) struct Lifetime {
    state: State,
    /// For tracing only.
    conversation: ConversationId,
    limits: Limits,
    /// When the last valid datagram was received, or the session was created.
    last_received: Time,
    heard: bool,
    /// This side opened the session.
    opens: bool,
    /// Why the peer has no room for the session now, if it has never answered otherwise.
    rejected: Option<ResetCode>,
    refusals: Refusals,
    /// Why the last datagrams could not be sent, if they could not.
    unsent: Option<SystemError>,
    next_probe: Option<Time>,
    probe_interval: Duration,
    /// When the current state began. Used only in states with a time limit.
    state_since: Time,
    blocked_since: Option<Time>,
    /// Until when missing acknowledgements are excused: the peer had not answered yet, had no room,
    /// or has delivered new data.
    excused_until: Time,
    /// The last [`LivenessInputs::drained`] and [`LivenessInputs::settled`], and when they became
    /// true.
    drained: bool,
    drained_at: Time,
    settled: bool,
    settled_at: Time,
    /// The peer seems to have restarted, and is probed.
    suspected: bool,
    /// An end was handled long after it was due, so the peer has until this time to answer.
    reprieve: Option<Time>,
    /// The endpoint closes once its sessions have ended.
    hastened: bool,
    /// The session has a socket to itself, which its end frees.
    alone: bool,
    /// When unused memory is released; `None` once that is done.
    shrink_at: Option<Time>,
}

/// The configured times only, to be small: a server holds many of these.
#[derive(Debug)]
struct Limits {
    keepalive: Option<Duration>,
    user: Option<Duration>,
    idle: Option<Duration>,
    connect: Duration,
    linger: Duration,
}

impl Limits {
    fn new(config: &Config) -> Self {
        Self {
            keepalive: config.keepalive(),
            user: config.user_timeout(),
            idle: config.idle_timeout(),
            connect: config.connect_timeout(),
            linger: config.linger(),
        }
    }
}

impl Lifetime {
    pub(super) fn new(
        config: &Config,
        conversation: ConversationId,
        role: Role,
        now: Time,
    ) -> Self {
        let connecting = role == Role::Connect;
        Self {
            state: if connecting {
                State::Connecting
            } else {
                State::Established
            },
            conversation,
            limits: Limits::new(config),
            last_received: now,
            heard: false,
            opens: role != Role::Accept,
            rejected: None,
            refusals: Refusals::default(),
            unsent: None,
            next_probe: if connecting {
                Some(now + FIRST_CONNECT_PROBE)
            } else {
                config.keepalive().map(|interval| now + interval)
            },
            probe_interval: FIRST_CONNECT_PROBE,
            state_since: now,
            blocked_since: None,
            excused_until: now,
            drained: true,
            drained_at: now,
            settled: true,
            settled_at: now,
            suspected: false,
            reprieve: None,
            hastened: false,
            alone: false,
            shrink_at: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    fn enter(&mut self, state: State) {
        let (conversation, from) = (self.conversation, self.state);
        tracing::debug!(%conversation, ?from, to = ?state, "session changes state");
        self.state = state;
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    /// Datagrams left the session.
    pub(super) fn on_transmit(&mut self) {
        self.refusals.on_sent();
        self.unsent = None;
    }

    /// The system did not send them.
    ///
    /// As in TCP, that ends a connection whose very first datagrams have no way to the peer, and is
    /// otherwise only remembered: routes flap, buffers run out.
    pub(super) fn on_unsent(&mut self, error: SystemError) {
        self.unsent = Some(error);
        let first = self.state == State::Connecting && self.probe_interval == FIRST_CONNECT_PROBE;
        let no_way = matches!(
            error.kind(),
            ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable
        );
        if first && no_way {
            self.close(ConnectionError::Unreachable(error));
        }
    }

    /// The reason of a time-out that has passed: that of the system, if it has reported one, or the
    /// path, if probes arrive that are smaller than the data.
    fn time_out(&mut self, error: ConnectionError, inputs: &LivenessInputs) {
        let error = match (error, inputs.probe_passed) {
            (ConnectionError::PeerUnresponsive, Some(size)) => ConnectionError::PathTooNarrow(size),
            (error, _) => error,
        };
        let silence = matches!(
            error,
            ConnectionError::ConnectTimeout
                | ConnectionError::PeerUnresponsive
                | ConnectionError::IdleTimeout
        );
        let rejected = self.rejected.filter(|_| silence && !self.heard);
        let unsent = self.unsent.filter(|_| silence);
        let known = rejected.map(ConnectionError::Rejected);
        self.close(
            known
                .or(unsent.map(ConnectionError::Unreachable))
                .unwrap_or(error),
        );
    }

    pub(super) fn close(&mut self, error: ConnectionError) {
        if !self.is_closed() {
            // A user that has released the session does not receive the error.
            let lingering = self.state == State::Lingering;
            self.enter(State::Closed((!lingering).then_some(error)));
        }
    }

    /// The user gives up the session.
    pub(super) fn give_up(&mut self) {
        self.enter(State::Closed(None));
    }

    pub(super) fn on_received(&mut self, now: Time) {
        self.last_received = now;
        self.heard = true;
        self.refusals.on_received();
        self.unsent = None;
        if self.state == State::Connecting {
            self.enter(State::Established);
            self.excused_until = now;
        }
        if !self.suspected {
            self.next_probe = self.limits.keepalive.map(|interval| now + interval);
        }
    }

    /// New data of the peer was received.
    ///
    /// Its acknowledgements may wait behind that data, in a queue that takes longer than the user
    /// time-out to drain. A peer that receives nothing has no more new data than fits into its
    /// window.
    pub(super) fn on_delivered(&mut self, now: Time) {
        self.excused_until = now;
    }

    /// Whether the peer was received.
    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    /// The peer's host refuses our datagrams. Returns whether the peer must be probed now.
    pub(super) fn on_refused(&mut self, now: Time, rto: Duration) -> bool {
        if !self.heard {
            self.close(ConnectionError::Refused);
            return false;
        }
        match self.refusals.on_refused(now, rto) {
            Meaning::Nothing => false,
            Meaning::Doubt { at_once } => {
                let probe_at = now + refusals::PROBE_INTERVAL;
                self.next_probe = Some(self.next_probe.map_or(probe_at, |at| at.min(probe_at)));
                at_once
            }
            Meaning::End => {
                self.close(ConnectionError::PeerGone);
                false
            }
        }
    }

    /// The peer has reset the session, or refuses one that it does not have yet.
    ///
    /// Room may be made until the connect time-out passes, as for a SYN that TCP drops: bursts of
    /// connections wait, and a peer that stays full is named by the error.
    pub(super) fn on_reset(&mut self, code: ResetCode) {
        let refuses = self.opens && !self.heard;
        match code {
            ResetCode::BACKLOG_FULL | ResetCode::OVER_BUDGET if refuses => {
                self.rejected = Some(code);
            }
            ResetCode::GOING_AWAY if refuses => self.close(ConnectionError::Rejected(code)),
            // A session that was opened may be reset before anything else is received.
            _ => self.close(ConnectionError::Reset(code)),
        }
    }

    pub(super) fn hasten(&mut self) {
        self.hastened = true;
    }

    pub(super) fn set_alone(&mut self) {
        self.alone = true;
    }

    /// Whether the session ends although the peer may still send.
    pub(super) fn leaves_peer(&self, inputs: &LivenessInputs) -> bool {
        self.hastened && !inputs.finished
    }

    /// Changes the time limits, except for that of connecting.
    pub(super) fn set_limits(&mut self, config: &Config) {
        let connect = self.limits.connect;
        self.limits = Limits {
            connect,
            ..Limits::new(config)
        };
        if self.state != State::Connecting && !self.suspected {
            let last = self.last_received;
            self.next_probe = self.limits.keepalive.map(|interval| last + interval);
        }
    }

    pub(super) fn limit_connecting(&mut self, limit: Duration) {
        self.limits.connect = self.limits.connect.min(limit);
    }

    pub(super) fn start_drain(&mut self, now: Time) {
        if matches!(self.state, State::Connecting | State::Established) {
            self.enter(State::Draining);
            self.state_since = now;
        }
    }

    pub(super) fn abandon(&mut self, now: Time) {
        if !matches!(self.state, State::Lingering | State::Closed(_)) {
            if self.state == State::Connecting {
                // Nothing sent so far can be expected to arrive.
                self.enter(State::Closed(None));
                return;
            }
            self.enter(State::Lingering);
            self.state_since = now;
        }
    }

    /// Updates the life cycle after a change of the rest of the session.
    pub(super) fn update(&mut self, now: Time, inputs: &LivenessInputs) {
        if inputs.drained && !self.drained {
            self.drained_at = now;
        }
        if inputs.settled && !self.settled {
            self.settled_at = now;
        }
        (self.drained, self.settled) = (inputs.drained, inputs.settled);
        if inputs.shut {
            self.excused_until = self.last_received;
        }
        let lingered = inputs.drained && now >= self.linger_until(inputs);
        if self.state == State::Draining && (inputs.settled || lingered) {
            self.enter(State::Drained);
        }
        self.blocked_since = if inputs.blocked {
            self.blocked_since.or(Some(now))
        } else {
            None
        };
        if inputs.regressed && !self.suspected {
            // Without a probe, no packet may arrive that distinguishes a restarted peer from
            // reordering or from forged packets.
            let probe_at = now + MIN_REGRESSION.max(inputs.rto * 2);
            self.next_probe = Some(self.next_probe.map_or(probe_at, |at| at.min(probe_at)));
        } else if self.suspected && !inputs.regressed {
            let last = self.last_received;
            self.next_probe = self.limits.keepalive.map(|interval| last + interval);
        }
        self.suspected = inputs.regressed;
    }

    /// Records that the session was used, so that it keeps its buffers for that long.
    pub(super) fn note_activity(&mut self, now: Time, keeps_buffers: Duration) {
        self.shrink_at = Some(now + keeps_buffers);
    }

    pub(super) fn handle_timeout(&mut self, now: Time, inputs: &LivenessInputs) -> Action {
        if let Some((at, error)) = self.end(inputs)
            && now >= at
        {
            // A deadline before the current state began does not count as late.
            if now - at.max(self.state_since) > LONG_PAUSE {
                // This side was suspended. Packets of the peer may wait to be received, and probes
                // were not sent.
                self.reprieve = Some(now + REPRIEVE.max(inputs.rto * 2));
                return Action::Probe;
            }
            match error {
                Some(error) => self.time_out(error, inputs),
                None => self.enter(State::Closed(None)),
            }
            return Action::None;
        }
        if self.next_probe.is_some_and(|at| now >= at) {
            self.schedule_probe(now, inputs);
            return Action::Probe;
        }
        if self.shrink_due(inputs).is_some_and(|at| now >= at) {
            self.shrink_at = None;
            return Action::Shrink;
        }
        Action::None
    }

    fn schedule_probe(&mut self, now: Time, inputs: &LivenessInputs) {
        let interval = if self.state == State::Connecting {
            self.probe_interval = (self.probe_interval * 2).min(MAX_CONNECT_PROBE);
            Some(self.probe_interval)
        } else if self.refusals.are_open() {
            Some(refusals::PROBE_INTERVAL)
        } else if self.suspected {
            Some(restart_probe_interval(inputs.rto))
        } else {
            // A probe or its answer may be lost: probe more often until something is received.
            self.limits
                .keepalive
                .map(|interval| (interval / 4).max(MIN_KEEPALIVE_REPEAT))
        };
        self.next_probe = interval.map(|interval| now + interval);
    }

    pub(super) fn poll_timeout(&self, inputs: &LivenessInputs) -> Option<Time> {
        let end = self.end(inputs).map(|(at, _)| at);
        [end, self.next_probe, self.shrink_due(inputs)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the buffers were freed, and the session was not used since.
    #[cfg(feature = "tokio")]
    pub(super) fn is_shrunk(&self) -> bool {
        self.shrink_at.is_none()
    }

    fn shrink_due(&self, inputs: &LivenessInputs) -> Option<Time> {
        self.shrink_at
            .filter(|_| inputs.drained && !inputs.readable)
    }
}

/// Wait before the first repetition of a connecting side's window probe; each is twice the one
/// before.
///
/// The path's round-trip time is not known yet, and a probe has about 60 bytes. A few unnecessary
/// repetitions on a long path cost less than a long wait for a lost probe on a short one.
const FIRST_CONNECT_PROBE: Duration = Duration::from_millis(50);

/// Longest interval between repetitions, so that a lost answer costs a second at most.
const MAX_CONNECT_PROBE: Duration = Duration::from_secs(1);

/// Shortest interval between unanswered keepalives.
const MIN_KEEPALIVE_REPEAT: Duration = Duration::from_millis(100);

/// An end that is handled later than this counts as a pause of this side.
///
/// It is far above the timer delay of a busy machine.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// How long a peer has to answer after such a pause: several retransmissions on a usual path.
const REPRIEVE: Duration = Duration::from_secs(3);

/// How long a peer must appear restarted before it is taken to be.
///
/// Reordering also makes `una` appear old, but not for longer than a retransmission takes. After
/// that the peer is probed: a live peer answers with its true `una`, whatever forged packets
/// contain. It is probed eight times, so that a loss of a third of all packets ends no connection.
pub(super) fn restart_patience(rto: Duration) -> Duration {
    MIN_REGRESSION.max(rto * 2) + restart_probe_interval(rto) * 8
}

/// The interval between these probes.
fn restart_probe_interval(rto: Duration) -> Duration {
    MIN_RESTART_PROBE.max(rto * 2)
}

/// Shortest interval between these probes.
const MIN_RESTART_PROBE: Duration = Duration::from_millis(200);

/// Reordering never makes `una` appear old for this long unless nothing newer arrives.
const MIN_REGRESSION: Duration = Duration::from_millis(500);
