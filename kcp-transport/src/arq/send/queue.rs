//! Segments that were written and never sent.

use std::collections::VecDeque;
use std::time::Duration;

use super::cork::Cork;
use crate::arq::buffers::{Buffers, Data};
use crate::arq::narrow;
use crate::arq::options::{ArqConfig, Mode};
use crate::time::Time;
use crate::wire::SEGMENT_HEADER_LEN;

/// A segment that was never sent.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) data: Data,
    pub(super) fragments_left: u8,
    /// Whether later writes may fill it up.
    open: bool,
}

/// Segments that wait for the windows or for more data to fill them.
#[derive(Debug)]
pub(super) struct Queue {
    segments: VecDeque<Queued>,
    bytes: usize,
    /// Capacity of all segments' buffers, in bytes.
    room: usize,
    cork: Cork,
    mss: u16,
    /// Fragments of the first queued message were sent.
    is_begun: bool,
    #[doc(alias = "snd_wnd")]
    window: u16,
}

impl Queue {
    pub(super) fn new(config: &ArqConfig) -> Self {
        Self {
            segments: VecDeque::new(),
            bytes: 0,
            room: 0,
            cork: Cork::new(config.write_coalescing),
            mss: narrow(config.mss()),
            is_begun: false,
            window: config.send_window,
        }
    }

    /// Changes the options, except for the size of segments.
    pub(super) fn set_config(&mut self, config: &ArqConfig) {
        self.cork.set_policy(config.write_coalescing);
        self.window = config.send_window;
    }

    /// Maximum number of data bytes in one segment.
    pub(super) fn mss(&self) -> usize {
        self.mss.into()
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(super) fn front(&self) -> Option<&Queued> {
        self.segments.front()
    }

    pub(super) fn has_full_segment(&self) -> bool {
        let is_full = |segment: &Queued| !segment.open || segment.data.len() >= self.mss();
        // Only the last segment is filled by later writes.
        self.segments.len() > 1 || self.segments.front().is_some_and(is_full)
    }

    /// The most bytes of a stream, of `room`, that leave no segment partly filled, except for the last one
    /// that is queued already.
    pub(super) fn in_whole_segments(&self, room: usize) -> usize {
        let tail = self.segments.back().filter(|tail| tail.open);
        let tail_room = tail.map_or(0, |tail| self.mss().saturating_sub(tail.data.len()));
        let beyond = room.saturating_sub(tail_room);
        room.min(tail_room) + beyond - beyond % self.mss()
    }

    /// Adds `data`, filling the last segment first in stream mode.
    pub(super) fn write(&mut self, data: &[u8], mode: Mode, buffers: &mut Buffers) {
        self.bytes += data.len();
        let (mut rest, mss) = (data, self.mss());
        if let Some(tail) = self.segments.back_mut().filter(|tail| tail.open) {
            let room = mss.saturating_sub(tail.data.len());
            let before = tail.data.capacity();
            let (head, beyond) = rest.split_at(rest.len().min(room));
            if tail.data.len() + head.len() > mss / 2 {
                // More than half full, it will probably fill up, so it grows to its full size at
                // once.
                buffers.reserve(&mut tail.data, room);
            }
            buffers.append(&mut tail.data, head);
            self.room += tail.data.capacity() - before;
            rest = beyond;
        }
        for chunk in rest.chunks(mss) {
            self.push(chunk, 0, mode == Mode::Stream, buffers);
        }
    }

    /// Adds a whole message, in fragments that count down to 0. If it needs more than `most` of
    /// them, they are larger than the mss.
    pub(super) fn write_message(&mut self, data: &[u8], most: usize, buffers: &mut Buffers) {
        self.bytes += data.len();
        let chunks = data.chunks(self.mss().max(data.len().div_ceil(most)));
        let fragments = chunks.len();
        for (index, chunk) in chunks.enumerate() {
            let fragments_left = u8::try_from(fragments - 1 - index).unwrap_or(u8::MAX);
            self.push(chunk, fragments_left, false, buffers);
        }
    }

    fn push(&mut self, data: &[u8], fragments_left: u8, open: bool, buffers: &mut Buffers) {
        let queued = Queued {
            data: buffers.take(data.len()),
            fragments_left,
            open,
        };
        self.room += queued.data.capacity();
        self.segments.push_back(queued);
        if let Some(queued) = self.segments.back_mut() {
            buffers.append(&mut queued.data, data);
        }
    }

    /// Removes the first segment.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let queued = self.segments.pop_front()?;
        self.bytes -= queued.data.len();
        self.room -= queued.data.capacity();
        self.is_begun = queued.fragments_left > 0;
        if self.segments.is_empty() {
            self.cork.reset();
        }
        // Segments in flight have a list of their own. A long flow has a thousand of them in one, and
        // then in the other.
        let room = self.segments.capacity();
        if room > FEW && self.segments.len() < room / 4 {
            self.segments.shrink_to(room / 2);
        }
        Some(queued)
    }

    /// Changes the maximum number of data bytes in one segment. Queued segments that are longer are
    /// cut again, messages into at most `most` fragments.
    ///
    /// The rest of a message whose first fragments were sent stays as it is: they carry the number of
    /// those that follow.
    pub(super) fn set_mss(&mut self, mss: usize, most: usize, buffers: &mut Buffers) {
        self.mss = narrow(mss);
        if self.segments.iter().all(|it| it.data.len() <= mss) {
            return;
        }
        (self.bytes, self.room) = (0, 0);
        let (mut begun, mut message) = (self.is_begun, Vec::new());
        for segment in std::mem::take(&mut self.segments) {
            if begun {
                begun = segment.fragments_left > 0;
                self.bytes += segment.data.len();
                self.room += segment.data.capacity();
                self.segments.push_back(segment);
                continue;
            }
            if segment.open {
                let data = buffers.bytes(&segment.data).to_vec();
                self.write(&data, Mode::Stream, buffers);
            } else {
                message.extend_from_slice(buffers.bytes(&segment.data));
                if segment.fragments_left == 0 {
                    self.write_message(&message, most, buffers);
                    message.clear();
                }
            }
            buffers.give(segment.data);
        }
    }

    /// Whether [`Self::update`] would start the coalescing delay.
    pub(super) fn wants_update(&self) -> bool {
        !self.segments.is_empty() && self.cork.is_idle()
    }

    /// Starts the coalescing delay if data was written since the last call.
    pub(super) fn update(&mut self, now: Time, wait: Duration) {
        if !self.segments.is_empty() {
            self.cork.start(now + wait);
        }
    }

    /// Whether the first segment may be sent now, with `in_flight` segments in flight.
    pub(super) fn is_released(&self, now: Time, in_flight: usize) -> bool {
        self.release(in_flight).is_some_and(|at| at <= now)
    }

    /// When the first segment may be sent: the epoch if now, `None` if there is none.
    ///
    /// Under [`Delayed`](crate::arq::WriteCoalescing::Delayed) that is when a datagram or the send
    /// window is full, or the delay has passed.
    pub(super) fn release(&self, in_flight: usize) -> Option<Time> {
        if self.segments.is_empty() {
            return None;
        }
        let on_wire = self.bytes + self.segments.len() * SEGMENT_HEADER_LEN;
        let full = on_wire >= self.mss() + SEGMENT_HEADER_LEN
            || self.segments.len() + in_flight >= self.window.into();
        Some(if full { Time::ZERO } else { self.cork.until() })
    }

    /// Declares that nothing more will be written, so that the queued segments are not held back.
    pub(super) fn finish(&mut self) {
        self.cork.turn_off();
    }

    /// Returns the buffers of all segments.
    pub(super) fn clear(&mut self, buffers: &mut Buffers) {
        for segment in self.segments.drain(..) {
            buffers.give(segment.data);
        }
        (self.bytes, self.room) = (0, 0);
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.segments.shrink_to_fit();
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        self.room + self.segments.capacity() * size_of::<Queued>()
    }
}

/// Room for so many segments is kept until [`Queue::shrink`].
const FEW: usize = 64;
