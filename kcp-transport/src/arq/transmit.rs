//! Laying out payloads to send.

use super::send::Cause;
use super::{Arq, stamp, trace};
use crate::time::Time;
use crate::wire::{Command, Received, SEGMENT_HEADER_LEN, SegmentHeader, Timestamp};

/// A datagram payload being filled.
struct Payload<'a> {
    out: &'a mut [u8],
    /// The payload of the window update that follows a copy of the opening segment.
    mark: &'a [u8],
    is_marked: bool,
    len: usize,
    /// Bytes reserved at the end.
    reserved: usize,
    /// Maximum length.
    most: usize,
}

impl<'a> Payload<'a> {
    fn new(out: &'a mut [u8], most: usize) -> Self {
        Self {
            most: out.len().min(most),
            out,
            mark: &[],
            is_marked: false,
            len: 0,
            reserved: 0,
        }
    }

    fn has_room(&self, data: usize) -> bool {
        self.most >= self.len + SEGMENT_HEADER_LEN + data + self.reserved
    }

    /// Whether there is room for some segment.
    fn may_have_room(&self) -> bool {
        self.len == 0 || self.has_room(0)
    }

    /// Whether a segment was cut for larger datagrams than there may be now, and nothing else is in
    /// this one.
    fn is_free_for_larger(&self, data: usize) -> bool {
        let len = SEGMENT_HEADER_LEN + data;
        self.len + self.reserved == 0 && self.most < len && len <= self.out.len()
    }

    /// Adds a segment; the caller has checked that there is room.
    fn push(&mut self, header: &SegmentHeader, data: &[u8]) {
        let (head, rest) = self.out[self.len..].split_at_mut(SEGMENT_HEADER_LEN);
        header.encode(head);
        rest[..data.len()].copy_from_slice(data);
        self.len += SEGMENT_HEADER_LEN + data.len();
    }
}

impl Arq {
    /// Lays out one datagram payload of what is due, as much as fits: acks, window probe and
    /// update, retransmissions, new data. Data that did not fit goes first in the next payload, so
    /// that neither data nor acks can starve the other.
    ///
    /// Returns the length of the payload, 0 when nothing is due. `out` should have room for the
    /// `segments_len` of the configuration; a segment that does not fit stays due.
    pub fn poll_transmit(&mut self, now: Time, out: &mut [u8]) -> usize {
        self.poll_transmit_with(now, &[], out)
    }

    /// As [`Self::poll_transmit`], and also sends a window update that carries `extension`, unless
    /// that is empty.
    ///
    /// It comes last, so that a peer that rejects it has processed the rest. Room is reserved for
    /// it, so every datagram laid out includes it if header and payload fit into `segments_len`.
    pub fn poll_transmit_with(&mut self, now: Time, extension: &[u8], out: &mut [u8]) -> usize {
        self.poll_transmit_marked(now, extension, &[], out)
    }

    /// As [`Self::poll_transmit_with`]. A copy of the segment that opens the session at the peer is
    /// followed by a window update that carries `mark`, which shows a peer that has restarted that the
    /// copy opens no session. Without a mark it is not copied.
    pub(crate) fn poll_transmit_marked(
        &mut self,
        now: Time,
        extension: &[u8],
        mark: &[u8],
        out: &mut [u8],
    ) -> usize {
        self.notice_time(now);
        self.send.set_mark_len(mark.len());
        let blocked = self.is_blocked();
        self.probe.update(now, blocked);
        let limit = self.limit();
        self.send.update(now, self.config.flush_interval);
        self.receive.update(now, &self.config);

        let acks_due = self.receive.acks_due(&self.config);
        let data = self.send.peek(now, limit, false);
        let control_due = self.probe.is_due() || !extension.is_empty();
        if data.is_none() && !control_due && acks_due.is_none_or(|at| at > now) {
            return 0;
        }
        let mut payload = Payload::new(out, self.segments_len());
        payload.mark = mark;
        payload.reserved = match extension.len() {
            0 => 0,
            len => SEGMENT_HEADER_LEN + len,
        };
        let header = self.header(Command::Ack);
        let data_first = std::mem::take(&mut self.crowded_out);
        if data_first {
            self.lay_data(now, header, data, &mut payload);
        }
        self.lay_acks(header, &mut payload);
        self.lay_probes(now, header, &mut payload);
        if !data_first {
            let laid = self.lay_data(now, header, data, &mut payload);
            self.crowded_out = data.is_some() && !laid;
        }
        payload.reserved = 0;
        if payload.is_marked {
            self.push_control(Command::WindowUpdate, header, mark, &mut payload);
        }
        if !extension.is_empty() && payload.has_room(extension.len()) {
            self.push_control(Command::WindowUpdate, header, extension, &mut payload);
        }
        self.finish(now, &header, &payload)
    }

    /// Lays out one datagram payload of data, after a call of [`Self::poll_transmit`] at the same time
    /// that left [nothing else](Self::is_only_data_left). Returns its length, 0 when nothing is due.
    ///
    /// Most datagrams of a bulk transfer are laid out by this.
    pub(crate) fn poll_transmit_data(&mut self, now: Time, out: &mut [u8]) -> usize {
        let limit = self.limit();
        let data = self.send.peek(now, limit, false);
        if data.is_none() {
            return 0;
        }
        let header = self.header(Command::Push);
        let mut payload = Payload::new(out, self.segments_len());
        self.lay_data(now, header, data, &mut payload);
        self.finish(now, &header, &payload)
    }

    /// Whether nothing but data is due, as long as no time passes and nothing is received.
    pub(crate) fn is_only_data_left(&self) -> bool {
        !self.crowded_out
            && !self.receive.has_acks()
            && !self.probe.is_due()
            && !self.send.is_opening()
    }

    /// Records that a payload is sent. Returns its length.
    fn finish(&mut self, now: Time, header: &SegmentHeader, payload: &Payload<'_>) -> usize {
        let len = payload.len;
        if len > 0 {
            // The peer learns the window from this datagram.
            self.receive.on_advertised(header.window);
            let limit = self.limit();
            self.send.on_flushed(now, limit);
        }
        trace::output(&payload.out[..len], || self.limit());
        len
    }

    /// Whether the last payload had no room for due data. The data goes first in the next payload.
    /// Pass no extension with that one, since room for an extension is reserved first.
    #[must_use]
    pub fn is_data_next(&self) -> bool {
        self.crowded_out
    }

    /// Whether acks are due, and the peer may have missed others: see [`Self::take_received`].
    #[must_use]
    pub fn wants_received(&self, now: Time) -> bool {
        let acks_due = self.receive.acks_due(&self.config);
        acks_due.is_some_and(|at| at <= now) && self.receive.wants_received(now)
    }

    /// Which segments have arrived beyond a gap, the last `most` from the first missing one on, to be
    /// sent now with the acks. `None` if there is no gap.
    ///
    /// A segment that arrives before an earlier one is acknowledged once. If that ack is lost, this
    /// saves the peer from sending it again.
    pub fn take_received(&mut self, now: Time, most: usize) -> Option<Received> {
        let least = self.send.path().least();
        self.receive.take_received(now, least, most)
    }

    /// Lays out a payload that consists of a window update carrying `extension`. Returns its
    /// length, 0 if `out` has no room for it.
    pub fn transmit_extension(&mut self, extension: &[u8], out: &mut [u8]) -> usize {
        let most = out.len();
        let mut payload = Payload::new(out, most);
        if payload.has_room(extension.len()) {
            let command = Command::WindowUpdate;
            let header = self.header(command);
            self.push_control(command, header, extension, &mut payload);
            self.receive.on_advertised(header.window);
        }
        payload.len
    }

    /// When [`Self::poll_transmit`] must be called next.
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
        let windows = self.config.send_window.min(self.remote_window());
        let limit = self.congestion.as_ref().map(|it| it.limit());
        let capacity = self.remote_capacity.unwrap_or(self.remote_window());
        let unread = capacity.saturating_sub(self.remote_window());
        let local = self.send.local_window(unread.into());
        usize::from(windows)
            .min(limit.unwrap_or(usize::MAX))
            .min(local.unwrap_or(usize::MAX))
    }

    /// Whether data waits for a window that only an answer of the peer can open.
    ///
    /// Either the window is closed, or every segment in flight is acknowledged and only the peer's
    /// `una` is behind, because its reader is slow: then no retransmission would produce an answer.
    fn is_blocked(&self) -> bool {
        let flight = self.send.flight();
        self.send.queued() > 0
            && (self.remote_window() == 0
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

    /// The header of an empty data segment whose number the peer has already received. The peer
    /// acknowledges it, echoes its timestamp and delivers nothing.
    ///
    /// Its timestamp depends on `number` only and is as secret as the timestamp offset, and no data
    /// segment carries it within 23 days. Its sequence number is the one before KCP's first: a peer that
    /// has restarted has received nothing, and would take any other number for new data. kcp-go v5 kcp.go, Input, as in C: every segment before the end of the
    /// window is acknowledged.
    ///
    /// It is to be sent: the peer learns the window from it.
    pub(crate) fn repeated_push(&mut self, number: u32) -> SegmentHeader {
        let una = self.send.flight().una().to_wire();
        let first = self.send.flight().first();
        let is_near = una.wrapping_sub(first) < FAR_BACK + LARGEST_WINDOW;
        let far_back = if is_near {
            first.wrapping_sub(1)
        } else {
            una.wrapping_sub(FAR_BACK)
        };
        let timestamp = self.timestamp_offset.wrapping_sub(DAYS_AGO);
        let header = self.header(Command::Push);
        self.receive.on_advertised(header.window);
        SegmentHeader {
            timestamp: Timestamp::from_wire(timestamp.wrapping_add(number)),
            // Further away the difference would wrap.
            sequence: far_back,
            ..header
        }
    }

    fn lay_acks(&mut self, mut header: SegmentHeader, payload: &mut Payload<'_>) {
        while payload.has_room(0)
            && let Some(ack) = self.receive.pop_ack()
        {
            header.sequence = ack.sequence.to_wire();
            header.timestamp = ack.timestamp;
            self.push_control(Command::Ack, header, &[], payload);
        }
    }

    fn lay_probes(&mut self, now: Time, header: SegmentHeader, payload: &mut Payload<'_>) {
        if payload.has_room(0) && self.probe.take_request(now) {
            // KCP ignores the number of a probe. A peer of this crate that has lost the
            // conversation learns from it whether we have sent data, and thus whether its
            // acknowledgement would show us the loss.
            let sequence = self.probe_number();
            let header = SegmentHeader { sequence, ..header };
            self.push_control(Command::WindowProbe, header, &[], payload);
        }
        if payload.has_room(0) && self.probe.take_announcement(now, self.rto()) {
            self.push_control(Command::WindowUpdate, header, &[], payload);
        }
    }

    /// The number of the next segment, or the one before if nothing was sent yet and received
    /// segments wait for a missing one. With the number of the first segment, a peer that has lost
    /// the conversation would open a new one, and its data would be mixed with the segments that
    /// wait.
    fn probe_number(&self) -> u32 {
        let next = self.send.flight().next().to_wire();
        let begun = self.counters.data_segments_sent > 0;
        // A wire number, which wraps.
        next.wrapping_sub(u32::from(!begun && self.receive.has_gap()))
    }

    /// Adds a segment that is not retransmitted; the caller has checked that there is room.
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

    /// Adds due data; returns whether any was added. `first` is what comes first, if that is known.
    fn lay_data(
        &mut self,
        now: Time,
        mut header: SegmentHeader,
        mut first: Option<(Cause, usize)>,
        payload: &mut Payload<'_>,
    ) -> bool {
        header.command = Command::Push;
        header.timestamp = self.stamp(now);
        let before = payload.len;
        while payload.may_have_room() {
            let limit = self.limit();
            let next = first.take();
            let next = next.or_else(|| self.send.peek(now, limit, payload.len > 0));
            let Some((cause, len)) = next else {
                break;
            };
            let mark = match cause == Cause::Copy && self.send.copies_opening(now) {
                true => payload.mark,
                false => &[],
            };
            let marked = match mark.len() {
                0 => 0,
                len => SEGMENT_HEADER_LEN + len,
            };
            if marked > 0 && (payload.reserved > 0 || !payload.has_room(len + marked)) {
                if payload.len + payload.reserved > 0 {
                    // Frames of both kinds would not be the last.
                    break;
                }
                // The path has become narrower meanwhile.
                self.send.drop_copy(now);
                continue;
            }
            if !payload.has_room(len) && !payload.is_free_for_larger(len) {
                break;
            }
            let in_flight = self.send.flight().len();
            let offset = self.timestamp_offset;
            let sequence = self.send.transmit(now, cause, |time| stamp(time, offset));
            if let Some(sequence) = sequence
                && let Some(sent) = self.send.flight().outstanding(sequence)
            {
                header.sequence = sequence.to_wire();
                header.fragments_left = sent.fragments_left;
                // A segment is no longer than a datagram, which is far below 2^32.
                header.payload_len = len as u32;
                payload.push(&header, self.buffers.bytes(&sent.data));
                self.on_transmitted(now, cause, len, (limit, in_flight));
                payload.is_marked |= marked > 0;
                payload.reserved += marked;
            }
        }
        payload.len > before
    }

    fn on_transmitted(
        &mut self,
        now: Time,
        cause: Cause,
        len: usize,
        (limit, in_flight): (usize, usize),
    ) {
        let tick = self.config.flush_interval;
        let counters = &mut self.counters;
        counters.segments_sent += 1;
        match cause {
            Cause::New => counters.data_segments_sent += 1,
            Cause::Fast => counters.fast_retransmitted += 1,
            Cause::Early => counters.early_retransmitted += 1,
            Cause::Timeout => counters.timeout_retransmitted += 1,
            Cause::Copy => {
                counters.redundant_sent += 1;
                counters.redundant_bytes += (SEGMENT_HEADER_LEN + len) as u64;
            }
        }
        let Some(congestion) = &mut self.congestion else {
            return;
        };
        match cause {
            Cause::New | Cause::Copy => {}
            Cause::Fast | Cause::Early => {
                let threshold = self.config.fast_retransmit_after;
                congestion.on_fast_retransmit(now, in_flight, threshold, tick);
            }
            Cause::Timeout => congestion.on_timeout(now, limit, tick),
        }
    }
}

/// Old for a peer that has received everything, and for one that has received nothing.
const FAR_BACK: u32 = 1 << 30;

/// More segments than any window has.
const LARGEST_WINDOW: u32 = 1 << 17;

/// Twenty-three days in milliseconds, about half the range of timestamps.
const DAYS_AGO: u32 = 2_000_000_000;
