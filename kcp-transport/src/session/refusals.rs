//! Reports that no socket listens at the peer's port any more.
//!
//! The system passes on what the peer's host reports (ICMP port unreachable), as an error of a connected
//! socket. An attacker off the path that knows both addresses can forge such a report. So a single one
//! only makes the session probe its peer, whose answer refutes it. Reports end the session if they repeat
//! while the peer is silent.

use std::time::Duration;

use crate::time::Time;

/// The refusals since something authentic was received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    count: u32,
    /// When the first of them was reported.
    since: Time,
    /// Something was sent after the last of them.
    sent: bool,
    /// When the peer was last probed at once because of one.
    probed_at: Option<Time>,
}

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing was sent that it could be about.
    Nothing,
    /// The peer must be probed soon, or at once.
    Doubt { at_once: bool },
    /// The peer is gone.
    End,
}

impl Refusals {
    pub(super) fn on_sent(&mut self) {
        self.sent = true;
    }

    pub(super) fn on_received(&mut self) {
        self.count = 0;
    }

    /// Whether the peer may be gone.
    pub(super) fn are_open(&self) -> bool {
        self.count > 0
    }

    pub(super) fn on_refused(&mut self, now: Time, rto: Duration) -> Meaning {
        if !std::mem::take(&mut self.sent) {
            return Meaning::Nothing;
        }
        if self.count == 0 {
            self.since = now;
        }
        self.count += 1;
        if self.count >= MIN_COUNT && now - self.since >= PATIENCE.max(rto * 2) {
            Meaning::End
        } else {
            // A flood of forged ones must not become a flood of probes.
            let recent = |at: Time| now - at < PROBE_INTERVAL;
            let at_once = !self.probed_at.is_some_and(recent);
            if at_once {
                self.probed_at = Some(now);
            }
            Meaning::Doubt { at_once }
        }
    }
}

/// Refusals that end a session.
const MIN_COUNT: u32 = 3;

/// How long a peer has to refute refusals. A program that restarts listens again by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// The interval between probes of a peer that may be gone: several within that time.
pub(super) const PROBE_INTERVAL: Duration = Duration::from_millis(250);
