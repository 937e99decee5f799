//! Which acks are sent, and when.

use std::time::Duration;

use super::buffer::grow;
use super::{Ack, Receiver};
use crate::arq::options::{AckPolicy, ArqConfig};
use crate::time::Time;
use crate::wire::{Received, SEGMENT_HEADER_LEN};

impl Receiver {
    /// A new segment has arrived, on a path whose shortest round trip is `trip`, if known.
    pub(in crate::arq) fn on_arrival(&mut self, ack: Ack, trip: Option<Duration>) {
        if self.is_told || self.buffer.beyond() != 1 {
            self.gap_ack.cancel();
        } else if ack.sequence >= self.next && !ack.rebuilt {
            self.gap_ack.start(ack.timestamp, trip);
        }
    }

    /// The peer is told of what has arrived beyond gaps.
    pub(in crate::arq) fn set_told(&mut self) {
        self.is_told = true;
        self.gap_ack.cancel();
    }

    /// Sends the ack of the only segment after a gap again, if it is time.
    pub(in crate::arq) fn update(&mut self, now: Time, config: &ArqConfig) {
        if self.has_due_acks() {
            if self.acks_due(config).is_some_and(|at| at <= now) {
                // They are sent now, and the wait begins.
                (self.acks_since, self.acks_now) = (now, true);
            }
        } else if self.gap_ack_at().is_some_and(|at| at <= now) {
            let timestamp = self.gap_ack.take();
            let last = self.buffer.waiting().saturating_sub(1);
            let ack = Ack {
                sequence: self.next.advance(last),
                timestamp,
                rebuilt: false,
            };
            self.push_ack(now, ack);
            self.acks_now = true;
        }
    }

    /// Whether there are acks to be sent, now or later.
    pub(in crate::arq) fn has_acks(&self) -> bool {
        !self.pending_acks.is_empty()
    }

    /// Makes the pending acks due now.
    pub(in crate::arq) fn hasten_acks(&mut self) {
        self.acks_now = !self.pending_acks.is_empty();
    }

    /// When acks are due: the epoch if now, `None` if there are none.
    pub(in crate::arq) fn acks_due(&self, config: &ArqConfig) -> Option<Time> {
        if !self.has_due_acks() {
            return self.gap_ack_at();
        }
        // kcp-go v5 kcp.go, Input: acks that fill a datagram do not wait for the tick.
        let full = self.pending_acks.len() >= config.segments_len / SEGMENT_HEADER_LEN;
        let full = full || self.has_acks_of_half_a_window(config);
        if self.acks_now || full || config.ack_policy == AckPolicy::Immediate {
            return Some(Time::ZERO);
        }
        Some(self.acks_since + config.flush_interval)
    }

    /// Whether the peer may soon have nothing left to send without these acks, and may send on with them.
    ///
    /// While the reader leaves no room they wait: kcp-go sends at once for an ack, but at its next tick for a
    /// window update.
    fn has_acks_of_half_a_window(&self, config: &ArqConfig) -> bool {
        let half = usize::from(config.receive_window).div_ceil(2);
        self.pending_acks.len() >= half && self.window() > 0
    }

    fn gap_ack_at(&self) -> Option<Time> {
        self.gap_ack.due(self.acks_since)
    }

    /// Whether acks are to be sent. That of a rebuilt segment goes with the next of another.
    fn has_due_acks(&self) -> bool {
        self.pending_acks.back().is_some_and(|ack| !ack.rebuilt)
    }

    /// The next ack to send.
    ///
    /// kcp-go v5 kcp.go, flush: acks that `una` covers are left out, except for the last one, which
    /// carries the timestamp. So the last is never that of a rebuilt segment.
    pub(in crate::arq) fn pop_ack(&mut self) -> Option<Ack> {
        while self.pending_acks.back().is_some_and(|ack| !ack.rebuilt)
            && let Some(ack) = self.pending_acks.pop_front()
        {
            if ack.sequence >= self.next || self.pending_acks.is_empty() {
                self.acks_now = !self.pending_acks.is_empty();
                return Some(ack);
            }
        }
        None
    }

    /// The peer has answered after so long, or sooner.
    pub(in crate::arq) fn on_answer(&mut self, trip: Duration) {
        let micros = u32::try_from(trip.as_micros()).unwrap_or(u32::MAX);
        self.trip = self.trip.min(micros);
    }

    /// Whether a [`Received`] may go with the acks: there is a gap, and the last was some time ago.
    pub(in crate::arq) fn wants_received(&self, now: Time) -> bool {
        self.received_at <= now && self.has_gap()
    }

    /// Which segments have arrived after the first missing one; the last `most` of them if they are
    /// further apart.
    ///
    /// Those before were included several times, since a sender does not get so far ahead at once.
    ///
    /// The next may follow after an eighth of the round-trip time, which was measured as `least`: then a
    /// lost ack is made up for before its absence shows a loss.
    pub(in crate::arq) fn take_received(
        &mut self,
        now: Time,
        least: Option<Duration>,
        most: usize,
    ) -> Option<Received> {
        let waiting = self.buffer.waiting();
        let skipped = waiting.saturating_sub(most);
        let mut received = Received::new(self.next.advance(skipped).to_wire());
        for index in skipped..waiting {
            if self.buffer.has(index) {
                received.add(index - skipped);
            }
        }
        if received.is_empty() {
            return None;
        }
        let trip = match self.trip {
            u32::MAX => least.unwrap_or_default(),
            trip => Duration::from_micros(trip.into()).min(least.unwrap_or(Duration::MAX)),
        };
        self.received_at = now + (trip / 8).max(LEAST_RECEIVED_INTERVAL);
        Some(received)
    }

    pub(in crate::arq) fn push_ack(&mut self, now: Time, ack: Ack) {
        // What `una` covers needs no name.
        if ack.rebuilt && ack.sequence < self.next {
            return;
        }
        if !self.has_due_acks() {
            self.acks_since = now;
        }
        // So many pending acks include some for retransmissions. If the dropped ack mattered, the
        // peer will retransmit again.
        let most = self.most_acks as usize;
        if self.pending_acks.len() >= most {
            self.pending_acks.pop_front();
        }
        grow(&mut self.pending_acks, 1, most);
        if ack.rebuilt {
            self.pending_acks.push_front(ack);
        } else {
            self.pending_acks.push_back(ack);
        }
    }
}

/// Between two lists of what has arrived, on a path so short that timers are coarser.
const LEAST_RECEIVED_INTERVAL: Duration = Duration::from_millis(2);
