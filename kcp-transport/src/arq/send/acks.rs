//! Acknowledgements of segments in flight, and the losses that they show.

use std::time::Duration;

use super::Sender;
use crate::arq::buffers::Buffers;
use crate::arq::loss::{PathModel, Resent, Sent};
use crate::error::DecodeError;
use crate::time::Time;
use crate::wire::{Received, SeqNumber, Timestamp};

/// The result of one acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(in crate::arq) struct Acknowledged {
    /// When the transmission that arrived was sent, if the echoed timestamp identifies it.
    pub(in crate::arq) matched: Option<Time>,
    /// The segment had been sent again for nothing.
    pub(in crate::arq) spurious: bool,
    /// Number of the transmission that arrived, 0 if it is not known.
    pub(in crate::arq) number: u64,
}

impl Sender {
    /// Processes the acknowledgement of one segment, which echoes a timestamp, beside an `una`.
    ///
    /// `stamp` converts a time to its timestamp. Returns `None` if the segment is not outstanding.
    ///
    /// # Errors
    ///
    /// [`DecodeError::EchoesUnsent`] if the segment is outstanding but the echoed time lies outside
    /// of its first and last transmission: the sender of such an ack has not received the segment.
    pub(in crate::arq) fn on_ack(
        &mut self,
        now: Time,
        (sequence, una): (SeqNumber, SeqNumber),
        echo: Timestamp,
        stamp: impl Fn(Time) -> Timestamp,
        buffers: &mut Buffers,
    ) -> Result<Option<Acknowledged>, DecodeError> {
        if let Some(protector) = &mut self.protector {
            protector.on_ack(sequence, echo, una);
        }
        let Some(sent) = self.flight.outstanding(sequence) else {
            return Ok(None);
        };
        let first = stamp(sent.first_sent);
        let age = echo.since(first);
        if age > stamp(sent.last().at).since(first) {
            return Err(DecodeError::EchoesUnsent);
        }
        // Several within a millisecond cannot be told apart.
        let matches = || sent.recent().filter(|it| stamp(it.at) == echo);
        let (oldest, newest) = (matches().last(), matches().next());
        let first_sent = (age == 0).then_some(sent.first_sent);
        let matched = oldest.map(|it| it.at).or(first_sent);
        let spurious = newest.and_then(|newest| sent.resent_after(newest));
        let probed = was_probed(sent);
        if let Some(oldest) = oldest {
            self.rack.on_arrived(oldest.number);
        }
        if let Some(regulator) = &mut self.regulator {
            regulator.on_acked(oldest.map(|it| it.number), sent.wire_len());
        }
        let protector = self.protector.as_ref();
        let is_watched = protector.is_some_and(|it| it.watches(sequence));
        if !is_watched {
            self.path.on_outcome(false);
        }
        match spurious {
            Some(Resent::Lost) => {
                self.rack.on_spurious();
                self.path.on_spurious();
                if let Some(regulator) = &mut self.regulator {
                    regulator.on_spurious(now);
                }
            }
            None if probed && !is_watched => self.path.on_outcome(true),
            _ => {}
        }
        let Some(released) = self.flight.acknowledge(sequence, buffers) else {
            return Ok(None);
        };
        self.buffered -= released;
        self.large.on_arrived(released);
        self.waiting_since = now;
        Ok(Some(Acknowledged {
            matched,
            spurious: spurious.is_some(),
            number: oldest.map_or(0, |it| it.number),
        }))
    }

    /// Processes an `una`: the peer has received everything before it. Returns how many segments it
    /// newly covers, and whether one of them was outstanding.
    pub(in crate::arq) fn on_una(
        &mut self,
        now: Time,
        una: SeqNumber,
        buffers: &mut Buffers,
    ) -> (usize, bool) {
        let (path, large) = (&mut self.path, &mut self.large);
        let protector = self.protector.as_ref();
        let regulator = &mut self.regulator;
        let mut newest = 0;
        let advance = self.flight.advance(una, buffers, |sequence, sent| {
            if !protector.is_some_and(|it| it.watches(sequence)) {
                note_arrival(now, path, sent);
            }
            large.on_arrived(sent.data.len());
            // Of others it is not known which transmission has arrived.
            let number = (sent.transmissions == 1).then(|| sent.last().number);
            newest = newest.max(number.unwrap_or(0));
            if let Some(regulator) = regulator {
                regulator.on_acked(number, sent.wire_len());
            }
        });
        self.rack.on_arrived(newest);
        self.buffered -= advance.bytes;
        if advance.newly_acked > 0 {
            self.waiting_since = now;
        }
        (advance.segments, advance.newly_acked > 0)
    }

    /// Processes what has arrived beyond a gap, from `base` on; `named` is the number of the newest
    /// transmission that acks beside it name. Returns whether one of the segments was outstanding.
    pub(in crate::arq) fn on_received(
        &mut self,
        now: Time,
        (base, named): (SeqNumber, u64),
        received: &Received,
        buffers: &mut Buffers,
    ) -> bool {
        let (mut newest, mut any) = (named, false);
        for sequence in received.offsets().map(|offset| base.advance(offset)) {
            let Some(sent) = self.flight.get(sequence) else {
                continue;
            };
            // Of others it is not known which transmission has arrived.
            let number = (sent.transmissions == 1).then(|| sent.last().number);
            newest = newest.max(number.unwrap_or(0));
            if sent.acked {
                continue;
            }
            any = true;
            self.rack.on_arrived(number.unwrap_or(0));
            if let Some(regulator) = &mut self.regulator {
                regulator.on_acked(number, sent.wire_len());
            }
            let protector = self.protector.as_ref();
            if !protector.is_some_and(|it| it.watches(sequence)) {
                note_arrival(now, &mut self.path, sent);
            }
            let released = self.flight.acknowledge(sequence, buffers).unwrap_or(0);
            self.buffered -= released;
            self.large.on_arrived(released);
        }
        self.rack.on_told(newest);
        if any {
            self.waiting_since = now;
        }
        any
    }

    /// A whole datagram was read that acknowledged something.
    pub(in crate::arq) fn on_acknowledged(&mut self, now: Time, rtt: Option<Duration>) {
        self.timer.on_progress();
        self.detect_losses(now);
        if self.flight.unacked() == 0 {
            self.rack.clear();
        }
        self.check_local(rtt);
        if let Some(regulator) = &mut self.regulator {
            let (flying, first) = (self.flight.flying(), self.rack.first());
            regulator.on_datagram(now, rtt, flying, first, &self.path);
        }
        if let Some(protector) = &mut self.protector {
            protector.drop_acknowledged(&self.flight);
        }
    }

    pub(super) fn detect_losses(&mut self, now: Time) {
        let regulator = &mut self.regulator;
        let mut lost = 0;
        let on_lost = |number, bytes| {
            lost += 1;
            if let Some(regulator) = regulator {
                regulator.on_lost(now, number, bytes);
            }
        };
        self.rack.detect(now, &self.path, &mut self.flight, on_lost);
        for _ in 0..lost {
            self.path.on_outcome(true);
        }
    }
}

/// A segment has arrived of which no ack did. If a probe may have brought it, what was sent before that
/// or its ack was lost; a stall makes acks late by less.
fn note_arrival(now: Time, path: &mut PathModel, sent: &Sent) {
    path.on_outcome(false);
    if was_probed(sent) && now - sent.last().at >= path.current() / 2 {
        path.on_outcome(true);
    }
}

fn was_probed(sent: &Sent) -> bool {
    sent.resent() == Some(Resent::Probe)
}
