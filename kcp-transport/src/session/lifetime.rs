//! How a connection begins, notices that its peer is gone, and ends.
//!
//! KCP has no SYN, FIN or RST. What there is: a window probe is answered by every KCP peer at any
//! time, also as the first packet of a conversation. Connecting and keepalive rest on that.

use std::time::Duration;

use crate::config::Config;
use crate::error::ConnectionError;
use crate::time::Time;
use crate::wire::ConversationId;

use super::Role;

/// Where a session is in its life.
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
    /// The peer was asked for a sign of life and has not answered.
    Connecting,
    /// Data flows both ways.
    Established,
    /// No more writes; not everything is acknowledged.
    Draining,
    /// No more writes; everything is acknowledged. Reads go on.
    Drained,
    /// The user has let go; the session ends when all is acknowledged and the peer is silent.
    Lingering,
    /// Over: with an error, or because the user let go.
    Closed(Option<ConnectionError>),
}

/// What the rest of the session looks like, as far as its life depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LivenessInputs {
    /// Nothing queued, nothing unacknowledged.
    pub(super) drained: bool,
    /// And the peer knows that this was all, if it can know.
    pub(super) settled: bool,
    /// Both sides know that the other has received all there will ever be.
    pub(super) finished: bool,
    /// Bytes wait for the reader.
    pub(super) readable: bool,
    /// Since when sent data waits without progress.
    pub(super) unacknowledged_since: Option<Time>,
    /// When the peer last acknowledged something new.
    pub(super) last_progress: Time,
    /// The peer has no room.
    pub(super) shut: bool,
    /// Data waits for the peer to open its window.
    pub(super) blocked: bool,
    /// The peer acknowledges less than it once did.
    pub(super) regressed: bool,
    /// Current retransmission time-out.
    pub(super) rto: Duration,
}

/// What a passed deadline asks of the session.
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
    /// When the last plausible datagram came; until then, when the session was made.
    last_received: Time,
    heard: bool,
    next_probe: Option<Time>,
    probe_interval: Duration,
    /// When the present state began; read only in those with a limit.
    state_since: Time,
    blocked_since: Option<Time>,
    /// Until when nothing was to be expected of the peer: it was not heard yet, or had no room.
    excused_until: Time,
    /// What [`LivenessInputs::drained`] and [`LivenessInputs::settled`] were, and when they came true.
    drained: bool,
    drained_at: Time,
    settled: bool,
    settled_at: Time,
    /// The peer was asked whether it still acknowledges less than it once did.
    suspected: bool,
    /// The end was noticed long after it was due, and the peer has until then to answer.
    reprieve: Option<Time>,
    /// When memory is given back; `None` once that is done.
    shrink_at: Option<Time>,
}

/// The configured times, kept small: a server holds many of these.
#[derive(Debug)]
struct Limits {
    keepalive: Option<Duration>,
    user: Option<Duration>,
    idle: Option<Duration>,
    connect: Duration,
    linger: Duration,
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
            limits: Limits {
                keepalive: config.keepalive(),
                user: config.user_timeout(),
                idle: config.idle_timeout(),
                connect: config.connect_timeout(),
                linger: config.linger(),
            },
            last_received: now,
            heard: false,
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
            shrink_at: None,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    fn enter(&mut self, state: State) {
        let (conv, from) = (self.conversation.get(), self.state);
        tracing::debug!(conv, ?from, to = ?state, "session changes state");
        self.state = state;
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    pub(super) fn close(&mut self, error: ConnectionError) {
        if !self.is_closed() {
            // Who let go is not interested in why the rest failed.
            let lingering = self.state == State::Lingering;
            self.enter(State::Closed((!lingering).then_some(error)));
        }
    }

    /// The user gives the session up.
    pub(super) fn give_up(&mut self) {
        self.enter(State::Closed(None));
    }

    pub(super) fn on_received(&mut self, now: Time) {
        self.last_received = now;
        self.heard = true;
        if self.state == State::Connecting {
            self.enter(State::Established);
            self.excused_until = now;
        }
        if !self.suspected {
            self.next_probe = self.limits.keepalive.map(|interval| now + interval);
        }
    }

    pub(super) fn on_refused(&mut self) {
        if !self.heard {
            self.close(ConnectionError::Refused);
        }
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
                // Nothing can have been written that anyone waits for.
                self.enter(State::Closed(None));
                return;
            }
            self.enter(State::Lingering);
            self.state_since = now;
        }
    }

    /// Follows what happened in the rest of the session.
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
            // Nothing else may be on its way that would tell a restarted peer from reordering, or
            // from somebody who plays one.
            let probe_at = now + MIN_REGRESSION.max(inputs.rto * 2);
            self.next_probe = Some(self.next_probe.map_or(probe_at, |at| at.min(probe_at)));
        } else if self.suspected && !inputs.regressed {
            let last = self.last_received;
            self.next_probe = self.limits.keepalive.map(|interval| last + interval);
        }
        self.suspected = inputs.regressed;
    }

    /// The session did something: its buffers are wanted for a while longer.
    pub(super) fn note_activity(&mut self, now: Time) {
        self.shrink_at = Some(now + SHRINK_AFTER);
    }

    pub(super) fn handle_timeout(&mut self, now: Time, inputs: &LivenessInputs) -> Action {
        if let Some((at, error)) = self.end(inputs)
            && now >= at
        {
            // What was over before the present state began is not noticed late.
            if now - at.max(self.state_since) > LONG_PAUSE {
                // It was this side that slept. What the peer sent may be waiting to be read, and
                // what it would answer was not asked.
                self.reprieve = Some(now + REPRIEVE.max(inputs.rto * 2));
                return Action::Probe;
            }
            match error {
                Some(error) => self.close(error),
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
        } else if self.suspected {
            Some(restart_probe_interval(inputs.rto))
        } else {
            // A probe or its answer may be lost: ask more often until something comes.
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

    fn shrink_due(&self, inputs: &LivenessInputs) -> Option<Time> {
        self.shrink_at
            .filter(|_| inputs.drained && !inputs.readable)
    }

    /// When the session ends if nothing happens before, and with what.
    fn end(&self, inputs: &LivenessInputs) -> Option<(Time, Option<ConnectionError>)> {
        let user = self.limits.user.and_then(|limit| {
            // What was sent before the connection stood has a time-out of its own. A peer that says
            // that it has no room is there: it may drop what was sent before it said so, or because
            // somebody said otherwise in its name.
            let unacknowledged = inputs.unacknowledged_since;
            let since = [
                unacknowledged.map(|since| since.max(self.excused_until)),
                self.blocked_since
                    .map(|since| since.max(self.last_received)),
            ];
            let since = since.into_iter().flatten().min()?;
            Some((since + limit, Some(ConnectionError::PeerUnresponsive)))
        });
        let idle = self.limits.idle.map(|limit| {
            (
                self.last_received + limit,
                Some(ConnectionError::IdleTimeout),
            )
        });
        let phase = match self.state {
            State::Connecting => Some((
                self.state_since + self.limits.connect,
                Some(ConnectionError::ConnectTimeout),
            )),
            State::Draining => Some((
                self.linger_until(inputs),
                Some(ConnectionError::LingerTimeout),
            )),
            State::Lingering => Some((self.linger_until(inputs).min(self.quiet_at(inputs)), None)),
            State::Established | State::Drained | State::Closed(_) => None,
        };
        // Connecting has its own deadline, which may be longer than the others.
        let silence = if self.state == State::Connecting {
            [None, None]
        } else {
            [user, idle]
        };
        silence
            .into_iter()
            .chain([phase])
            .flatten()
            .min_by_key(|(at, _)| *at)
            .map(|(at, error)| (self.reprieve.map_or(at, |until| until.max(at)), error))
    }

    /// The linger time counts from the last progress, so that a slow path or reader alone ends
    /// nothing.
    fn linger_until(&self, inputs: &LivenessInputs) -> Time {
        let progress = if inputs.drained {
            self.drained_at
        } else {
            inputs.last_progress
        };
        progress.max(self.state_since) + self.limits.linger
    }

    /// When an abandoned session whose data is acknowledged has heard nothing for long enough.
    ///
    /// Until then it repeats acknowledgements the peer may have missed: without them a peer that
    /// shuts down at the same time could not finish.
    fn quiet_at(&self, inputs: &LivenessInputs) -> Time {
        if inputs.finished {
            // What may still come is a repetition of the peer's end, if our answer to it was lost.
            self.last_received + (inputs.rto * 8).clamp(MIN_FINISHED_QUIET, MAX_QUIET)
        } else if inputs.settled {
            // Not before it was settled, which may take longer than silence would.
            let silent = self.last_received + (inputs.rto * 16).clamp(MIN_QUIET, MAX_QUIET);
            silent.max(self.settled_at)
        } else {
            Time::from_micros(u64::MAX)
        }
    }
}

/// Wait before the first repetition of a connecting side's window probe; each is twice the one
/// before.
///
/// Nothing is known of the path yet, and a probe has some 60 bytes: to repeat it a few times for
/// nothing on a long path costs less than to wait long for a lost one on a short path.
const FIRST_CONNECT_PROBE: Duration = Duration::from_millis(50);

/// Repetitions slow down to this, so that a lost answer costs a second at most.
const MAX_CONNECT_PROBE: Duration = Duration::from_secs(1);

/// Unanswered keepalives are not repeated faster than this.
const MIN_KEEPALIVE_REPEAT: Duration = Duration::from_millis(100);

/// An idle session keeps its buffers for this long, so that pauses in a busy one cost nothing.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// A peer on a short path retransmits about a dozen times within this time: even if every third
/// datagram is lost, one of them and its acknowledgement come through.
const MIN_QUIET: Duration = Duration::from_secs(3);

/// Long enough for as many on a long path.
const MAX_QUIET: Duration = Duration::from_secs(15);

/// A peer that misses one answer repeats its end a few times within this.
const MIN_FINISHED_QUIET: Duration = Duration::from_millis(500);

/// How late an end is noticed before it counts as this side's own pause.
///
/// Far beyond what a busy machine delays a timer.
const LONG_PAUSE: Duration = Duration::from_secs(1);

/// How long a peer has to answer after such a pause: some retransmissions on a usual path.
const REPRIEVE: Duration = Duration::from_secs(3);

/// How long a peer must seem to have restarted until it has.
///
/// Reordering also makes `una` look old, but not for longer than a retransmission takes. Then the
/// peer is asked: one that lives answers with its true `una`, whatever anyone else says in its
/// name. It is asked eight times, so that losing a third of all packets ends no connection.
pub(super) fn restart_patience(rto: Duration) -> Duration {
    MIN_REGRESSION.max(rto * 2) + restart_probe_interval(rto) * 8
}

/// Between two of these questions.
fn restart_probe_interval(rto: Duration) -> Duration {
    MIN_RESTART_PROBE.max(rto * 2)
}

/// Questions are not repeated faster than this.
const MIN_RESTART_PROBE: Duration = Duration::from_millis(200);

/// Reordering never makes `una` look old for this long unless nothing newer arrives.
const MIN_REGRESSION: Duration = Duration::from_millis(500);
