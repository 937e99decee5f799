//! What is sent, in which order, and when.

use super::amplification::Allowance;
use super::extension::Extension;
use super::{Session, trace};
use crate::arq::is_traced;
use crate::fec::FecEncoder;
use crate::packet::TransmitBatch;
use crate::time::Time;
use crate::wire::{FrameWriter, SEGMENT_HEADER_LEN};

impl Session {
    /// Lays out due datagrams until `batch` is full or the send rate requires a pause. Returns
    /// whether there were any.
    ///
    /// Call it until it returns `false`. Out-of-band datagrams go first, then the parity of the
    /// last FEC group, then acks and probes, then data; control segments and data take turns where
    /// a datagram has no room for both. A probe of the path's mtu goes last: kcp-go acknowledges of
    /// what it has received in order only the last segment by its number.
    pub fn poll_transmit(&mut self, now: Time, batch: &mut TransmitBatch) -> bool {
        let before = (batch.len(), batch.total_len());
        if self.lifetime.is_closed() {
            self.push_final_reset(now, batch);
        } else {
            let mut run = false;
            while batch.remaining() > 0 && self.push(now, batch, before.1, &mut run) {}
            self.check_path_mtu(now);
        }
        let added = batch.len() - before.0;
        self.counters.datagrams_sent += added as u64;
        self.counters.bytes_sent += (batch.total_len() - before.1) as u64;
        if added > 0 {
            self.lifetime.on_transmit();
            self.start_hellos(now);
            self.note_activity(now);
        }
        added > 0
    }

    /// When [`Session::handle_timeout`] or [`Session::poll_transmit`] must be called next; `None`
    /// if not before something is received, read or written.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.lifetime.is_closed() {
            return self.final_reset_at();
        }
        let lifetime = self.lifetime.poll_timeout(&self.liveness_inputs());
        [self.transmit_at(), lifetime, self.window_request_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether [`Session::poll_transmit`] would lay out something now.
    #[must_use]
    pub fn is_due(&self, now: Time) -> bool {
        self.transmit_at().is_some_and(|at| at <= now)
    }

    /// When something is due and may be sent.
    fn transmit_at(&self) -> Option<Time> {
        let validation = self.validation.as_ref();
        if let Some(until) = validation.and_then(|it| it.blocked_until()) {
            return until;
        }
        let waiting = self.out_of_band.as_ref().is_some_and(|it| it.is_due())
            || self.encoder.as_ref().is_some_and(|it| it.has_parity());
        let at = if waiting {
            Time::ZERO
        } else {
            [
                self.arq.poll_timeout(),
                self.frame_at(),
                self.path_probe_at(),
            ]
            .into_iter()
            .flatten()
            .min()?
        };
        let paced = self.pacer.as_ref().map(|pacer| at.max(pacer.ready_at()));
        Some(paced.unwrap_or(at))
    }

    /// Adds one datagram if one is due and allowed by the send rate and the address validation. The
    /// first `counted` bytes of the batch are already included in the counters. In a `run`, no segments
    /// but data are due.
    fn push(
        &mut self,
        now: Time,
        batch: &mut TransmitBatch,
        counted: usize,
        run: &mut bool,
    ) -> bool {
        if self.pacer.as_mut().is_some_and(|it| !it.is_ready(now)) {
            return false;
        }
        let before = batch.total_len();
        let allowance = self.allowance(batch, counted);
        let pushed = match allowance {
            Allowance::Full => {
                self.push_out_of_band(batch) > 0
                    || self.push_parity(batch) > 0
                    || (*run && self.push_data(now, batch) > 0)
                    || self.push_segments(now, batch, usize::MAX, run) > 0
                    || self.push_path_probe(now, batch) > 0
            }
            Allowance::Control => {
                self.push_challenge(now, batch) > 0
                    || self.push_segments(now, batch, SEGMENT_HEADER_LEN, run) > 0
            }
            Allowance::Challenge => self.push_challenge(now, batch) > 0,
            Allowance::Nothing => false,
        };
        if !pushed && allowance != Allowance::Full {
            self.hold_back(now, allowance);
        }
        let len = batch.total_len() - before;
        if let Some(pacer) = &mut self.pacer {
            pacer.spend(len);
        }
        if pushed && is_traced() {
            trace::datagram(self.arq.conversation(), len, "datagram out");
        }
        pushed
    }

    fn push_parity(&mut self, batch: &mut TransmitBatch) -> usize {
        let Some(encoder) = &mut self.encoder else {
            return 0;
        };
        let pushed = batch.push_with(|packet| encoder.take_parity(packet));
        self.counters.parity_sent += u64::from(pushed > 0);
        pushed
    }

    /// Adds a datagram of data.
    fn push_data(&mut self, now: Time, batch: &mut TransmitBatch) -> usize {
        let header = self.layout.shard_header();
        let arq = &mut self.arq;
        let encoder = &mut self.encoder;
        batch.push_with(|packet| {
            let used = arq.poll_transmit_data(now, &mut packet[header..]);
            finish(now, encoder, packet, header, used)
        })
    }

    /// Adds a datagram of at most `room` bytes of segments, and decides whether a run begins.
    fn push_segments(
        &mut self,
        now: Time,
        batch: &mut TransmitBatch,
        room: usize,
        run: &mut bool,
    ) -> usize {
        let (header, limit) = (self.layout.shard_header(), self.layout.mss());
        let arq = &mut self.arq;
        let encoder = &mut self.encoder;
        // A datagram that is limited to control segments has no room for frames.
        let due = |it: &&mut Box<Extension>| {
            room > limit && (it.is_due(now) || (it.announces_received() && arq.wants_received(now)))
        };
        let opening = self.extension.as_ref().filter(|_| arq.is_opening());
        let mark = opening.and_then(|it| it.opening_mark(limit));
        let mut extension = self.extension.as_mut().filter(due);
        batch.push_with(|packet| {
            let end = packet.len().min(header.saturating_add(room));
            let mark = mark.as_ref().map_or(&[][..], FrameWriter::payload);
            let mut used = 0;
            if arq.is_data_next() {
                // Frames may be due every time and leave no room for data.
                used = arq.poll_transmit_marked(now, &[], mark, &mut packet[header..end]);
            }
            if used == 0 {
                let frames = extension
                    .as_mut()
                    .map(|extension| extension.fill_with_acks(now, arq, limit));
                let frames = frames.as_ref().map_or(&[][..], FrameWriter::payload);
                used = arq.poll_transmit_marked(now, frames, mark, &mut packet[header..end]);
            }
            *run = extension.is_none() && room > limit && arq.is_only_data_left();
            finish(now, encoder, packet, header, used)
        })
    }
}

/// Adds a payload of so many bytes to the FEC group. Returns the length of the packet.
fn finish(
    now: Time,
    encoder: &mut Option<Box<FecEncoder>>,
    packet: &mut [u8],
    header: usize,
    used: usize,
) -> usize {
    if used == 0 {
        return 0;
    }
    if let Some(encoder) = encoder {
        encoder.encode(now, &mut packet[..header + used]);
    }
    header + used
}
