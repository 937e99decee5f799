//! The sending half: queued segments, segments in flight, and which of them are due.

mod acks;
mod cork;
mod due;
mod large;
mod pace;
mod queue;
mod regulate;
mod transmit;

use std::time::Duration;

use super::buffers::Buffers;
use super::congestion::{ControllerFactory, PathInfo};
use super::loss::{Flight, PathModel, ProbeTimer, Protector, Rack};
use super::options::{ArqConfig, Congestion, Mode, Redundancy};
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SeqNumber};
use large::LargeSegments;
use queue::Queue;
use regulate::Regulator;

pub(super) use acks::Acknowledged;
pub(super) use transmit::Cause;

#[derive(Debug)]
pub(super) struct Sender {
    queue: Queue,
    flight: Flight,
    path: PathModel,
    rack: Rack,
    timer: ProbeTimer,
    /// Made by the first segment, if it may be sent twice.
    protector: Option<Box<Protector>>,
    redundancy: Redundancy,
    large: LargeSegments,
    /// A segment of full size was sent.
    sent_full: bool,
    /// Made by the first segment, if there is to be a controller.
    regulator: Option<Box<Regulator>>,
    congestion: Congestion,
    /// The controller is that of a factory, whatever the options.
    is_controlled: bool,
    /// The path is too short for the model: only a window limits.
    is_local: bool,
    /// The first segment opens a session at the peer, and is copied only with a mark.
    opens_session: bool,
    /// Bytes of that mark, 0 while there is none.
    mark_len: u8,
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
            path: PathModel::new(config.no_delay),
            rack: Rack::new(config.fast_retransmit_after),
            timer: ProbeTimer::default(),
            protector: None,
            redundancy: config.redundancy,
            large: LargeSegments::default(),
            sent_full: false,
            regulator: None,
            congestion: config.congestion,
            is_controlled: false,
            is_local: false,
            opens_session: false,
            mark_len: 0,
            buffered: 0,
            capacity: config.send_buffer,
            waiting_since: Time::ZERO,
        }
    }

    pub(super) fn set_opens_session(&mut self) {
        self.opens_session = true;
    }

    pub(super) fn set_mark_len(&mut self, len: usize) {
        self.mark_len = u8::try_from(len).unwrap_or(0);
    }

    /// Whether the segment that opens a session is not yet known to have arrived.
    pub(super) fn is_opening(&self) -> bool {
        self.opens_session && self.flight.una().to_wire() == self.flight.first()
    }

    /// Changes the options, except for the size of segments.
    pub(super) fn set_config(&mut self, config: &ArqConfig) {
        self.queue.set_config(config);
        self.path.set_no_delay(config.no_delay);
        self.rack.set_threshold(config.fast_retransmit_after);
        if self.redundancy != config.redundancy {
            self.redundancy = config.redundancy;
            // The next flush makes another.
            self.protector = None;
        }
        self.capacity = config.send_buffer;
        if self.congestion != config.congestion {
            self.congestion = config.congestion;
            if !self.is_controlled {
                // The next segment makes another.
                self.regulator = None;
            }
        }
    }

    /// Limits the flow by a controller of this factory, whatever the options.
    pub(super) fn set_controller(&mut self, now: Time, factory: &dyn ControllerFactory) {
        let path = self.path_info(now);
        let controller = factory.new_controller(&path);
        self.regulator = Some(Box::new(Regulator::new(controller, path.segment_len)));
        self.is_controlled = true;
    }

    pub(super) fn path(&self) -> &PathModel {
        &self.path
    }

    pub(super) fn path_mut(&mut self) -> &mut PathModel {
        &mut self.path
    }

    pub(super) fn flight(&self) -> &Flight {
        &self.flight
    }

    /// The peer has room for so many segments.
    pub(super) fn set_remote_window(&mut self, window: u16) {
        self.flight.set_remote_window(window);
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn has_full_segment(&self) -> bool {
        self.queue.has_full_segment()
    }

    /// Number of bytes of messages that can be queued now.
    pub(super) fn capacity(&self) -> usize {
        self.capacity.saturating_sub(self.buffered)
    }

    /// Number of bytes of a stream that can be queued now.
    pub(super) fn stream_capacity(&self) -> usize {
        self.stream_limit().saturating_sub(self.buffered)
    }

    /// Most bytes of a stream that are queued and in flight.
    ///
    /// Where a controller limits, no more than twice its window is taken: what waits here delays what
    /// is written later, and is of no use to the path.
    pub(super) fn stream_limit(&self) -> usize {
        let useful = match &self.regulator {
            Some(regulator) => regulator.useful().max(LEAST_HELD),
            None if self.congestion == Congestion::Model => LEAST_HELD,
            None => usize::MAX,
        };
        self.capacity.min(useful)
    }

    /// Most segments in flight on a path that is too short for the model, given how many are unread at
    /// the peer. Data that its reader cannot keep up with would only leave the caches of the processor.
    pub(super) fn local_window(&self, unread: usize) -> Option<usize> {
        let window = LOCAL_WINDOW.saturating_sub(unread).max(LEAST_LOCAL_WINDOW);
        self.is_local.then_some(window)
    }

    /// Decides whether the path is too short for the model, as of a round trip: on a loopback device,
    /// or within a rack, timers are too coarse for it.
    fn check_local(&mut self, trip: Option<Duration>) {
        if self.is_controlled || self.congestion != Congestion::Model {
            self.is_local = false;
        } else if trip.is_some_and(|trip| trip < LOCAL_ROUND_TRIP) {
            (self.is_local, self.regulator) = (true, None);
        } else if self.is_local {
            // A peer may move.
            let least = self.path.least();
            self.is_local = least.is_none_or(|trip| trip <= LONGEST_LOCAL);
        }
    }

    pub(super) fn waiting_since(&self) -> Option<Time> {
        (self.flight.unacked() > 0).then_some(self.waiting_since)
    }

    /// When data was last acknowledged, or sent while nothing else was in flight.
    pub(super) fn last_progress(&self) -> Time {
        self.waiting_since
    }

    /// Queues as much of `data` as fits, filling the last segment first in stream mode.
    ///
    /// If not all of a stream's data fits, no segment is begun that the rest of the buffer does not fill:
    /// with a window of few segments, part of a segment takes as long as a whole one.
    pub(super) fn write(&mut self, data: &[u8], mode: Mode, buffers: &mut Buffers) -> usize {
        let taken = match mode {
            Mode::Message => data.len().min(self.capacity()),
            Mode::Stream => {
                let room = self.stream_capacity();
                if data.len() > room && self.buffered > 0 {
                    self.queue.in_whole_segments(room)
                } else {
                    data.len().min(room)
                }
            }
        };
        self.queue.write(&data[..taken], mode, buffers);
        self.buffered += taken;
        taken
    }

    /// Queues a whole message.
    pub(super) fn write_message(&mut self, data: &[u8], most: usize, buffers: &mut Buffers) {
        self.queue.write_message(data, most, buffers);
        self.buffered += data.len();
    }

    /// Changes the maximum number of data bytes in a segment that has no number yet, and cuts those
    /// that are queued again. Of larger than `least` it is counted how many are lost.
    pub(super) fn set_mss(
        &mut self,
        mss: usize,
        least: usize,
        fragments: usize,
        buffers: &mut Buffers,
    ) {
        self.queue.set_mss(mss, fragments, buffers);
        self.large = LargeSegments::above(least);
    }

    /// Maximum number of data bytes in a new segment.
    pub(super) fn mss(&self) -> usize {
        self.queue.mss()
    }

    /// How many segments larger than the mss of [`Self::set_mss`] were sent again since one was
    /// acknowledged, for at least a probe time-out.
    pub(super) fn large_lost(&self, now: Time) -> u32 {
        self.large.lost(now, self.path.probe_timeout())
    }

    /// Whether a segment of full size was sent since the last call.
    pub(super) fn take_full(&mut self) -> bool {
        std::mem::take(&mut self.sent_full)
    }

    /// How often the probe time-out has passed since something was acknowledged.
    pub(super) fn timeouts_in_row(&self) -> u32 {
        self.timer.passed()
    }

    /// Declares that nothing more will be written.
    pub(super) fn finish_writing(&mut self) {
        self.queue.finish();
    }

    fn path_info(&self, now: Time) -> PathInfo {
        PathInfo {
            segment_len: (self.queue.mss() + SEGMENT_HEADER_LEN) as u64,
            round_trip: self.path.estimate(),
            now,
        }
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink();
        self.flight.shrink();
        self.rack.shrink();
        if let Some(protector) = &mut self.protector {
            protector.shrink();
        }
        if let Some(regulator) = self.regulator.as_mut().filter(|_| self.is_controlled) {
            regulator.shrink();
        } else if self.flight.len() == 0 {
            // After a pause, what was known of the path is old: the next segment starts again.
            self.regulator = None;
        }
    }

    /// Returns the buffers of all segments, for a conversation that has ended.
    pub(super) fn release(&mut self, buffers: &mut Buffers) {
        self.queue.clear(buffers);
        self.flight.clear(buffers);
    }

    /// Number of transmissions examined for losses.
    #[cfg(test)]
    pub(super) fn loss_steps(&self) -> usize {
        self.rack.steps
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        let protector = self.protector.as_ref().map_or(0, |it| it.memory());
        let regulator = self.regulator.as_ref().map_or(0, |it| it.memory());
        let lists = self.queue.memory() + self.flight.memory() + self.rack.memory();
        lists + protector + regulator
    }
}

/// Shorter paths are too short for the model.
const LOCAL_ROUND_TRIP: Duration = Duration::from_millis(2);

/// Such a path may take longer while [`LOCAL_WINDOW`] waits in the buffers of its sockets.
const LONGEST_LOCAL: Duration = Duration::from_millis(30);

/// The window on such a path, in segments, which a socket buffer of 4 MiB holds.
const LOCAL_WINDOW: usize = 1024;

/// The least such window: enough for data to arrive while the reader is being woken.
const LEAST_LOCAL_WINDOW: usize = 64;

/// Bytes that are taken from the writer of a stream on any path, about as many as such a window has.
const LEAST_HELD: usize = 1_400_000;
