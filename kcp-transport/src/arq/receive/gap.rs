//! An ack that is sent again, for peers that find losses by counting acks.
//!
//! kcp-go v5 kcp.go, `parse_fastack`: a segment is sent again at once when segments after it were
//! acknowledged by as many datagrams as the option `resend` sets, two with kcptun's fast modes. A lost
//! segment that only one other follows is counted once, and costs its sender a time-out. If such a gap
//! lasts longer than paths reorder datagrams, the ack of the segment after it is therefore sent again,
//! once. Peers of this crate find such losses by time.

use std::time::Duration;

use crate::time::Time;
use crate::wire::Timestamp;

/// The ack to be sent again. Its segment is the last that has arrived.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GapAck {
    timestamp: Timestamp,
    /// In milliseconds after the acks before; 0 if no ack is to be sent again.
    wait: u16,
}

impl GapAck {
    /// A segment with this timestamp has arrived that is the only one after a missing one, on a path
    /// whose shortest round trip is `trip`, if known.
    pub(super) fn start(&mut self, timestamp: Timestamp, trip: Option<Duration>) {
        let wait = (trip.unwrap_or_default() / 4).clamp(LEAST_WAIT, MOST_WAIT);
        // At most MOST_WAIT.
        let wait = wait.as_millis() as u16;
        *self = Self { timestamp, wait };
    }

    /// The gap is closed, or several segments have arrived after it.
    pub(super) fn cancel(&mut self) {
        self.wait = 0;
    }

    /// When the ack is due, if the acks before it have waited since `acks_since`.
    pub(super) fn due(&self, acks_since: Time) -> Option<Time> {
        let wait = Duration::from_millis(self.wait.into());
        (self.wait > 0).then(|| acks_since + wait)
    }

    /// The timestamp of the ack; once.
    ///
    /// It is that of the segment. The peer's sample of the round-trip time contains the wait, but a
    /// timestamp that the peer never sent would look forged.
    pub(super) fn take(&mut self) -> Timestamp {
        self.cancel();
        self.timestamp
    }
}

/// kcp-go sends at its ticks, which are ten milliseconds apart or more.
const LEAST_WAIT: Duration = Duration::from_millis(10);

/// Beyond that, the time-out of most peers is near.
const MOST_WAIT: Duration = Duration::from_millis(50);
