//! Automatic repeat request: turns datagrams that get lost, repeated and reordered into a stream
//! of bytes or messages, as KCP does.
//!
//! [`Arq`] is a state machine over segments. It uses no sockets and no clock, and does not handle
//! forward error correction, encryption, or the opening and closing of connections.
//!
//! kcp-go walks its buffers on every tick. This module visits only what is due: acknowledging a
//! segment is O(1), and an idle `Arq` has no timer. Differences in behaviour are documented where
//! they occur.

mod buffers;
mod congestion;
mod delivery;
mod input;
mod loss;
mod message;
mod options;
mod probe;
mod receive;
mod send;
mod stats;
mod trace;
mod transmit;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::time::Time;
use crate::wire::{ConversationId, SEGMENT_HEADER_LEN, SeqNumber, Timestamp};

use buffers::Buffers;
use congestion::CongestionWindow;
use probe::{Probe, handshake_trip};
use receive::Receiver;
use send::Sender;
use stats::Counters;

pub use congestion::{
    Acked, CongestionController, ControllerFactory, FixedRate, Lost, PathInfo, RateSample,
    Transmitted,
};
pub use message::MessageError;
pub use options::{AckPolicy, ArqConfig, Congestion, Mode, Percent, Redundancy, WriteCoalescing};
pub(crate) use trace::is_traced;

/// How a payload was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provenance {
    /// Received from the network.
    Direct,
    /// Rebuilt from parity and possibly late: its window and timestamps are not used.
    Recovered,
    /// As [`Self::Recovered`], but the sender's FEC ratio is in doubt, so the payload may never
    /// have been sent. Used only where it fills a gap.
    Contested,
}

/// What a payload changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Data was newly acknowledged, so there may be room for more.
    pub acknowledged: bool,
    /// Data or a message can be read.
    pub readable: bool,
    /// An ack echoed a timestamp of ours exactly, which proves that the peer receives at the
    /// address we send to.
    pub validated: bool,
    /// The payload held an ack or a window update, which a peer sends only in answer to something.
    pub answered: bool,
    /// New data was received.
    pub delivered: bool,
    /// New data was received and dropped because [`Arq::close_receive`] was called.
    pub discarded: bool,
}

/// The ARQ state of one conversation, in both directions.
#[derive(Debug)]
pub struct Arq {
    config: ArqConfig,
    conversation: ConversationId,
    timestamp_offset: u32,
    send: Sender,
    receive: Receiver,
    /// Without one, only the two windows limit what is in flight.
    congestion: Option<Box<CongestionWindow>>,
    probe: Probe,
    buffers: Buffers,
    /// The largest window the peer has advertised, which is its capacity while nothing waits for
    /// its reader.
    remote_capacity: Option<u16>,
    /// The time of the last call.
    last_call: Time,
    /// When this side last resumed after a pause. Acks that waited meanwhile give no RTT sample.
    woke_at: Time,
    /// The arrival of the first of the packets whose `una` is older than one seen before, and the time
    /// until that of the last, in microseconds and one more.
    una_regressed: Option<(Time, NonZeroU32)>,
    /// Data was due, but acks and probes filled the last datagram.
    crowded_out: bool,
    counters: Counters,
}

impl Arq {
    /// A conversation in which nothing has been sent. Allocates nothing.
    ///
    /// Timestamps on the wire are shifted by `timestamp_offset` milliseconds. If the offset is
    /// secret, only a peer that receives our segments can echo them.
    #[must_use]
    pub fn new(config: ArqConfig, conversation: ConversationId, timestamp_offset: u32) -> Self {
        Self::starting_at(config, conversation, timestamp_offset, (0, 0))
    }

    /// As [`Self::new`], with other first sequence numbers than KCP's zero, for tests of wrapping.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_initial_sequence(
        config: ArqConfig,
        conversation: ConversationId,
        timestamp_offset: u32,
        first_sent: u32,
        first_received: u32,
    ) -> Self {
        let first = (first_sent, first_received);
        Self::starting_at(config, conversation, timestamp_offset, first)
    }

    /// The first segment opens a session at the peer, so a copy of it is sent only with the mark of
    /// [`Self::poll_transmit_marked`].
    ///
    /// A copy that arrives after the peer has restarted would open a second session there, which
    /// answers as the first would: this side could not tell them apart.
    pub(crate) fn set_opens_session(&mut self) {
        self.send.set_opens_session();
    }

    /// Whether the segment that opens the session at the peer is not yet known to have arrived.
    pub(crate) fn is_opening(&self) -> bool {
        self.send.is_opening()
    }

    fn starting_at(
        config: ArqConfig,
        conversation: ConversationId,
        timestamp_offset: u32,
        (first_sent, first_received): (u32, u32),
    ) -> Self {
        Self {
            conversation,
            timestamp_offset,
            send: Sender::new(&config, SeqNumber::first(first_sent)),
            receive: Receiver::new(&config, SeqNumber::first(first_received)),
            congestion: congestion_window(&config),
            probe: Probe::default(),
            buffers: Buffers::default(),
            remote_capacity: None,
            last_call: Time::ZERO,
            woke_at: Time::ZERO,
            una_regressed: None,
            crowded_out: false,
            counters: Counters::default(),
            config,
        }
    }

    /// Changes the options, except for `mode` and `segments_len`. No data is lost, whatever the change.
    pub fn set_config(&mut self, config: ArqConfig) {
        if config.congestion != self.config.congestion {
            self.congestion = congestion_window(&config);
        }
        self.config = ArqConfig {
            mode: self.config.mode,
            segments_len: self.config.segments_len,
            ..config
        };
        self.send.set_config(&self.config);
        self.receive.set_config(&self.config);
        self.announce_if_reopened();
    }

    /// Queues bytes and returns how many were accepted: all that fit into the send buffer.
    ///
    /// Of a stream's data that does not fit, so much is accepted as fills whole segments.
    ///
    /// In stream mode they fill the last queued segment first. In message mode each call starts a
    /// new segment, and the buffer also counts as full while [`Self::is_crowded`] returns true.
    pub fn write(&mut self, data: &[u8]) -> usize {
        if self.is_crowded() {
            return 0;
        }
        let taken = self.send.write(data, self.config.mode, &mut self.buffers);
        self.counters.bytes_written += taken as u64;
        taken
    }

    /// Changes the maximum number of bytes of segments in one datagram. It is at most that of the
    /// configuration.
    ///
    /// Segments that were not sent yet are cut again, except for the rest of a message of which
    /// fragments were sent. Those that were sent keep their size, since the peer may have them: a
    /// segment that exceeds the new size is sent again in a datagram of its own.
    ///
    /// [`Self::large_lost`] counts segments that fit into `len`, but not into `narrower`.
    pub fn set_segments_len(&mut self, len: usize, narrower: usize) {
        let mss = |len: usize| len.saturating_sub(SEGMENT_HEADER_LEN).max(1);
        let (mss, least) = (mss(len.min(self.config.segments_len)), mss(narrower));
        let fragments = self.max_fragments();
        self.send.set_mss(mss, least, fragments, &mut self.buffers);
    }

    /// Maximum number of bytes of segments in one datagram at present.
    #[must_use]
    pub fn segments_len(&self) -> usize {
        self.send.mss() + SEGMENT_HEADER_LEN
    }

    /// Number of segments of nearly full size that were lost since one was acknowledged, if none was
    /// for a probe time-out: see [`Self::set_segments_len`].
    #[must_use]
    pub fn large_lost(&self, now: Time) -> u32 {
        self.send.large_lost(now)
    }

    /// Whether a segment of full size was sent since the last call.
    pub(crate) fn take_full(&mut self) -> bool {
        self.send.take_full()
    }

    /// How often the probe time-out has passed since something was acknowledged.
    #[must_use]
    pub fn timeouts_in_row(&self) -> u32 {
        self.send.timeouts_in_row()
    }

    /// Declares that nothing more will be written: data held back by write coalescing is sent at
    /// once.
    pub fn finish_writing(&mut self) {
        self.send.finish_writing();
    }

    /// Number of bytes for which the send buffer has room: [`Self::write`] accepts as many or fewer at once.
    #[must_use]
    pub fn send_capacity(&self) -> usize {
        match self.config.mode {
            Mode::Stream => self.send.stream_capacity(),
            Mode::Message => self.send.capacity(),
        }
    }

    /// What [`Self::send_capacity`] is when nothing is queued or in flight.
    pub(crate) fn send_limit(&self) -> usize {
        match self.config.mode {
            Mode::Stream => self.send.stream_limit(),
            Mode::Message => self.config.send_buffer,
        }
    }

    /// Reads bytes in order, across segments and messages. Returns 0 when none are available.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let mut at = 0;
        self.read_with(out.len(), &mut |bytes| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        })
    }

    /// As [`Self::read`], but passes at most `limit` bytes to `sink` without copying them.
    pub fn read_with(&mut self, limit: usize, sink: &mut impl FnMut(&[u8])) -> usize {
        let read = self.receive.read_with(limit, sink, &mut self.buffers);
        self.counters.bytes_read += read as u64;
        self.announce_if_reopened();
        read
    }

    /// As [`Self::read_with`], leaving the bytes where they are.
    pub fn peek_with(&self, limit: usize, sink: &mut impl FnMut(&[u8])) -> usize {
        self.receive.peek_with(limit, sink, &self.buffers)
    }

    /// Bytes that were read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.counters.bytes_read
    }

    /// Whether a read would return something: bytes in stream mode; in message mode a whole
    /// message, or the error that no message can be completed any more.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.receive.readable()
    }

    /// Drops unread data and everything that is received from now on.
    ///
    /// Data within the window is still acknowledged, so that the peer can finish sending.
    pub fn close_receive(&mut self) {
        self.receive.discard(&mut self.buffers);
        self.announce_if_reopened();
    }

    /// The sequence number after the last segment sent; `None` while segments wait to be sent.
    ///
    /// It is final once nothing more is written.
    #[must_use]
    pub fn end_of_sent(&self) -> Option<SeqNumber> {
        (self.send.queued() == 0).then(|| self.send.flight().next())
    }

    /// Sets the end of the peer's stream, as the sequence number (modulo 2^32) after its last
    /// segment. Returns false if that contradicts a received segment or an end that was set before.
    pub fn set_end_of_received(&mut self, end: u32) -> bool {
        self.receive.set_end(self.receive.next().widen(end))
    }

    /// Whether the peer's stream has ended and all of it was received and read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.receive.is_finished()
    }

    /// Announces our window at the next transmission without a request.
    #[cfg(feature = "tokio")]
    pub(crate) fn announce_window(&mut self) {
        self.probe.announce();
    }

    /// Requests the peer's window at the next [`Self::poll_transmit`]. Every KCP peer answers.
    pub fn request_probe(&mut self) {
        self.probe.request();
    }

    /// Whether nothing is queued and everything sent is acknowledged.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.send.queued() == 0 && self.send.flight().unacked() == 0
    }

    /// Number of segments written and not yet sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.send.queued()
    }

    /// Maximum number of data bytes in a new segment.
    pub(crate) fn mss(&self) -> usize {
        self.send.mss()
    }

    /// Whether the next segment to be sent is full or closed to further writes.
    ///
    /// If not, waiting for another write may save a segment.
    #[must_use]
    pub fn has_full_segment(&self) -> bool {
        self.send.has_full_segment()
    }

    /// The sequence number after the last segment received in order, as sent on the wire.
    #[cfg(feature = "tokio")]
    pub(crate) fn received_until(&self) -> u32 {
        self.receive.next().to_wire()
    }

    /// Number of segments that wait for the reader.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.receive.unread()
    }

    /// The conversation's id.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// Number of segments sent and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.send.flight().unacked()
    }

    /// Current probe time-out: how long nothing is acknowledged until data is sent again.
    #[must_use]
    pub fn rto(&self) -> Duration {
        self.send.path().probe_timeout()
    }

    /// Smoothed round-trip time, once measured.
    #[must_use]
    pub fn smoothed_rtt(&self) -> Option<Duration> {
        self.send.path().smoothed()
    }

    /// Limits what is in flight by a controller of `factory`, in place of what the options name.
    ///
    /// To be called before anything is sent.
    pub fn set_controller(&mut self, now: Time, factory: &dyn ControllerFactory) {
        self.congestion = None;
        self.send.set_controller(now, factory);
    }

    /// The peer has answered something of which the first repetition left `first` ago and the last
    /// one `last` ago: an estimate of the round-trip time, until data is acknowledged.
    pub(crate) fn on_handshake(&mut self, first: Duration, last: Duration) {
        let trip = handshake_trip(first, last);
        self.send.path_mut().on_handshake(trip, last);
    }

    /// The peer has answered something of which the last repetition left `trip` ago, so the round-trip
    /// time is that at least.
    pub(crate) fn on_answer(&mut self, trip: Duration) {
        self.receive.on_answer(trip);
    }

    /// Whether something was lost lately.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_lost(&self) -> bool {
        self.send.path().lost_lately()
    }

    /// Other connections on the same path lose.
    #[cfg(feature = "tokio")]
    pub(crate) fn expect_loss(&mut self) {
        self.send.path_mut().expect_loss();
    }

    /// The peer is told of what has arrived beyond gaps, so that it need not count acks.
    pub(crate) fn set_told(&mut self) {
        self.receive.set_told();
    }

    /// Number of segments the peer can accept; 32 until it advertises a window.
    #[must_use]
    pub fn remote_window(&self) -> u16 {
        self.send.flight().remote_window()
    }

    /// When sent data last made progress, if some is unacknowledged: the later of the last
    /// acknowledgement and the first transmission after an empty flight. `None` if nothing is
    /// unacknowledged.
    #[must_use]
    pub fn unacknowledged_since(&self) -> Option<Time> {
        self.send.waiting_since()
    }

    /// When data was last acknowledged, or sent while nothing else was in flight; the epoch if
    /// neither happened yet.
    #[must_use]
    pub fn last_progress(&self) -> Time {
        self.send.last_progress()
    }

    /// Since when every direct packet has carried a `una` older than one seen before.
    ///
    /// A restarted peer causes this, but so does a single late packet while none follows it. Check
    /// it when a packet arrives rather than when a timer fires, or use [`Self::una_regressed_for`].
    #[must_use]
    pub fn una_regressed_since(&self) -> Option<Time> {
        self.una_regressed.map(|(since, _)| since)
    }

    /// Time between the first and the last of the packets that [`Self::una_regressed_since`]
    /// describes: zero for a single late packet, however long ago it arrived.
    #[must_use]
    pub fn una_regressed_for(&self) -> Duration {
        let micros = self.una_regressed.map_or(0, |(_, time)| time.get() - 1);
        Duration::from_micros(micros.into())
    }

    /// Bytes of heap memory, spare capacity included. Takes constant time.
    #[must_use]
    pub fn memory(&self) -> usize {
        let congestion = self.congestion.as_ref().map_or(0, |it| size_of_val(&**it));
        self.send.memory() + self.receive.memory() + self.buffers.held() + congestion
    }

    /// The part of [`Self::memory`] that is in maps.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn mapped_memory(&self) -> usize {
        self.buffers.mapped()
    }

    /// Bytes of buffers that hold no data.
    pub(crate) fn spare(&self) -> usize {
        self.buffers.held()
    }

    /// Sets whether memory is short elsewhere.
    ///
    /// While it is, the advertised window is at most 8 segments, and at most that many segments are
    /// accepted beyond those already held. Data already received is still delivered in order.
    pub fn set_memory_pressure(&mut self, pressed: bool) {
        self.receive.set_pressure(pressed);
        self.buffers.set_scarce(pressed);
        if !pressed {
            self.announce_if_reopened();
        }
    }

    /// Releases memory that holds no data. Call it when a connection becomes idle.
    pub fn shrink(&mut self) {
        self.buffers.clear();
        self.send.shrink();
        self.receive.shrink();
    }

    /// Releases unacknowledged data, data received after a gap, and spare buffers. Data that is
    /// ready for the reader is kept.
    ///
    /// Only for a connection that has ended: nothing may be received or sent after this.
    pub fn release(&mut self) {
        self.send.release(&mut self.buffers);
        self.send = Sender::new(&self.config, self.send.flight().una());
        self.receive.release(&mut self.buffers);
        self.shrink();
    }

    /// The wire timestamp of a segment sent at `time`.
    fn stamp(&self, time: Time) -> Timestamp {
        stamp(time, self.timestamp_offset)
    }

    /// Records the current time and detects whether this side was suspended while something was
    /// due.
    fn notice_time(&mut self, now: Time) {
        self.buffers.age(now);
        if now - self.last_call > LONG_PAUSE && self.send.is_overdue(now) {
            self.woke_at = now;
        }
        self.last_call = now;
    }

    fn announce_if_reopened(&mut self) {
        if !self.receive.has_reopened() {
            return;
        }
        if self.receive.advertised_closed() {
            self.probe.announce_reopened();
        } else {
            self.probe.announce();
        }
    }
}

fn congestion_window(config: &ArqConfig) -> Option<Box<CongestionWindow>> {
    match config.congestion {
        Congestion::Kcp => Some(Box::new(CongestionWindow::new(config.mss()))),
        Congestion::Unlimited | Congestion::Model => None,
    }
}

/// A datagram's length, which has sixteen bits.
fn narrow(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

fn stamp(time: Time, offset: u32) -> Timestamp {
    // Narrowing on purpose: the wire carries milliseconds modulo 2^32.
    Timestamp::from_wire((time.as_millis() as u32).wrapping_add(offset))
}

/// A deadline that is handled later than this counts as a pause of this side.
///
/// It is far above the timer delay of an idle machine. A machine that is so busy should not
/// retransmit a whole window in response.
const LONG_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
