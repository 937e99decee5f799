//! The size of datagrams: probes that find it, and what follows from a change.
//!
//! A probe is a data segment whose number the peer has received before, with as much padding as it
//! takes. Every KCP peer acknowledges such a segment, since its first acknowledgement may be lost,
//! and delivers nothing. It has no FEC header: parity, which is as long as the longest datagram of
//! its group, would not pass either. Probes are not retransmitted, and their loss is no sign of
//! congestion.

mod search;

pub(super) use search::PathMtu;

use super::{Session, State};
use crate::packet::TransmitBatch;
use crate::time::Time;
use crate::wire::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Segments};

impl Session {
    /// The largest datagram with data at present, in bytes of UDP payload.
    #[must_use]
    pub fn path_mtu(&self) -> usize {
        self.path_mtu.current()
    }

    /// The system refused a datagram because it is longer than the path allows.
    ///
    /// If a probe is under way, that one was meant: its size is not used. Otherwise datagrams become
    /// smaller, and larger ones are probed again.
    pub fn handle_too_long(&mut self, _now: Time) {
        self.path_mtu.on_too_long();
        self.apply_path_mtu();
    }

    /// The datagrams take another path from now on. Their size is found anew.
    pub fn handle_new_path(&mut self) {
        self.path_mtu.on_new_path();
        self.apply_path_mtu();
    }

    /// Cuts data so that datagrams have the present size.
    pub(super) fn apply_path_mtu(&mut self) {
        let layout = self.layout;
        let segments_len = |mtu: usize| mtu - (layout.mtu() - layout.segments_len());
        let current = segments_len(self.path_mtu.current());
        let narrower = self.path_mtu.narrower();
        let narrower = if narrower < self.path_mtu.current() {
            segments_len(narrower)
        } else {
            current
        };
        self.arq.set_segments_len(current, narrower);
    }

    /// Falls back to smaller datagrams if large ones do not arrive any more.
    pub(super) fn check_path_mtu(&mut self, now: Time) {
        let timeouts = self.arq.timeouts_in_row();
        let lost = self.arq.large_lost(now);
        if self.path_mtu.check(timeouts, lost) {
            self.apply_path_mtu();
        }
    }

    /// When a probe is due.
    pub(super) fn path_probe_at(&self) -> Option<Time> {
        self.path_mtu.next().filter(|_| self.may_probe_path())
    }

    /// Whether the peer has answered, so that it acknowledges probes, and data is still sent.
    fn may_probe_path(&self) -> bool {
        let is_open = self.lifetime.state() == State::Established || !self.arq.is_drained();
        is_open && self.validation.is_none() && self.lifetime.is_heard()
    }

    /// Adds a probe if one is due.
    pub(super) fn push_path_probe(&mut self, now: Time, batch: &mut TransmitBatch) -> usize {
        if self.arq.take_full() {
            self.path_mtu.on_full(now);
        }
        if !self.may_probe_path() || self.path_mtu.next().is_none_or(|at| at > now) {
            return 0;
        }
        let Some((size, number, name)) = self.path_mtu.poll(now, self.arq.in_flight() > 0) else {
            return 0;
        };
        let overhead = self.layout.overhead();
        let len = size - overhead.front - overhead.back;
        let mut probe = self.arq.repeated_push(number);
        // At most a datagram's length.
        probe.payload_len = (len - SEGMENT_HEADER_LEN) as u32;
        if let Some((sequence, timestamp)) = name {
            (probe.sequence, probe.timestamp) = (sequence, timestamp);
        }
        let name = (probe.sequence, probe.timestamp);
        self.path_mtu.on_sent(now, self.arq.rto(), name);
        batch.push_probe_with(|packet| {
            probe.encode(packet);
            packet[SEGMENT_HEADER_LEN..len].fill(0);
            len
        })
    }

    /// Checks whether received segments acknowledge a probe.
    pub(super) fn check_path_probe(&mut self, now: Time, segments: &[u8]) {
        self.path_mtu.on_received();
        let Some(awaited) = self.path_mtu.awaited() else {
            return;
        };
        let echoes = |header: SegmentHeader| {
            header.command == Command::Ack && (header.sequence, header.timestamp) == awaited
        };
        let mut headers = Segments::new(segments).map_while(Result::ok);
        if headers.any(|(header, _)| echoes(header)) {
            self.path_mtu.on_acknowledged(now);
            self.apply_path_mtu();
        }
    }
}
