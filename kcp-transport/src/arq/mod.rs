//! Automatic repeat request: turns datagrams that get lost, repeated and reordered into a stream
//! of bytes or messages, as KCP does.
//!
//! [`Arq`] is a state machine over segments. It knows neither sockets nor clocks, and nothing of
//! forward error correction, encryption or the beginning and end of connections.
//!
//! Where kcp-go walks its buffers on a tick, this visits what is due: acknowledging a segment is
//! O(1), and an idle `Arq` has no timer. What differs in behaviour is said where it does.

mod buffers;
mod congestion;
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

use std::time::Duration;

use crate::time::Time;
use crate::wire::{ConversationId, SeqNumber, Timestamp};

use buffers::Buffers;
use congestion::CongestionWindow;
use loss::RttEstimator;
use probe::Probe;
use receive::Receiver;
use send::Sender;
use stats::Counters;

pub use message::MessageError;
pub use options::{AckPolicy, ArqConfig, Congestion, Mode, WriteCoalescing};
pub(crate) use trace::is_traced;

/// How a payload came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provenance {
    /// Straight from the network.
    Direct,
    /// Rebuilt from parity, so possibly late: says nothing about window and round-trip time.
    Recovered,
    /// As [`Self::Recovered`], while it is not certain with which ratio: may be something that was
    /// never sent. Believed only as far as it fills a gap.
    Contested,
}

/// What a payload brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Data was acknowledged that was not before: there may be room for more.
    pub acknowledged: bool,
    /// There is something to read.
    pub readable: bool,
    /// The peer echoed a timestamp of ours exactly, so it receives where we send to.
    pub validated: bool,
    /// The payload held an ack or a window update: what a peer says only in answer.
    pub answered: bool,
    /// New data came that nobody will read, since [`Arq::close_receive`] was called.
    pub discarded: bool,
}

/// One conversation's ARQ state, both directions.
#[derive(Debug)]
pub struct Arq {
    config: ArqConfig,
    conversation: ConversationId,
    timestamp_offset: u32,
    send: Sender,
    receive: Receiver,
    rtt: RttEstimator,
    congestion: CongestionWindow,
    probe: Probe,
    buffers: Buffers,
    #[doc(alias = "rmt_wnd")]
    remote_window: u16,
    /// The largest window the peer has told: what it holds when its reader has read all.
    remote_capacity: Option<u16>,
    /// When this was last given the time.
    last_call: Time,
    /// When this side last woke from a pause: the time of acks that waited for it says nothing.
    woke_at: Time,
    /// Since when, and until when, packets came that contradict what the peer had acknowledged.
    una_regressed: Option<(Time, Time)>,
    /// Data was due, and acks and probes took all the room.
    crowded_out: bool,
    counters: Counters,
}

impl Arq {
    /// A conversation in which nothing has been sent. Allocates nothing.
    ///
    /// Timestamps on the wire are shifted by `timestamp_offset` milliseconds; if that is secret,
    /// only a peer that receives our segments can echo them.
    #[must_use]
    pub fn new(config: ArqConfig, conversation: ConversationId, timestamp_offset: u32) -> Self {
        Self::with_initial_sequence(config, conversation, timestamp_offset, 0, 0)
    }

    /// As [`Self::new`], with other first sequence numbers than KCP's zero, for tests of wrapping.
    #[doc(hidden)]
    #[must_use]
    pub fn with_initial_sequence(
        config: ArqConfig,
        conversation: ConversationId,
        timestamp_offset: u32,
        first_sent: u32,
        first_received: u32,
    ) -> Self {
        Self {
            conversation,
            timestamp_offset,
            send: Sender::new(&config, SeqNumber::first(first_sent)),
            receive: Receiver::new(&config, SeqNumber::first(first_received)),
            rtt: RttEstimator::new(config.no_delay, config.flush_interval),
            congestion: CongestionWindow::new(config.congestion, config.mss()),
            probe: Probe::default(),
            buffers: Buffers::default(),
            remote_window: INITIAL_REMOTE_WINDOW,
            remote_capacity: None,
            last_call: Time::ZERO,
            woke_at: Time::ZERO,
            una_regressed: None,
            crowded_out: false,
            counters: Counters::default(),
            config,
        }
    }

    /// Queues bytes; returns how many were taken, 0 when the send buffer is full.
    ///
    /// In stream mode they fill up the last queued segment first. In message mode each call starts
    /// a segment of its own, and the buffer also counts as full when [`Self::is_crowded`].
    pub fn write(&mut self, data: &[u8]) -> usize {
        if self.is_crowded() {
            return 0;
        }
        let taken = self.send.write(data, self.config.mode, &mut self.buffers);
        self.counters.bytes_written += taken as u64;
        taken
    }

    /// Nothing more will be written: what is held back for more leaves now.
    pub fn finish_writing(&mut self) {
        self.send.finish_writing();
    }

    /// Bytes that [`Self::write`] would take now.
    #[must_use]
    pub fn send_capacity(&self) -> usize {
        self.send.capacity()
    }

    /// Reads bytes in order, across segments and messages; 0 when there are none.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let mut at = 0;
        self.read_with(out.len(), &mut |bytes| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        })
    }

    /// As [`Self::read`], handing at most `limit` bytes to `sink` where they lie.
    pub fn read_with(&mut self, limit: usize, sink: &mut impl FnMut(&[u8])) -> usize {
        let read = self.receive.read_with(limit, sink, &mut self.buffers);
        self.counters.bytes_read += read as u64;
        self.announce_if_reopened();
        read
    }

    /// Whether there is something to read: bytes in stream mode, in message mode a whole message
    /// or the discovery that there will never be one.
    #[must_use]
    pub fn readable(&self) -> bool {
        self.receive.readable()
    }

    /// The reader is gone: what it has not read is dropped, and so is what comes.
    ///
    /// Data within the window is still acknowledged, so that the peer's sending comes to an end.
    pub fn close_receive(&mut self) {
        self.receive.discard(&mut self.buffers);
        self.announce_if_reopened();
    }

    /// The number after the last segment there will ever be; `None` while some wait to be sent.
    ///
    /// Final once nothing more is written.
    #[must_use]
    pub fn end_of_sent(&self) -> Option<SeqNumber> {
        (self.send.queued() == 0).then(|| self.send.flight().next())
    }

    /// The peer will send nothing from `end` on, a number modulo 2^32. Returns whether that can be:
    /// not if later segments were received, or another end was told before.
    pub fn set_end_of_received(&mut self, end: u32) -> bool {
        self.receive.set_end(self.receive.next().widen(end))
    }

    /// Whether everything the peer will ever send was received in order and read.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.receive.is_finished()
    }

    /// Tells our window at the next transmission, unasked.
    #[cfg(feature = "tokio")]
    pub(crate) fn announce_window(&mut self) {
        self.probe.announce();
    }

    /// Asks for the peer's window at the next [`Self::poll_transmit`]: every KCP peer answers.
    pub fn request_probe(&mut self) {
        self.probe.request();
    }

    /// Whether nothing is queued and nothing unacknowledged.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.send.queued() == 0 && self.send.flight().unacked() == 0
    }

    /// Segments written and not yet sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.send.queued()
    }

    /// Whether the next segment to be sent cannot become any fuller.
    ///
    /// If not, waiting for more to be written would save a segment.
    #[must_use]
    pub fn has_full_segment(&self) -> bool {
        self.send.has_full_segment()
    }

    /// The number after the last segment received in order, as the peer is told it.
    #[cfg(feature = "tokio")]
    pub(crate) fn received_until(&self) -> u32 {
        self.receive.next().to_wire()
    }

    /// Segments that wait for the reader.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.receive.unread()
    }

    /// The conversation's id.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// Segments sent and not yet acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.send.flight().unacked()
    }

    /// Current retransmission time-out.
    #[must_use]
    pub fn rto(&self) -> Duration {
        self.rtt.rto()
    }

    /// Smoothed round-trip time, once measured.
    #[must_use]
    pub fn smoothed_rtt(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    /// Segments the peer can take; 32 until it has said so.
    #[must_use]
    pub fn remote_window(&self) -> u16 {
        self.remote_window
    }

    /// Since when sent data waits without any of it being acknowledged; `None` if none waits.
    #[must_use]
    pub fn unacknowledged_since(&self) -> Option<Time> {
        self.send.waiting_since()
    }

    /// When something was last acknowledged, or sent while nothing else was in flight; the epoch
    /// if never.
    #[must_use]
    pub fn last_progress(&self) -> Time {
        self.send.last_progress()
    }

    /// Since when every direct packet has carried a `una` older than one seen before.
    ///
    /// A restarted peer does that, but so does one late packet, if none follows it. Look at this
    /// when a packet has come, not when a timer fires, or see [`Self::una_regressed_for`].
    #[must_use]
    pub fn una_regressed_since(&self) -> Option<Time> {
        self.una_regressed.map(|(since, _)| since)
    }

    /// Between the first and the last of the packets that [`Self::una_regressed_since`] is about:
    /// zero for a single late one, however long ago.
    #[must_use]
    pub fn una_regressed_for(&self) -> Duration {
        self.una_regressed
            .map_or(Duration::ZERO, |(since, until)| until - since)
    }

    /// Bytes of memory held outside this value itself, spare room included. Takes constant time.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.send.memory() + self.receive.memory() + self.buffers.held()
    }

    /// Tells whether memory is short elsewhere.
    ///
    /// While it is, the peer is told a window of 8 segments at most, and no more is kept than that
    /// beyond what was taken in before. The reader goes on to get everything in order.
    pub fn set_memory_pressure(&mut self, pressed: bool) {
        self.receive.set_pressure(pressed);
        self.buffers.set_scarce(pressed);
        if !pressed {
            self.announce_if_reopened();
        }
    }

    /// Releases memory that holds no data; worth calling when a connection falls idle.
    pub fn shrink(&mut self) {
        self.buffers.clear();
        self.send.shrink();
        self.receive.shrink();
    }

    /// Releases the memory of what can go neither way any more: data that was not acknowledged or
    /// came after a gap, and spare buffers. What the reader may have stays.
    ///
    /// Only for the end: the peer must not be heard or answered after that.
    pub fn release(&mut self) {
        self.send = Sender::new(&self.config, self.send.flight().una());
        self.receive.release();
        self.shrink();
    }

    /// The timestamp of something sent at `time`.
    fn stamp(&self, time: Time) -> Timestamp {
        stamp(time, self.timestamp_offset)
    }

    /// Takes the time: notices if this side slept while something was due.
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

fn stamp(time: Time, offset: u32) -> Timestamp {
    // Narrowing is the point: the wire carries milliseconds modulo 2^32.
    Timestamp::from_wire((time.as_millis() as u32).wrapping_add(offset))
}

/// How late something due is noticed before it counts as this side's own pause.
///
/// Far beyond what an idle machine delays a timer. One that is so busy had better not answer that
/// with a window of retransmissions.
const LONG_PAUSE: Duration = Duration::from_millis(200);

/// Segments a peer is taken to have room for until it says.
#[doc(alias = "IKCP_WND_RCV")]
const INITIAL_REMOTE_WINDOW: u16 = 32;

#[cfg(test)]
mod tests;
