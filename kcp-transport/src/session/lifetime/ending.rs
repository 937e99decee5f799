//! When a session ends by itself.

use std::time::Duration;

use crate::error::ConnectionError;
use crate::time::Time;

use super::{Lifetime, LivenessInputs, State};

impl Lifetime {
    /// When the session ends unless something happens before, and with which error.
    pub(super) fn end(&self, inputs: &LivenessInputs) -> Option<(Time, Option<ConnectionError>)> {
        let user = self.limits.user.and_then(|limit| {
            // Data sent before the connection was established is subject to the connect time-out. A
            // peer that advertises a zero window is alive: it may drop data that was sent before
            // its announcement, or because of a forged announcement.
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
        // Connecting has a deadline of its own, which may be longer than the others.
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

    /// The linger time counts from the last progress, so that a slow path or reader alone does not
    /// end the session.
    pub(super) fn linger_until(&self, inputs: &LivenessInputs) -> Time {
        let progress = if inputs.drained {
            self.drained_at
        } else {
            inputs.last_progress
        };
        progress.max(self.state_since) + self.limits.linger
    }

    /// When an abandoned session whose data is acknowledged has received nothing for long enough.
    ///
    /// Until then it repeats acknowledgements that the peer may have missed. Without them a peer
    /// that shuts down at the same time could not finish.
    fn quiet_at(&self, inputs: &LivenessInputs) -> Time {
        let (times, shortest) = match (inputs.finished, self.alone) {
            _ if !inputs.settled => return Time::from_micros(u64::MAX),
            // As a closing connection of QUIC (RFC 9000, 10.2).
            _ if self.hastened => (3, Duration::ZERO),
            // The peer may repeat its end once if our answer was lost. After that, it learns no more
            // from a socket than from a closed one; nor does a peer that receives no end frame.
            (finished, true) if finished || !inputs.extended => (2, Duration::ZERO),
            (true, _) => (8, MIN_FINISHED_QUIET),
            _ => (16, MIN_QUIET),
        };
        let quiet = (inputs.rto * times).clamp(shortest, MAX_QUIET);
        // Not before the session is settled, which may take longer than the silence.
        (self.last_received + quiet).max(self.settled_at)
    }
}

/// A peer on a short path retransmits about a dozen times within this time. Even if every third
/// datagram is lost, one retransmission and its acknowledgement arrive.
const MIN_QUIET: Duration = Duration::from_secs(3);

/// Long enough for as many retransmissions on a long path.
const MAX_QUIET: Duration = Duration::from_secs(15);

/// A peer that missed the answer to its end repeats the end a few times within this time.
const MIN_FINISHED_QUIET: Duration = Duration::from_millis(500);
