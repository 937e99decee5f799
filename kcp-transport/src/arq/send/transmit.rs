//! Which segment is sent next, and what changes when it is.

use super::Sender;
use super::regulate::Regulator;
use crate::arq::congestion::Model;
use crate::arq::loss::{Protector, RECENT, Resend, Resent, Sent, Transmission};
use crate::arq::options::{Congestion, Redundancy};
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SeqNumber, Timestamp};

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::arq) enum Cause {
    New,
    Fast,
    Early,
    Timeout,
    /// It may be needed.
    Copy,
}

impl Sender {
    /// Why the next segment is due, and the length of its data; `None` if none is due. New data is
    /// not held back for coalescing if it can `ride` along in a datagram that is sent anyway.
    pub(in crate::arq) fn peek(
        &mut self,
        now: Time,
        limit: usize,
        ride: bool,
    ) -> Option<(Cause, usize)> {
        let is_open = self.is_open(now);
        if let Some((sequence, resend)) = self.rack.peek_due(&self.flight)
            && (is_open || resend == Resend::Probe)
        {
            let cause = match resend {
                Resend::Probe => Cause::Timeout,
                Resend::Fast => Cause::Fast,
                Resend::Early => Cause::Early,
            };
            let sent = self.flight.outstanding(sequence);
            return Some((cause, sent.map_or(0, |sent| sent.data.len())));
        }
        if let Some(sequence) = self.peek_copy(now) {
            let sent = self.flight.outstanding(sequence);
            return Some((Cause::Copy, sent.map_or(0, |sent| sent.data.len())));
        }
        let has_room = is_open && self.flight.len() < limit;
        let front = self.queue.front().filter(|_| has_room)?;
        (ride || self.is_released(now)).then_some((Cause::New, front.data.len()))
    }

    /// Whether the next copy is of the segment that opens a session.
    pub(in crate::arq) fn copies_opening(&mut self, now: Time) -> bool {
        let first = self.flight.first();
        self.opens_session && self.peek_copy(now).is_some_and(|it| it.to_wire() == first)
    }

    /// Does not send the next copy.
    pub(in crate::arq) fn drop_copy(&mut self, now: Time) {
        if let Some(sequence) = self.peek_copy(now)
            && let Some(protector) = &mut self.protector
        {
            protector.drop_copies(sequence);
        }
    }

    fn peek_copy(&mut self, now: Time) -> Option<SeqNumber> {
        self.protector.as_mut()?.peek(now, &self.flight)
    }

    /// Marks the segment that [`Self::peek`] returned as sent now and returns its number. `stamp`
    /// gives the timestamp of a time.
    pub(in crate::arq) fn transmit(
        &mut self,
        now: Time,
        cause: Cause,
        stamp: impl Fn(Time) -> Timestamp,
    ) -> Option<SeqNumber> {
        match cause {
            Cause::New => self.transmit_new(now),
            Cause::Copy => self.transmit_copy(now, stamp),
            Cause::Fast | Cause::Early | Cause::Timeout => self.transmit_again(now),
        }
    }

    fn transmit_again(&mut self, now: Time) -> Option<SeqNumber> {
        let (sequence, resend) = self.rack.peek_due(&self.flight)?;
        self.rack.pop_due();
        self.timer.on_sent(now);
        let resent = match resend {
            Resend::Probe => Resent::Probe,
            Resend::Fast | Resend::Early => Resent::Lost,
        };
        let bytes = self.flight.outstanding(sequence)?.wire_len();
        let transmission = self.count_sent(now, sequence, bytes);
        let sent = self.flight.on_sent_again(sequence, transmission, resent)?;
        let most = self.queue.mss();
        self.large.on_sent_again(now, sent.data.len(), most);
        if let Some(protector) = &mut self.protector {
            protector.on_sent(sent.data.len());
            if resent == Resent::Lost && self.queue.is_empty() {
                protector.on_resent(now, &self.path, sequence);
            }
        }
        Some(sequence)
    }

    fn transmit_copy(&mut self, now: Time, stamp: impl Fn(Time) -> Timestamp) -> Option<SeqNumber> {
        let sequence = self.peek_copy(now)?;
        let sent = self.flight.outstanding(sequence)?;
        let is_first = sent.transmissions == 1;
        let stamps = is_first.then(|| [stamp(sent.first_sent), stamp(now)]);
        let protector = self.protector.as_mut()?;
        protector.on_copied(now, sequence, sent.data.len(), &self.path, stamps);
        let bytes = sent.wire_len();
        let transmission = self.count_sent(now, sequence, bytes);
        self.flight.on_copied(sequence, transmission);
        Some(sequence)
    }

    fn transmit_new(&mut self, now: Time) -> Option<SeqNumber> {
        let queued = self.queue.pop()?;
        let sequence = self.flight.next();
        self.sent_full |= queued.data.len() >= self.queue.mss();
        if self.flight.unacked() == 0 {
            self.waiting_since = now;
        }
        self.timer.on_sent(now);
        if self.redundancy != Redundancy::Off {
            let (redundancy, mss) = (self.redundancy, self.queue.mss());
            let is_marked = self.has_room_for_mark(queued.data.len());
            let opening = Some(sequence).filter(|_| self.opens_session && !is_marked);
            let new = || {
                let mut protector = Protector::new(redundancy, mss);
                if let Some(opening) = opening {
                    protector.exclude(opening);
                }
                Box::new(protector)
            };
            let protector = self.protector.get_or_insert_with(new);
            protector.on_sent(queued.data.len());
            protector.on_new(sequence);
        }
        if self.regulator.is_none() && !self.is_local {
            self.regulator = self.new_regulator(now);
        }
        let bytes = (queued.data.len() + SEGMENT_HEADER_LEN) as u64;
        let transmission = self.count_sent(now, sequence, bytes);
        let sent = Sent::new(queued.data, queued.fragments_left, transmission);
        self.flight.push(sent);
        Some(sequence)
    }

    /// Whether a copy of a segment with so much data can be marked as one.
    fn has_room_for_mark(&self, len: usize) -> bool {
        let mark = usize::from(self.mark_len);
        mark > 0 && len + SEGMENT_HEADER_LEN + mark <= self.queue.mss()
    }

    /// Counts a transmission of a segment that takes so many bytes.
    fn count_sent(&mut self, now: Time, sequence: SeqNumber, bytes: u64) -> Transmission {
        let transmission = self.rack.on_sent(sequence, now);
        if let Some(regulator) = &mut self.regulator {
            let flying = self.flight.flying();
            regulator.on_sent(now, transmission.number, bytes, flying);
            regulator.keep(RECENT * (self.flight.len() + 1));
        }
        transmission
    }

    /// Nothing more is laid out for now.
    pub(in crate::arq) fn on_flushed(&mut self, now: Time, limit: usize) {
        if (self.queue.is_empty() || self.flight.len() >= limit)
            && let Some(regulator) = &mut self.regulator
        {
            regulator.on_limited(self.flight.flying());
        }
        if self.queue.is_empty()
            && let Some(protector) = &mut self.protector
        {
            protector.on_flushed(now, &self.path, self.flight.unacked());
        }
    }

    /// What limits the flow besides KCP's windows, if anything does.
    fn new_regulator(&mut self, now: Time) -> Option<Box<Regulator>> {
        let path = self.path_info(now);
        self.check_local(path.round_trip);
        if self.congestion != Congestion::Model || self.is_local {
            return None;
        }
        let controller = Box::new(Model::new(&path));
        Some(Box::new(Regulator::new(controller, path.segment_len)))
    }
}
