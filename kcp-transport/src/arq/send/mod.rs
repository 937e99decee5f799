//! The sending half: queued segments, segments in flight, and which of them are due.

mod cork;
mod queue;

use std::time::Duration;

use super::LONG_PAUSE;
use super::buffers::Buffers;
use super::loss::{
    Deadline, Deadlines, Evidence, Flight, LossDetector, MAX_RTO, Resend, Sent, Suspicion,
};
use super::options::{ArqConfig, Mode};
use crate::error::DecodeError;
use crate::time::Time;
use crate::wire::{SeqNumber, Timestamp};
use queue::Queue;

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    New,
    Fast,
    Early,
    Timeout,
}

/// The result of one acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    /// When the transmission that arrived was sent, if the echoed timestamp identifies it.
    pub(super) matched: Option<Time>,
    pub(super) evidence: Evidence,
}

#[derive(Debug)]
pub(super) struct Sender {
    queue: Queue,
    flight: Flight,
    deadlines: Deadlines,
    loss: LossDetector,
    /// Bytes queued and in flight.
    buffered: usize,
    capacity: usize,
    /// Since when outstanding data has waited for an acknowledgement of any part of it.
    waiting_since: Time,
}

impl Sender {
    pub(super) fn new(config: &ArqConfig, first: SeqNumber) -> Self {
        Self {
            queue: Queue::new(config),
            flight: Flight::new(first),
            deadlines: Deadlines::default(),
            loss: LossDetector::new(config.fast_retransmit_after, first),
            buffered: 0,
            capacity: config.send_buffer,
            waiting_since: Time::ZERO,
        }
    }

    pub(super) fn flight(&self) -> &Flight {
        &self.flight
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn has_full_segment(&self) -> bool {
        self.queue.has_full_segment()
    }

    /// Number of bytes that can be queued now.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.saturating_sub(self.buffered)
    }

    pub(super) fn waiting_since(&self) -> Option<Time> {
        (self.flight.unacked() > 0).then_some(self.waiting_since)
    }

    /// When data was last acknowledged, or sent while nothing else was in flight.
    pub(super) fn last_progress(&self) -> Time {
        self.waiting_since
    }

    /// Queues as much of `data` as fits, filling the last segment first in stream mode.
    pub(super) fn write(&mut self, data: &[u8], mode: Mode, buffers: &mut Buffers) -> usize {
        let taken = data.len().min(self.capacity());
        self.queue.write(&data[..taken], mode, buffers);
        self.buffered += taken;
        taken
    }

    /// Queues a whole message.
    pub(super) fn write_message(&mut self, data: &[u8], buffers: &mut Buffers) {
        self.queue.write_message(data, buffers);
        self.buffered += data.len();
    }

    /// Declares that nothing more will be written.
    pub(super) fn finish_writing(&mut self) {
        self.queue.finish();
    }

    /// Processes the acknowledgement of one segment, which echoes a timestamp.
    ///
    /// `stamp` converts a time to its timestamp. Returns `None` if the segment is not outstanding.
    ///
    /// # Errors
    ///
    /// [`DecodeError::EchoesUnsent`] if the segment is outstanding but the echoed time lies outside
    /// of its first and last transmission: the sender of such an ack has not received the segment.
    pub(super) fn on_ack(
        &mut self,
        now: Time,
        sequence: SeqNumber,
        echo: Timestamp,
        stamp: impl Fn(Time) -> Timestamp,
        buffers: &mut Buffers,
    ) -> Result<Option<Acknowledged>, DecodeError> {
        let Some(sent) = self.flight.outstanding(sequence) else {
            return Ok(None);
        };
        let (first, last) = (sent.first_sent, sent.last_sent);
        let age = echo.since(stamp(first));
        let span = stamp(last).since(stamp(first));
        // Without a match it was a transmission in between, so no earlier than the first.
        let matched = match age {
            _ if age > span => return Err(DecodeError::EchoesUnsent),
            _ if age == span => Some(last),
            0 => Some(first),
            _ => None,
        };
        let Some(released) = self.flight.acknowledge(sequence, buffers) else {
            return Ok(None);
        };
        self.buffered -= released;
        self.waiting_since = now;
        let sent = matched.unwrap_or(first);
        Ok(Some(Acknowledged {
            matched,
            evidence: Evidence { sequence, sent },
        }))
    }

    /// Processes an `una`: the peer has received everything before it. Returns how many segments it
    /// newly covers, and whether one of them was outstanding.
    pub(super) fn on_una(
        &mut self,
        now: Time,
        una: SeqNumber,
        buffers: &mut Buffers,
    ) -> (usize, bool) {
        let advance = self.flight.advance(una, buffers);
        self.buffered -= advance.bytes;
        if advance.newly_acked > 0 {
            self.waiting_since = now;
        }
        if advance.segments > 0 {
            self.loss.on_advance(&self.flight);
        }
        (advance.segments, advance.newly_acked > 0)
    }

    /// Concludes a received datagram. `evidence` is the highest segment that it newly acknowledged,
    /// and `moved` is whether it moved `una`.
    pub(super) fn on_datagram(
        &mut self,
        now: Time,
        evidence: Option<Evidence>,
        moved: bool,
        flush_interval: Duration,
    ) {
        let evidence = evidence.filter(|it| it.sequence >= self.flight.una());
        let doubt = evidence.is_some_and(|it| self.loss.on_datagram(it, &mut self.flight));
        if doubt || (moved && self.loss.has_doubts()) {
            self.loss.consider_early(now, moved, flush_interval);
        }
        self.discard_stale_deadlines();
    }

    /// Whether a queued segment fits into a window of `limit` segments.
    pub(super) fn can_send_new(&self, limit: usize) -> bool {
        !self.queue.is_empty() && self.flight.len() < limit
    }

    /// When the next segment is due: the epoch if now.
    pub(super) fn next(&self, limit: usize) -> Option<Time> {
        let new_data = if self.queue.wants_update() {
            Some(Time::ZERO)
        } else {
            let release = self.queue.release(self.flight.len());
            release.filter(|_| self.flight.len() < limit)
        };
        let deadline = self.deadlines.peek().map(|deadline| deadline.at);
        [new_data, self.loss.next(), deadline]
            .into_iter()
            .flatten()
            .min()
    }

    /// Updates what is due, so that [`Self::peek`] finds it.
    pub(super) fn update(&mut self, now: Time, limit: usize, flush_interval: Duration) {
        self.queue.update(now, flush_interval);
        let new_data = self.can_send_new(limit) && self.is_released(now);
        self.loss
            .poll_early(now, new_data, flush_interval, &mut self.flight);
        self.discard_stale_deadlines();
        self.forgive_pause(now);
    }

    fn is_released(&self, now: Time) -> bool {
        self.queue.is_released(now, self.flight.len())
    }

    /// Why the next segment is due, and the length of its data; `None` if none is due. New data is
    /// not held back for coalescing if it can `ride` along in a datagram that is sent anyway.
    pub(super) fn peek(&mut self, now: Time, limit: usize, ride: bool) -> Option<(Cause, usize)> {
        let len = |flight: &Flight, sequence| {
            let sent = flight.outstanding(sequence);
            sent.map_or(0, |sent| sent.data.len())
        };
        if let Some((sequence, resend)) = self.loss.peek_due(&self.flight) {
            let cause = match resend {
                Resend::Fast => Cause::Fast,
                Resend::Early => Cause::Early,
            };
            return Some((cause, len(&self.flight, sequence)));
        }
        if self.deadlines.peek().is_some_and(|next| next.at <= now) {
            // The deadline may be stale, which makes no difference until it has passed.
            self.discard_stale_deadlines();
            if let Some(deadline) = self.deadlines.peek().filter(|next| next.at <= now) {
                return Some((Cause::Timeout, len(&self.flight, deadline.sequence)));
            }
        }
        let front = self.queue.front().filter(|_| self.flight.len() < limit)?;
        (ride || self.is_released(now)).then_some((Cause::New, front.data.len()))
    }

    /// Marks the segment that [`Self::peek`] returned as sent now and returns its number.
    pub(super) fn transmit(
        &mut self,
        now: Time,
        cause: Cause,
        rto: Duration,
        no_delay: bool,
    ) -> Option<SeqNumber> {
        let sequence = match cause {
            Cause::New => return self.transmit_new(now, rto),
            Cause::Fast | Cause::Early => {
                let (sequence, _) = self.loss.peek_due(&self.flight)?;
                self.loss.pop_due(&mut self.flight);
                sequence
            }
            Cause::Timeout => {
                let sequence = self.deadlines.peek()?.sequence;
                self.deadlines.pop();
                self.loss.on_timeout(sequence, &mut self.flight);
                sequence
            }
        };
        let sent = self.flight.outstanding_mut(sequence)?;
        // kcp-go v5 kcp.go, flush: a time-out lengthens the segment's own time-out by the current
        // RTO or half of it; a fast or early retransmit resets it to the RTO.
        sent.rto = match cause {
            Cause::Timeout if no_delay => (sent.rto + rto / 2).min(MAX_RTO),
            Cause::Timeout => (sent.rto + rto).min(MAX_RTO),
            _ => rto,
        };
        sent.last_sent = now;
        sent.transmissions = sent.transmissions.saturating_add(1);
        self.deadlines.push(Deadline {
            at: now + sent.rto,
            sequence,
            transmission: sent.transmissions,
        });
        self.forgive_pause(now);
        Some(sequence)
    }

    fn transmit_new(&mut self, now: Time, rto: Duration) -> Option<SeqNumber> {
        let queued = self.queue.pop()?;
        let sequence = self.flight.next();
        if self.flight.unacked() == 0 {
            self.waiting_since = now;
        }
        self.flight.push(Sent {
            data: queued.data,
            first_sent: now,
            last_sent: now,
            rto,
            transmissions: 1,
            later_acks: 0,
            fragments_left: queued.fragments_left,
            acked: false,
            suspicion: Suspicion::Unsuspected,
        });
        self.deadlines.push(Deadline {
            at: now + rto,
            sequence,
            transmission: 1,
        });
        Some(sequence)
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink();
        self.flight.shrink();
        self.deadlines.shrink();
        self.loss.shrink();
    }

    /// Whether a time-out passed so long ago that this side must have been suspended.
    pub(super) fn is_overdue(&self, now: Time) -> bool {
        let deadline = self.deadlines.peek();
        deadline.is_some_and(|deadline| deadline.at + LONG_PAUSE < now)
    }

    fn discard_stale_deadlines(&mut self) {
        if self.flight.unacked() == 0 {
            self.deadlines.clear();
            return;
        }
        while let Some(deadline) = self.deadlines.peek() {
            let sent = self.flight.outstanding(deadline.sequence);
            if sent.is_some_and(|sent| sent.transmissions == deadline.transmission) {
                return;
            }
            self.deadlines.pop();
        }
    }

    /// Extends time-outs that passed long ago, except for the oldest segment's.
    ///
    /// Such a delay means that this side was suspended, and acks may be waiting unread.
    /// Retransmitting one segment is enough to learn the peer's state; retransmitting the whole
    /// window would be a burst into a path that may have lost nothing.
    fn forgive_pause(&mut self, now: Time) {
        while let Some(deadline) = self.deadlines.peek()
            && deadline.at + LONG_PAUSE < now
            && deadline.sequence > self.flight.una()
        {
            self.deadlines.pop();
            let sent = self.flight.outstanding(deadline.sequence);
            if let Some(sent) = sent.filter(|sent| sent.transmissions == deadline.transmission) {
                let at = now + sent.rto;
                self.deadlines.push(Deadline { at, ..deadline });
            }
        }
    }

    /// Number of segments examined for losses.
    #[cfg(test)]
    pub(super) fn loss_steps(&self) -> usize {
        self.loss.steps
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        let segments = self.queue.memory() + self.flight.memory();
        segments + self.deadlines.memory() + self.loss.memory()
    }
}
