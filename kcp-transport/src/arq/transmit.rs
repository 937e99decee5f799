//! Payloads out.

use super::send::Cause;
use super::{Arq, trace};
use crate::time::Time;
use crate::wire::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

/// A datagram payload being filled.
struct Payload<'a> {
    out: &'a mut [u8],
    len: usize,
    /// Bytes kept free.
    reserved: usize,
}

impl Payload<'_> {
    fn has_room(&self, data: usize) -> bool {
        self.out.len() >= self.len + SEGMENT_HEADER_LEN + data + self.reserved
    }

    /// Adds a segment; the caller has made sure of the room.
    fn push(&mut self, header: &SegmentHeader, data: &[u8]) {
        let (head, rest) = self.out[self.len..].split_at_mut(SEGMENT_HEADER_LEN);
        header.encode(head);
        rest[..data.len()].copy_from_slice(data);
        self.len += SEGMENT_HEADER_LEN + data.len();
    }
}

impl Arq {
    /// Lays out one datagram payload of whatever is due: acks, window probe and update,
    /// retransmissions, new data, as much of it as fits. Data that found no room beside the rest
    /// goes first the next time, so that neither waits for the end of the other.
    ///
    /// Returns its length, 0 when nothing is due. `out` should hold `segments_len` bytes; a
    /// segment that does not fit into less stays due.
    pub fn poll_transmit(&mut self, now: Time, out: &mut [u8]) -> usize {
        self.poll_transmit_with(now, &[], out)
    }

    /// As [`Self::poll_transmit`], and unless `extension` is empty, a window update that carries it
    /// is due as well.
    ///
    /// It comes last: a peer that stumbles over it has read the rest. Room is kept for it, so it is
    /// in every datagram laid out, if header and payload fit into `segments_len`.
    pub fn poll_transmit_with(&mut self, now: Time, extension: &[u8], out: &mut [u8]) -> usize {
        self.notice_time(now);
        let blocked = self.is_blocked();
        self.probe.update(now, blocked);
        let limit = self.limit();
        self.send.update(now, limit, self.config.flush_interval);

        let acks_due = self.receive.acks_due(&self.config);
        let data_due = self.send.peek(now, limit, false).is_some();
        let control_due = self.probe.is_due() || !extension.is_empty();
        if !data_due && !control_due && acks_due.is_none_or(|at| at > now) {
            return 0;
        }
        let room = out.len().min(self.config.segments_len);
        let mut payload = Payload {
            out: &mut out[..room],
            len: 0,
            reserved: match extension.len() {
                0 => 0,
                len => SEGMENT_HEADER_LEN + len,
            },
        };
        let header = self.header(Command::Ack);
        let data_first = std::mem::take(&mut self.crowded_out);
        if data_first {
            self.lay_data(now, header, &mut payload);
        }
        self.lay_acks(header, &mut payload);
        self.lay_probes(now, header, &mut payload);
        if !data_first {
            let laid = self.lay_data(now, header, &mut payload);
            self.crowded_out = data_due && !laid;
        }
        payload.reserved = 0;
        if !extension.is_empty() && payload.has_room(extension.len()) {
            self.push_control(Command::WindowUpdate, header, extension, &mut payload);
        }
        let len = payload.len;
        if len > 0 {
            // What this datagram says of the window is what the peer knows from now on.
            self.receive.on_advertised(header.window);
        }
        trace::output(&out[..len], || self.limit());
        len
    }

    /// Whether data was due that the last payload had no room for. It goes first in the next one,
    /// which an extension should leave to it: room is kept for that before all else.
    #[must_use]
    pub fn is_data_next(&self) -> bool {
        self.crowded_out
    }

    /// Lays out a datagram payload of nothing but a window update that carries `extension`; returns
    /// its length, 0 if `out` has no room for it.
    pub fn transmit_extension(&mut self, extension: &[u8], out: &mut [u8]) -> usize {
        let mut payload = Payload {
            out,
            len: 0,
            reserved: 0,
        };
        if payload.has_room(extension.len()) {
            let command = Command::WindowUpdate;
            self.push_control(command, self.header(command), extension, &mut payload);
        }
        payload.len
    }

    /// When [`Self::poll_transmit`] next has something to send or decide.
    ///
    /// [`Time::ZERO`] if now; `None` if nothing will be due unless something is received, written
    /// or read.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        let acks = self.receive.acks_due(&self.config);
        let probe = self.probe.next(self.is_blocked());
        let data = self.send.next(self.limit());
        [acks, probe, data].into_iter().flatten().min()
    }

    /// Most segments in flight.
    fn limit(&self) -> usize {
        let windows = self.config.send_window.min(self.remote_window);
        usize::from(windows).min(self.congestion.limit())
    }

    /// Whether data waits for a window that only an answer of the peer can open.
    ///
    /// Either it has closed, or everything in flight is acknowledged but for the peer's `una`,
    /// which stands still while its reader does: then no retransmission would bring it about.
    fn is_blocked(&self) -> bool {
        let flight = self.send.flight();
        self.send.queued() > 0
            && (self.remote_window == 0
                || (flight.unacked() == 0 && !self.send.can_send_new(self.limit())))
    }

    pub(super) fn header(&self, command: Command) -> SegmentHeader {
        SegmentHeader {
            conversation: self.conversation,
            command,
            fragments_left: 0,
            window: self.receive.window(),
            timestamp: Timestamp::default(),
            sequence: 0,
            unacknowledged: self.receive.next().to_wire(),
            payload_len: 0,
        }
    }

    /// The header of a data segment without data whose number lies before what the peer still
    /// waits for. It acknowledges that, echoes the timestamp and delivers nothing.
    ///
    /// The timestamp is as secret as the offset of all others, always the same, and none that data
    /// bears for days. kcp-go v5 kcp.go, Input, like C's: whatever lies before the window's end is
    /// acknowledged.
    pub(crate) fn repeated_push(&self) -> SegmentHeader {
        let una = self.send.flight().una().to_wire();
        SegmentHeader {
            timestamp: Timestamp::from_wire(self.timestamp_offset.wrapping_sub(DAYS_AGO)),
            sequence: una.wrapping_sub(1),
            ..self.header(Command::Push)
        }
    }

    fn lay_acks(&mut self, mut header: SegmentHeader, payload: &mut Payload<'_>) {
        while payload.has_room(0)
            && let Some((sequence, timestamp)) = self.receive.pop_ack()
        {
            header.sequence = sequence.to_wire();
            header.timestamp = timestamp;
            self.push_control(Command::Ack, header, &[], payload);
        }
    }

    fn lay_probes(&mut self, now: Time, header: SegmentHeader, payload: &mut Payload<'_>) {
        if payload.has_room(0) && self.probe.take_request() {
            // The number means nothing to KCP. A peer of ours that has forgotten the conversation
            // tells by it whether we can learn that from what it acknowledges.
            let sequence = self.probe_number();
            let header = SegmentHeader { sequence, ..header };
            self.push_control(Command::WindowProbe, header, &[], payload);
        }
        if payload.has_room(0) && self.probe.take_announcement(now, self.rtt.rto()) {
            self.push_control(Command::WindowUpdate, header, &[], payload);
        }
    }

    /// The number of the next segment. If that is the first, and later segments of the peer wait for
    /// its first one, the number before: else a peer that has forgotten the conversation would
    /// take us for new, and what it sends would be mixed with what waits.
    fn probe_number(&self) -> u32 {
        let next = self.send.flight().next().to_wire();
        let begun = self.counters.data_segments_sent > 0;
        // A wire number: it wraps.
        next.wrapping_sub(u32::from(!begun && self.receive.has_gap()))
    }

    /// Adds a segment that is not repeated; the caller has made sure of the room.
    fn push_control(
        &mut self,
        command: Command,
        header: SegmentHeader,
        data: &[u8],
        payload: &mut Payload<'_>,
    ) {
        let header = SegmentHeader {
            command,
            // At most a datagram's length.
            payload_len: data.len() as u32,
            ..header
        };
        payload.push(&header, data);
        self.counters.segments_sent += 1;
    }

    /// Returns whether there was any, and room for it.
    fn lay_data(
        &mut self,
        now: Time,
        mut header: SegmentHeader,
        payload: &mut Payload<'_>,
    ) -> bool {
        header.command = Command::Push;
        header.timestamp = self.stamp(now);
        let rto = self.rtt.rto();
        let before = payload.len;
        loop {
            let limit = self.limit();
            let Some((cause, len)) = self.send.peek(now, limit, payload.len > 0) else {
                break;
            };
            if !payload.has_room(len) {
                break;
            }
            let in_flight = self.send.flight().len();
            let sequence = self.send.transmit(now, cause, rto, self.config.no_delay);
            if let Some(sequence) = sequence
                && let Some(sent) = self.send.flight().outstanding(sequence)
            {
                header.sequence = sequence.to_wire();
                header.fragments_left = sent.fragments_left;
                // A segment is no longer than a datagram, which is far below 2^32.
                header.payload_len = len as u32;
                payload.push(&header, &sent.data);
                self.on_transmitted(now, cause, limit, in_flight);
            }
        }
        payload.len > before
    }

    fn on_transmitted(&mut self, now: Time, cause: Cause, limit: usize, in_flight: usize) {
        let tick = self.config.flush_interval;
        let counters = &mut self.counters;
        counters.segments_sent += 1;
        match cause {
            Cause::New => counters.data_segments_sent += 1,
            Cause::Fast => counters.fast_retransmitted += 1,
            Cause::Early => counters.early_retransmitted += 1,
            Cause::Timeout => counters.timeout_retransmitted += 1,
        }
        match cause {
            Cause::New => {}
            Cause::Fast | Cause::Early => {
                let threshold = self.config.fast_retransmit_after;
                self.congestion
                    .on_fast_retransmit(now, in_flight, threshold, tick);
            }
            Cause::Timeout => self.congestion.on_timeout(now, limit, tick),
        }
    }
}

/// Milliseconds of twenty-three days: half of what timestamps can tell apart.
const DAYS_AGO: u32 = 2_000_000_000;
