//! Checks from outside that time-outs expire when they must.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::error::ConnectionError;
use kcp_transport::session::{Session, State};
use kcp_transport::time::Time;
use kcp_transport::wire::{Command, Segments, ShardHeader, ShardKind};

/// What the time-outs of a session count from, all in its host's time.
#[derive(Debug)]
pub(crate) struct TimeoutOracle {
    opened: Time,
    acked: u64,
    in_flight: usize,
    /// When something was acknowledged last, or began to wait for it.
    progress: Time,
    /// When a datagram came last, and a valid one.
    heard: Time,
    understood: Time,
    sense: (u64, u64),
    /// Data segments that were received and not needed.
    useless: u64,
    /// When the peer answered first, last advertised a window of zero, or may have delivered new
    /// data.
    excused: Time,
    state: Option<State>,
    state_since: Time,
    /// When its host went on after a pause.
    resumed: Option<Time>,
    /// One of both sides gave up.
    pub(crate) cut_short: bool,
}

impl TimeoutOracle {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            opened: now,
            acked: 0,
            in_flight: 0,
            progress: now,
            heard: now,
            understood: now,
            sense: (0, 0),
            useless: 0,
            excused: now,
            state: None,
            state_since: now,
            resumed: None,
            cut_short: false,
        }
    }

    /// The host goes on after a pause: what its peer sent meanwhile is yet to be read.
    pub(crate) fn resume(&mut self, now: Time) {
        self.resumed = Some(now);
    }

    /// Notes the state of the session; an error that came too early is a violation.
    pub(crate) fn note(
        &mut self,
        session: &Session,
        config: &Config,
        fell_back: Option<Time>,
        now: Time,
    ) -> Result<(), String> {
        let stats = session.stats();
        let state = session.state();
        if self.state != Some(state) {
            self.check_error(session, config, fell_back, now)?;
            if self.state == Some(State::Connecting) {
                self.excused = now;
            }
            self.state = Some(state);
            self.state_since = now;
        }
        let acked = stats.data_segments_sent - stats.in_flight as u64;
        if acked > self.acked || (self.in_flight == 0 && stats.in_flight > 0) {
            self.progress = now;
        }
        self.acked = acked;
        self.in_flight = stats.in_flight;
        Ok(())
    }

    /// How long the session has been given no datagram.
    pub(crate) fn silence(&self, now: Time) -> Duration {
        now - self.heard
    }

    /// The session was given a datagram.
    pub(crate) fn on_datagram(&mut self, session: &Session, payload: &[u8], now: Time) {
        let stats = session.stats();
        let (invalid, sense) = self.sense;
        let told = stats.segments_received + stats.out_of_band_received;
        self.heard = now;
        // What parity rebuilds is not distinguished here.
        let taken = stats.duplicates_received + stats.out_of_window_received;
        let delivered = taken == self.useless && has_data(payload);
        self.useless = taken;
        if stats.remote_window == 0 || delivered || stats.fec_parity_received > 0 {
            self.excused = now;
        }
        // A challenge does not answer a probe.
        let connecting = session.state() == State::Connecting;
        if stats.invalid_received == invalid && told > sense && !connecting {
            self.understood = now;
        }
        self.sense = (stats.invalid_received, told);
    }

    fn check_error(
        &self,
        session: &Session,
        config: &Config,
        fell_back: Option<Time>,
        now: Time,
    ) -> Result<(), String> {
        if session.state() == State::Closed(None) && !session.is_drained() && !self.cut_short {
            // A session dropped before it was connected had sent no data.
            let waited = match self.state {
                None | Some(State::Connecting) => return Ok(()),
                Some(State::Lingering) => now - self.state_since.max(self.progress),
                Some(_) => Duration::ZERO,
            };
            // The peer's time-outs may have expired before, or it may have lost its state; neither is
            // reported to a user that has dropped the session.
            let restarted = fell_back.is_some_and(|at| now - at >= RESTART_PATIENCE);
            let silent = (now - self.progress).max(now - self.understood);
            let limits = [config.user_timeout(), config.idle_timeout()];
            let timed_out = limits
                .into_iter()
                .flatten()
                .any(|it| silent + TOLERANCE >= it);
            if waited + TOLERANCE < config.linger() && !timed_out && !restarted {
                return Err(format!("lets go of unacknowledged data after {waited:?}"));
            }
        }
        let State::Closed(Some(error)) = session.state() else {
            return Ok(());
        };
        let waited = match error {
            ConnectionError::ConnectTimeout => Some((now - self.opened, config.connect_timeout())),
            ConnectionError::PeerUnresponsive | ConnectionError::PathTooNarrow(_) => config
                .user_timeout()
                .map(|limit| ((now - self.progress).max(now - self.understood), limit)),
            // Parity alone is no sign of life, and is not distinguished here.
            ConnectionError::IdleTimeout if session.stats().fec_parity_received == 0 => config
                .idle_timeout()
                .map(|limit| (now - self.understood, limit)),
            ConnectionError::LingerTimeout => {
                Some((now - self.state_since.max(self.progress), config.linger()))
            }
            _ => None,
        };
        if let Some((waited, limit)) = waited
            && waited + TOLERANCE < limit
        {
            return Err(format!("{error:?} after {waited:?} of {limit:?}"));
        }
        Ok(())
    }

    /// An error that should have come by now is a violation.
    pub(crate) fn check_overdue(
        &self,
        session: &Session,
        config: &Config,
        now: Time,
    ) -> Result<(), String> {
        let overdue = |since: Time, limit: Option<Duration>, what: &str| {
            let after_pause =
                |at: Time| now - at > REPRIEVE.max(session.stats().rto * 16) + TOLERANCE;
            if limit.is_some_and(|limit| now - since > limit + TOLERANCE)
                && self.resumed.is_none_or(after_pause)
            {
                return Err(format!("no {what} after {:?} of {limit:?}", now - since));
            }
            Ok(())
        };
        let state = session.state();
        match state {
            State::Closed(_) => return Ok(()),
            State::Connecting => {
                return overdue(
                    self.opened,
                    Some(config.connect_timeout()),
                    "connect time-out",
                );
            }
            State::Draining | State::Lingering => {
                let since = self.progress.max(self.state_since);
                overdue(since, Some(config.linger()), "linger time-out")?;
            }
            _ => {}
        }
        // A peer that advertises a window of zero may drop what it receives.
        if self.in_flight > 0 && session.stats().remote_window > 0 {
            overdue(
                self.progress.max(self.excused),
                config.user_timeout(),
                "user time-out",
            )?;
        }
        overdue(self.heard, config.idle_timeout(), "idle time-out")
    }
}

/// Whether one of the segments carries data.
fn has_data(payload: &[u8]) -> bool {
    let segments = match ShardHeader::detect(payload) {
        None => Some(payload),
        Some((header, shard)) if header.kind == ShardKind::Data => ShardHeader::body(shard).ok(),
        Some(_) => None,
    };
    Segments::new(segments.unwrap_or_default())
        .map_while(Result::ok)
        .any(|(header, _)| header.command == Command::Push)
}

/// After a pause a peer has this long to answer, also if it seems to have restarted.
const REPRIEVE: Duration = Duration::from_secs(20);

/// A peer that seems to have restarted is probed for at least this long.
const RESTART_PATIENCE: Duration = Duration::from_secs(2);

/// How exact time-outs are.
const TOLERANCE: Duration = Duration::from_secs(1);
