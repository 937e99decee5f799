//! The sending half: queued segments, segments in flight, and which of them are due.

mod cork;
mod large;
mod pace;
mod queue;
mod regulate;

use std::time::Duration;

use super::LONG_PAUSE;
use super::buffers::Buffers;
use super::congestion::{ControllerFactory, Model, PathInfo};
use super::loss::{
    Flight, PathModel, ProbeTimer, Protector, Rack, Resend, Resent, Sent, Transmission,
};
use super::options::{ArqConfig, Congestion, Mode, Redundancy};
use crate::error::DecodeError;
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SeqNumber, Timestamp};
use large::LargeSegments;
use queue::Queue;
use regulate::Regulator;

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    New,
    Fast,
    Early,
    Timeout,
    /// It may be needed.
    Copy,
}

/// The result of one acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acknowledged {
    /// When the transmission that arrived was sent, if the echoed timestamp identifies it.
    pub(super) matched: Option<Time>,
    /// The segment had been sent again for nothing.
    pub(super) spurious: bool,
}

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
    no_delay: bool,
    /// The first segment opens a session at the peer, and is not copied.
    opens_session: bool,
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
            no_delay: config.no_delay,
            opens_session: false,
            buffered: 0,
            capacity: config.send_buffer,
            waiting_since: Time::ZERO,
        }
    }

    pub(super) fn set_opens_session(&mut self) {
        self.opens_session = true;
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
        self.no_delay = config.no_delay;
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

    /// How many segments larger than [`Self::set_mss`] says were sent again since one was
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
        if let Some(protector) = &mut self.protector {
            protector.on_ack(sequence, echo);
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
        let spurious = match (sent.resent, newest) {
            (Some((reason, again)), Some(newest)) if newest.number < again => Some(reason),
            _ => None,
        };
        let probed = matches!(sent.resent, Some((Resent::Probe, _)));
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
        let (path, large) = (&mut self.path, &mut self.large);
        let regulator = &mut self.regulator;
        let mut newest = 0;
        let advance = self.flight.advance(una, buffers, |sent| {
            path.on_outcome(false);
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

    /// A whole datagram was read that acknowledged something.
    pub(super) fn on_acknowledged(&mut self, now: Time, rtt: Option<Duration>) {
        self.timer.on_progress();
        self.detect_losses(now);
        if self.flight.unacked() == 0 {
            self.rack.clear();
        }
        if let Some(regulator) = &mut self.regulator {
            let (flying, first) = (self.flight.flying(), self.rack.first());
            regulator.on_datagram(now, rtt, flying, first, &self.path);
        }
        if let Some(protector) = &mut self.protector {
            protector.drop_acknowledged(&self.flight);
        }
    }

    fn detect_losses(&mut self, now: Time) {
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

    /// Whether a queued segment fits into a window of `limit` segments.
    pub(super) fn can_send_new(&self, limit: usize) -> bool {
        !self.queue.is_empty() && self.flight.len() < limit
    }

    /// When the next segment is due: the epoch if now.
    pub(super) fn next(&self, limit: usize) -> Option<Time> {
        let open_at = self.open_at();
        let new_data = if self.queue.wants_update() {
            Some(Time::ZERO)
        } else {
            let release = self.queue.release(self.flight.len());
            let release = release.filter(|_| self.flight.len() < limit);
            release.and_then(|at| open_at.map(|open| open.max(at)))
        };
        if self.flight.unacked() == 0 {
            return new_data;
        }
        let again = match self.rack.next_due() {
            Some(Resend::Probe) => Some(Time::ZERO),
            Some(Resend::Fast | Resend::Early) => open_at,
            None => None,
        };
        // A retransmission that waits for the rate is as good as a probe: see [`Self::update`].
        let probe = again.is_none().then(|| self.probe_at());
        let overdue = self.rack.next().or(probe);
        let copy = self.protector.as_ref().and_then(|it| it.next());
        [new_data, again, overdue, copy].into_iter().flatten().min()
    }

    /// When the controller lets a segment out, the epoch if now; `None` if that needs an ack.
    fn open_at(&self) -> Option<Time> {
        match &self.regulator {
            Some(regulator) => regulator.open_at(self.flight.flying(), &self.path),
            None => Some(Time::ZERO),
        }
    }

    /// Whether the controller lets a segment out now.
    fn is_open(&mut self, now: Time) -> bool {
        let flying = self.flight.flying();
        match &mut self.regulator {
            Some(regulator) => regulator.is_open(now, flying, &self.path),
            None => true,
        }
    }

    fn probe_at(&self) -> Time {
        let timeout = self.path.probe_timeout();
        self.timer.at(timeout, self.step())
    }

    /// By how much a wait is longer than the one before.
    ///
    /// kcp-go v5 kcp.go, flush: a time-out lengthens the segment's own time-out by the current one,
    /// or half of it.
    fn step(&self) -> Duration {
        let timeout = self.path.probe_timeout();
        if self.no_delay { timeout / 2 } else { timeout }
    }

    /// Updates what is due, so that [`Self::peek`] finds it.
    pub(super) fn update(&mut self, now: Time, flush_interval: Duration) {
        self.queue.update(now, flush_interval);
        if let Some(protector) = &mut self.protector {
            protector.judge(now, &mut self.path);
        }
        if self.flight.unacked() == 0 {
            return;
        }
        if self.rack.next().is_some_and(|at| at <= now) {
            self.detect_losses(now);
        }
        // While losses are looked for, the peer acknowledges something; while there are any, their
        // retransmission is as good as a probe.
        let repairs = self.rack.peek_due(&self.flight).is_some() && self.open_at().is_some();
        let looks = self.rack.next().is_some() || repairs;
        if !looks && self.probe_at() <= now {
            self.probe(now);
        }
    }

    /// The probe time-out has passed: the oldest segments are sent again.
    ///
    /// Of a few, all are: nothing else might show that the others are lost too. Of many, two: one
    /// may be lost, and the acknowledgement of the other shows what became of the rest.
    fn probe(&mut self, now: Time) {
        let timeout = self.path.probe_timeout();
        let most = if self.timer.is_overdue(now, timeout, self.step()) {
            // That late, this side was suspended, and acks may be waiting unread.
            1
        } else if self.flight.unacked() <= THIN {
            THIN
        } else {
            2
        };
        self.timer.on_passed(now);
        if self.timer.passed() == PERSISTENT
            && let Some(regulator) = &mut self.regulator
        {
            regulator.on_persistent_loss(now);
        }
        self.rack.probe(most, &mut self.flight);
        if self.flight.unacked() <= THIN
            && let Some(protector) = &mut self.protector
        {
            for sequence in self.rack.probes() {
                protector.on_probed(now, &self.path, sequence);
            }
        }
    }

    fn is_released(&self, now: Time) -> bool {
        self.queue.is_released(now, self.flight.len())
    }

    /// Why the next segment is due, and the length of its data; `None` if none is due. New data is
    /// not held back for coalescing if it can `ride` along in a datagram that is sent anyway.
    pub(super) fn peek(&mut self, now: Time, limit: usize, ride: bool) -> Option<(Cause, usize)> {
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

    fn peek_copy(&mut self, now: Time) -> Option<SeqNumber> {
        self.protector.as_mut()?.peek(now, &self.flight)
    }

    /// Marks the segment that [`Self::peek`] returned as sent now and returns its number. `stamp`
    /// gives the timestamp of a time.
    pub(super) fn transmit(
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

    /// Nothing more is laid out for now.
    pub(super) fn on_flushed(&mut self, now: Time, limit: usize) {
        if (self.queue.is_empty() || self.flight.len() >= limit)
            && let Some(regulator) = &mut self.regulator
        {
            regulator.on_limited(self.flight.flying(), &self.path);
        }
        if self.queue.is_empty()
            && let Some(protector) = &mut self.protector
        {
            protector.on_flushed(now, &self.path, self.flight.unacked());
        }
    }

    /// What limits the flow besides KCP's windows, if anything does.
    fn new_regulator(&self, now: Time) -> Option<Box<Regulator>> {
        if self.congestion != Congestion::Model {
            return None;
        }
        let path = self.path_info(now);
        let controller = Box::new(Model::new(&path));
        Some(Box::new(Regulator::new(controller, path.segment_len)))
    }

    fn path_info(&self, now: Time) -> PathInfo {
        PathInfo {
            segment_len: (self.queue.mss() + SEGMENT_HEADER_LEN) as u64,
            round_trip: self.path.estimate(),
            now,
        }
    }

    /// Counts a transmission of a segment that takes so many bytes.
    fn count_sent(&mut self, now: Time, sequence: SeqNumber, bytes: u64) -> Transmission {
        let transmission = self.rack.on_sent(sequence, now);
        if let Some(regulator) = &mut self.regulator {
            let flying = self.flight.flying();
            regulator.on_sent(now, transmission.number, bytes, flying, &self.path);
        }
        transmission
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
            let opening = Some(sequence).filter(|_| self.opens_session);
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
        if self.regulator.is_none() {
            self.regulator = self.new_regulator(now);
        }
        let bytes = (queued.data.len() + SEGMENT_HEADER_LEN) as u64;
        let transmission = self.count_sent(now, sequence, bytes);
        let sent = Sent::new(queued.data, queued.fragments_left, transmission);
        self.flight.push(sent);
        Some(sequence)
    }

    /// Releases unused memory.
    pub(super) fn shrink(&mut self) {
        self.queue.shrink();
        self.flight.shrink();
        self.rack.shrink();
        if let Some(protector) = &mut self.protector {
            protector.shrink();
        }
        if let Some(regulator) = &mut self.regulator {
            regulator.shrink();
        }
    }

    /// Whether something was due so long ago that this side must have been suspended.
    pub(super) fn is_overdue(&self, now: Time) -> bool {
        let timeout = self.path.probe_timeout();
        let in_flight = self.flight.unacked() > 0;
        in_flight
            && (self.timer.is_overdue(now, timeout, self.step())
                || self.rack.next().is_some_and(|at| at + LONG_PAUSE < now))
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

/// Segments in flight that make a thin flow (Linux, `tcp-thin.txt`).
const THIN: usize = 4;

/// Probe time-outs in a row after which a controller is told.
const PERSISTENT: u32 = 3;
