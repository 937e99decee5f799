//! Handling received payloads.

use std::num::NonZeroU32;
use std::time::Duration;

use super::receive::{Ack, Arrival};
use super::send::Acknowledged;
use super::{Arq, Outcome, Provenance, stamp, trace};
use crate::error::DecodeError;
use crate::time::Time;
use crate::wire::{Command, Received, SegmentHeader, Segments, SeqNumber};

/// The combined effect of the segments of one datagram.
///
/// `una` is applied after all segments: it usually arrives together with the acks that it covers,
/// and only the acks carry timestamps.
struct DatagramSummary {
    now: Time,
    from: Provenance,
    /// The newest `una`, never older than the one known before.
    una: SeqNumber,
    /// Whether at least one segment was neither outdated nor sent by a restarted peer.
    current: bool,
    /// Whether a segment was newly acknowledged by itself.
    acked: bool,
    sample: Option<Duration>,
    /// Number of the newest transmission that an ack names, 0 without any.
    newest: u64,
    /// Whether a [`Received`] was read.
    received: bool,
    segments: u64,
    outcome: Outcome,
}

impl Arq {
    /// Reads all segments of one datagram's payload.
    ///
    /// # Errors
    ///
    /// [`DecodeError::AcknowledgesUnsent`] if any segment does: nothing of the datagram is used.
    ///
    /// Another [`DecodeError`] for the first segment that cannot be decoded, belongs to another
    /// conversation or echoes a time at which nothing was sent. That segment and those after it are
    /// ignored; those before it have been processed.
    pub fn handle_payload(
        &mut self,
        now: Time,
        payload: &[u8],
        from: Provenance,
    ) -> Result<Outcome, DecodeError> {
        self.handle_payload_with(now, payload, from, &mut |_| None)
    }

    /// As [`Self::handle_payload`]. The payload of window updates, which has no meaning in KCP, is
    /// passed to `extension`, which returns what that acknowledges beyond a gap. A peer sends one such
    /// value in a datagram, so of several the first counts.
    ///
    /// # Errors
    ///
    /// As [`Self::handle_payload`]. [`DecodeError::AcknowledgesUnsent`] also for what `extension`
    /// returned, with the segments before having been processed.
    pub fn handle_payload_with(
        &mut self,
        now: Time,
        payload: &[u8],
        from: Provenance,
        extension: &mut impl FnMut(&[u8]) -> Option<Received>,
    ) -> Result<Outcome, DecodeError> {
        let mut summary = DatagramSummary {
            now,
            from,
            una: self.send.flight().una(),
            current: false,
            acked: false,
            sample: None,
            newest: 0,
            received: false,
            segments: 0,
            outcome: Outcome::default(),
        };
        trace::input(payload);
        let mut segments = Segments::new(payload);
        let mut next = segments.next();
        if self.acknowledges_unsent(next.as_ref(), &segments) {
            return Err(DecodeError::AcknowledgesUnsent);
        }
        self.notice_time(now);
        let mut error = None;
        while let Some(segment) = next {
            let read = segment.and_then(|(header, data)| {
                self.handle_segment(&header, data, &mut summary, extension)
            });
            if let Err(refusal) = read {
                error = Some(refusal);
                break;
            }
            next = segments.next();
        }
        self.conclude(&mut summary);
        error.map_or(Ok(summary.outcome), Err)
    }

    /// Whether `payload` consists only of whole segments of this conversation.
    pub(crate) fn is_whole(&self, payload: &[u8]) -> bool {
        let is_ours =
            |(header, _): (SegmentHeader, &[u8])| header.conversation == self.conversation;
        Segments::new(payload).all(|segment| segment.is_ok_and(is_ours))
    }

    /// Whether one of the segments acknowledges data that was never sent.
    ///
    /// kcp-go v5 kcp.go, parse_una: accepts any una and drops queued data, which leaves an
    /// undetected hole in the stream.
    fn acknowledges_unsent(
        &self,
        first: Option<&Result<(SegmentHeader, &[u8]), DecodeError>>,
        others: &Segments<'_>,
    ) -> bool {
        let flight = self.send.flight();
        let (una, next) = (flight.una(), flight.next());
        let is_ours = |header: &SegmentHeader| header.conversation == self.conversation;
        let is_unsent = |header: &SegmentHeader| una.widen(header.unacknowledged) > next;
        let Some(Ok((first, _))) = first else {
            return false;
        };
        let mut others = others
            .clone()
            .map_while(Result::ok)
            .map(|(header, _)| header);
        is_ours(first)
            && (is_unsent(first)
                || others
                    .by_ref()
                    .take_while(is_ours)
                    .any(|header| is_unsent(&header)))
    }

    fn handle_segment(
        &mut self,
        header: &SegmentHeader,
        data: &[u8],
        summary: &mut DatagramSummary,
        extension: &mut impl FnMut(&[u8]) -> Option<Received>,
    ) -> Result<(), DecodeError> {
        if header.conversation != self.conversation {
            return Err(DecodeError::ForeignConversation);
        }
        if summary.from == Provenance::Contested {
            // A payload rebuilt with a wrong ratio looks valid except for its sequence numbers, and
            // few wrong numbers match a missing segment.
            if header.command == Command::Push && self.receive.misses(header.sequence) {
                summary.segments += 1;
                self.handle_push(header, data, summary);
            }
            return Ok(());
        }
        let una = self.send.flight().una().widen(header.unacknowledged);
        summary.segments += 1;
        summary.current |= self.is_current(header, una);
        if una >= summary.una {
            summary.una = una;
            // kcp-go v5 kcp.go, Input: takes the window from any direct packet. An old packet may
            // carry a zero window long after the window has opened.
            if summary.from == Provenance::Direct {
                self.send.set_remote_window(header.window);
                self.remote_capacity = self.remote_capacity.max(Some(header.window));
            }
        }
        match header.command {
            Command::Push => self.handle_push(header, data, summary),
            Command::Ack => return self.handle_ack(header, summary),
            Command::WindowProbe => self.probe.announce(),
            Command::WindowUpdate => {
                summary.outcome.answered = true;
                if summary.from == Provenance::Direct
                    && let Some((first, last)) = self.probe.on_announced(summary.now)
                {
                    self.on_handshake(first, last);
                }
                if !data.is_empty()
                    && let Some(received) = extension(data)
                    && !summary.received
                {
                    return self.handle_received(&received, summary);
                }
            }
        }
        Ok(())
    }

    /// Whether the segment agrees with what the peer has already acknowledged.
    ///
    /// An `una` older than one seen before does not. Neither does an open window while the peer
    /// still waits for a segment that it has acknowledged: that is a restarted peer, which took a
    /// retransmission of an earlier segment for the first one.
    fn is_current(&self, header: &SegmentHeader, una: SeqNumber) -> bool {
        let flight = self.send.flight();
        let forgotten = una == flight.una() && flight.is_first_acked() && header.window > 0;
        una >= flight.una() && !forgotten
    }

    fn handle_push(&mut self, header: &SegmentHeader, data: &[u8], summary: &mut DatagramSummary) {
        let ack = Ack {
            sequence: self.receive.next().widen(header.sequence),
            timestamp: header.timestamp,
            rebuilt: summary.from != Provenance::Direct,
        };
        let arrival = self.receive.on_push(
            summary.now,
            ack,
            header.fragments_left,
            data,
            &mut self.buffers,
        );
        match arrival {
            Arrival::New => {
                self.probe.on_data();
                let trip = self.send.path().least();
                self.receive.on_arrival(ack, trip);
                if ack.rebuilt && ack.sequence < self.receive.next() {
                    // No ack follows, so a window update carries `una`.
                    self.probe.announce();
                }
                summary.outcome.delivered = true;
                summary.outcome.discarded |= self.receive.is_discarding();
            }
            Arrival::Duplicate => self.counters.duplicates_received += 1,
            Arrival::OutOfWindow => {
                self.counters.out_of_window_received += 1;
                // kcp-go v5 kcp.go, Input: silently drops such a segment. Its sender assumes that
                // there is room, and without an answer would eventually time out.
                if self.receive.window() == 0 {
                    self.probe.announce();
                }
            }
        }
    }

    /// kcp-go v5 kcp.go, Input: accepts any ack of a segment in flight, and computes the round-trip
    /// time from whatever timestamp the ack echoes.
    fn handle_ack(
        &mut self,
        header: &SegmentHeader,
        summary: &mut DatagramSummary,
    ) -> Result<(), DecodeError> {
        let sequence = self.send.flight().una().widen(header.sequence);
        let offset = self.timestamp_offset;
        let una = self.send.flight().una().widen(header.unacknowledged);
        let acked = self.send.on_ack(
            summary.now,
            (sequence, una),
            header.timestamp,
            |time| stamp(time, offset),
            &mut self.buffers,
        )?;
        summary.outcome.answered = true;
        let Some(Acknowledged {
            matched,
            spurious,
            number,
        }) = acked
        else {
            return Ok(());
        };
        summary.newest = summary.newest.max(number);
        summary.acked = true;
        summary.outcome.acknowledged = true;
        self.counters.spurious_retransmitted += u64::from(spurious);
        if let Some(sent) = matched {
            summary.outcome.validated = true;
            if sent >= self.woke_at {
                summary.sample = Some(summary.now - sent);
            }
        }
        Ok(())
    }

    /// Acknowledges the segments that have arrived beyond a gap, as an ack of each would, but for the
    /// round-trip time: it is not known which transmission has arrived, nor when.
    fn handle_received(
        &mut self,
        received: &Received,
        summary: &mut DatagramSummary,
    ) -> Result<(), DecodeError> {
        let flight = self.send.flight();
        let base = flight.una().widen(received.base());
        if base.advance(received.len()) > flight.next() {
            return Err(DecodeError::AcknowledgesUnsent);
        }
        summary.received = true;
        // The peer sends this with the acks of what arrived last.
        let from = (base, summary.newest);
        let acked = self
            .send
            .on_received(summary.now, from, received, &mut self.buffers);
        summary.acked |= acked;
        summary.outcome.acknowledged |= acked;
        Ok(())
    }

    fn conclude(&mut self, summary: &mut DatagramSummary) {
        let now = summary.now;
        self.counters.segments_received += summary.segments;
        let direct = summary.from == Provenance::Direct;
        if direct && let Some(sample) = summary.sample {
            self.send.path_mut().on_sample(now, sample);
        }
        if direct && summary.segments > 0 {
            self.una_regressed = match self.una_regressed {
                _ if summary.current => None,
                Some((since, _)) => {
                    let micros = u32::try_from((now - since).as_micros()).unwrap_or(u32::MAX);
                    Some((since, NonZeroU32::MIN.saturating_add(micros)))
                }
                None => Some((now, NonZeroU32::MIN)),
            };
        }
        summary.outcome.readable = self.receive.readable();
        let moves = summary.una > self.send.flight().una();
        if !moves && !summary.acked {
            // Most datagrams of a one-way stream acknowledge nothing new.
            return;
        }
        let (moved, acknowledged) = self.send.on_una(now, summary.una, &mut self.buffers);
        if moved > 0 {
            // Newly acknowledged data is proof of the peer's state, even if rebuilt from parity.
            self.una_regressed = None;
            if let Some(congestion) = &mut self.congestion {
                congestion.on_advance(self.send.flight().remote_window());
            }
            self.receive.hasten_acks();
        }
        if acknowledged || summary.acked {
            self.send
                .on_acknowledged(now, summary.sample.filter(|_| direct));
        }
        summary.outcome.acknowledged |= acknowledged;
    }
}
