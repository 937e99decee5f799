//! One connection without I/O: ARQ, FEC and connection life cycle combined.
//!
//! The caller drives a session: it passes decrypted datagram payloads to
//! [`Session::handle_datagram`], calls [`Session::handle_timeout`] as time passes, and sends what
//! [`Session::poll_transmit`] lays out. Encryption and sockets are the caller's responsibility.

mod amplification;
mod demux;
mod extension;
mod input;
mod lifetime;
mod memory;
mod message;
mod out_of_band;
mod pacing;
mod path_mtu;
mod refusals;
mod stats;
mod trace;
mod transmit;

pub use demux::{Destination, Unsolicited, opening_token, path_response};
pub use lifetime::State;

use std::time::Duration;

use crate::arq::{Arq, ArqConfig};
use crate::config::{Config, Extensions, Mode};
use crate::error::{ConfigError, ConnectionError, SystemError};
use crate::fec::{FecDecoder, FecEncoder};
use crate::packet::PacketLayout;
use crate::time::Time;
use crate::wire::ConversationId;
use amplification::AddressValidation;
use extension::{Extension, Offer};
use lifetime::{Lifetime, LivenessInputs};
use message::WindowInquiry;
use out_of_band::OutOfBand;
use pacing::Pacer;
use path_mtu::PathMtu;
use stats::Counters;

/// Which side opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Opens the connection and requests an answer from the peer before it counts as established.
    Connect,
    /// Opens the connection without waiting for an answer: data is sent at once.
    ConnectLazy,
    /// The peer's first packet opened the connection.
    Accept,
}

/// The state of one connection.
///
/// ```
/// use kcp_transport::config::Config;
/// use kcp_transport::crypto::Overhead;
/// use kcp_transport::packet::TransmitBatch;
/// use kcp_transport::session::{Role, Session};
/// use kcp_transport::time::Time;
/// use kcp_transport::wire::ConversationId;
///
/// let config = Config::default();
/// let layout = config.layout(Overhead { front: 0, back: 0 })?;
/// let conversation = ConversationId::new(7);
/// let now = Time::ZERO;
/// let mut client = Session::new(&config, layout, conversation, Role::ConnectLazy, 1, now);
/// let mut server = Session::new(&config, layout, conversation, Role::Accept, 2, now);
///
/// client.write(now, b"hello");
/// let mut batch = TransmitBatch::new(layout, 32);
/// client.poll_transmit(now, &mut batch);
/// for datagram in batch.datagrams() {
///     server.handle_datagram(now, datagram);
/// }
/// let mut greeting = [0; 8];
/// assert_eq!(server.read(now, &mut greeting), 5);
/// assert_eq!(&greeting[..5], b"hello");
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Session {
    arq: Arq,
    encoder: Option<Box<FecEncoder>>,
    decoder: Option<Box<FecDecoder>>,
    lifetime: Lifetime,
    layout: PacketLayout,
    /// The layout with FEC, if this side sends FEC as soon as its peer does.
    mirror: Option<PacketLayout>,
    pacer: Option<Pacer>,
    path_mtu: PathMtu,
    /// Created by the first out-of-band datagram.
    out_of_band: Option<Box<OutOfBand>>,
    /// State of requesting a larger window for a long message.
    inquiry: WindowInquiry,
    /// Limits sending until the peer's address is validated; `None` from then on.
    validation: Option<Box<AddressValidation>>,
    /// What this side offers to a peer that supports extensions.
    offer: Option<Offer>,
    /// Created by the first hello.
    extension: Option<Box<Extension>>,
    write_closed: bool,
    /// The user has released the session, so nothing will be read any more.
    abandoned: bool,
    /// Data was received that will never be read.
    discarded: bool,
    /// Memory is short elsewhere.
    pressed: bool,
    counters: Counters,
}

/// First numbers of a session under test.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FirstNumbers {
    /// First sequence number of both directions.
    pub sequence: u32,
    /// FEC groups that are sent before their numbers wrap to 0; `None` begins at 0.
    pub fec_groups_left: Option<u32>,
}

impl Session {
    /// A session that has sent and received nothing. It allocates no buffers.
    ///
    /// `seed` must be unpredictable to others. It hides the clock in timestamps, so that only a
    /// host that receives our packets can echo them, and it is the secret token that authenticates
    /// the extension frames of the peer.
    #[must_use]
    pub fn new(
        config: &Config,
        layout: PacketLayout,
        conversation: ConversationId,
        role: Role,
        seed: u128,
        now: Time,
    ) -> Self {
        // Narrowing on purpose: each use takes other bits.
        let (offset, token) = (seed as u32, (seed >> 64) as u64);
        let arq = Arq::new(arq_config(config, layout), conversation, offset);
        Self::with_arq(arq, config, layout, (role, token), now)
    }

    /// As [`Session::new`], with other first numbers than zero, so that a test can begin just below
    /// a wrap. Both sides must use the same numbers; other KCP implementations cannot.
    #[cfg(any(test, feature = "testing"))]
    #[must_use]
    pub fn with_first_numbers(
        config: &Config,
        layout: PacketLayout,
        conversation: ConversationId,
        role: Role,
        seed: u128,
        first: FirstNumbers,
        now: Time,
    ) -> Self {
        let (offset, token) = (seed as u32, (seed >> 64) as u64);
        let arq = Arq::with_initial_sequence(
            arq_config(config, layout),
            conversation,
            offset,
            first.sequence,
            first.sequence,
        );
        let mut session = Self::with_arq(arq, config, layout, (role, token), now);
        if let Some((ratio, groups)) = config.fec().zip(first.fec_groups_left) {
            session.encoder = Some(Box::new(FecEncoder::with_groups_left(ratio, groups)));
        }
        session
    }

    fn with_arq(
        mut arq: Arq,
        config: &Config,
        layout: PacketLayout,
        (role, token): (Role, u64),
        now: Time,
    ) -> Self {
        if role != Role::Accept {
            arq.set_opens_session();
        }
        if let Some(factory) = config.controller() {
            arq.set_controller(now, &**factory);
        }
        let conversation = arq.conversation();
        let offer = Offer::new(config, layout.mss(), token);
        let initiated = offer.filter(|_| role != Role::Accept);
        let mut session = Self {
            arq,
            encoder: config.fec().map(|ratio| Box::new(FecEncoder::new(ratio))),
            decoder: None,
            lifetime: Lifetime::new(config, conversation, role, now),
            layout,
            mirror: None,
            pacer: config
                .send_rate()
                .map(|rate| Pacer::new(rate, layout.mtu(), now)),
            path_mtu: PathMtu::new(layout.mtu(), config.mtu_discovery()),
            out_of_band: None,
            inquiry: WindowInquiry::default(),
            validation: AddressValidation::new(role),
            offer,
            extension: initiated.map(|offer| Box::new(Extension::new(offer, true))),
            write_closed: false,
            abandoned: false,
            discarded: false,
            pressed: false,
            counters: Counters::default(),
        };
        session.apply_path_mtu();
        if role == Role::Connect {
            session.request_answer();
        }
        session
    }

    /// Sends FEC too, at the ratio of the peer, if the peer does from its first packet on. Has no effect
    /// on a session with a ratio of its own. Call it before anything is received.
    pub fn mirror_fec(&mut self) {
        if self.encoder.is_none() {
            self.mirror = self.layout.with_fec();
        }
    }

    /// Handles what became due by time alone: probes, and the end of a connection whose peer does
    /// not answer.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.lifetime.is_closed() {
            return;
        }
        let inputs = self.update_lifetime(now);
        self.request_window(now);
        match self.lifetime.handle_timeout(now, &inputs) {
            lifetime::Action::None => {}
            lifetime::Action::Probe => self.request_answer(),
            lifetime::Action::Shrink => self.shrink(),
        }
        self.queue_close_reason(now, &inputs);
    }

    /// Whether the peer was received.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_heard(&self) -> bool {
        self.lifetime.is_heard()
    }

    /// Whether something that was sent was lost lately.
    #[cfg(feature = "tokio")]
    pub(crate) fn has_lost(&self) -> bool {
        self.arq.has_lost()
    }

    /// Other connections on the same path lose: this one is protected until it knows better.
    #[cfg(feature = "tokio")]
    pub(crate) fn expect_loss(&mut self) {
        self.arq.expect_loss();
    }

    /// The peer's host reported that no socket listens there.
    ///
    /// Such a report can be forged. It ends a session that has received nothing so far. Others probe
    /// their peer, and end with [`ConnectionError::PeerGone`] if at least three reports, each after
    /// something was sent, span a second in which nothing is received.
    pub fn handle_refused(&mut self, now: Time) {
        if self.lifetime.on_refused(now, self.arq.rto()) {
            self.request_answer();
        }
        self.update_lifetime(now);
    }

    /// Changes the options from `current` to `config`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Fixed`] for an option that cannot change, [`ConfigError::MtuTooSmall`] if the mtu
    /// has no room for data. Nothing has changed then.
    pub fn reconfigure(
        &mut self,
        now: Time,
        current: &Config,
        config: &Config,
    ) -> Result<(), ConfigError> {
        current.check_change(config, self.arq.mode())?;
        let layout = config.layout(self.layout.overhead())?;
        if self.offer.is_some() && layout.mss() < Extensions::MIN_ROOM {
            return Err(ConfigError::Fixed {
                option: "mtu",
                current: current.mtu().to_string(),
                given: config.mtu().to_string(),
                hint: "the extensions of the connection need more room",
            });
        }
        let arq = ArqConfig {
            mode: self.arq.mode(),
            ..arq_config(config, layout)
        };
        self.arq.set_config(arq);
        if layout.mtu() < self.layout.mtu() {
            let mirrored = self.mirror.and_then(|_| layout.with_fec());
            self.layout = mirrored.unwrap_or(layout);
            self.path_mtu.lower_ceiling(layout.mtu());
            self.apply_path_mtu();
        }
        if config.send_rate() != current.send_rate() {
            let pacer = |rate| Pacer::new(rate, self.layout.mtu(), now);
            self.pacer = config.send_rate().map(pacer);
        }
        self.lifetime.set_limits(config);
        self.note_activity(now);
        Ok(())
    }

    /// The system did not send what [`Session::poll_transmit`] has laid out last.
    ///
    /// It ends a session that is connecting, if there was no way to the peer from the beginning;
    /// otherwise it is only the reason that a time-out gives, if nothing is sent until then.
    pub fn handle_send_error(&mut self, now: Time, error: SystemError) {
        self.lifetime.on_unsent(error);
        self.update_lifetime(now);
    }

    /// Gives up connecting after that time since the session was made, if
    /// [`Config::connect_timeout`] is not shorter.
    pub fn limit_connecting(&mut self, limit: Duration) {
        self.lifetime.limit_connecting(limit);
    }

    /// The session has a socket to itself. Once its user has released it, it ends sooner, to free the
    /// socket: packets that are late find a closed port.
    pub fn set_alone(&mut self) {
        self.lifetime.set_alone();
    }

    /// Ends the session at once. Reads and writes fail with `error` from now on.
    pub fn abort(&mut self, error: ConnectionError) {
        self.lifetime.close(error);
    }

    /// Queues bytes and returns how many were accepted: 0 when the send buffer has no room for a segment,
    /// after [`Session::shutdown`] and after the end.
    ///
    /// Of a stream's data that does not fit, so much is accepted as fills whole segments.
    pub fn write(&mut self, now: Time, data: &[u8]) -> usize {
        if self.write_closed || self.lifetime.is_closed() {
            return 0;
        }
        let taken = self.arq.write(data);
        self.note_activity(now);
        taken
    }

    /// Number of bytes for which the send buffer has room: [`Session::write`] accepts as many or fewer at once.
    #[must_use]
    pub fn send_capacity(&self) -> usize {
        if self.write_closed {
            0
        } else {
            self.arq.send_capacity()
        }
    }

    /// Reads bytes in order and returns how many: 0 when nothing is ready.
    pub fn read(&mut self, now: Time, out: &mut [u8]) -> usize {
        let read = self.arq.read(out);
        self.note_activity(now);
        read
    }

    /// As [`Session::read`], but passes up to `limit` bytes to `sink` without copying them.
    #[cfg(feature = "tokio")]
    pub(crate) fn read_with(
        &mut self,
        now: Time,
        limit: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> usize {
        let read = self.arq.read_with(limit, sink);
        self.note_activity(now);
        read
    }

    /// As [`Session::read_with`], leaving the bytes where they are.
    #[cfg(feature = "tokio")]
    pub(crate) fn peek_with(&self, limit: usize, sink: &mut impl FnMut(&[u8])) -> usize {
        self.arq.peek_with(limit, sink)
    }

    /// Bytes that were read.
    #[cfg(feature = "tokio")]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.arq.bytes_read()
    }

    /// Whether [`Session::read`] would return bytes.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.arq.readable()
    }

    /// Whether a writer should be woken: when a quarter of the send buffer is free, so that single
    /// acknowledgements do not wake it for a few bytes each.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.send_capacity() >= self.writable_at()
            && !self.arq.is_crowded()
            && !self.awaits_window()
    }

    /// Room from which on a writer is woken: a quarter of all there is, but no less than a segment, and
    /// everything if that is less.
    fn writable_at(&self) -> usize {
        let limit = self.arq.send_limit();
        (limit / 4).max(self.arq.mss().min(limit)).max(1)
    }

    /// Number of segments written and not yet sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.arq.queued()
    }

    /// Closes the writing side. The session is drained once everything written is acknowledged.
    ///
    /// If that takes longer than the linger time, the session ends with
    /// [`ConnectionError::LingerTimeout`].
    pub fn shutdown(&mut self, now: Time) {
        self.write_closed = true;
        self.arq.finish_writing();
        self.lifetime.start_drain(now);
        self.update_lifetime(now);
    }

    /// The user releases the session. It drains in the background, acknowledges and discards what
    /// is still received, and ends once the peer is silent.
    pub fn abandon(&mut self, now: Time) {
        self.write_closed = true;
        self.abandoned = true;
        self.discarded |= self.arq.unread() > 0;
        self.arq.finish_writing();
        self.arq.close_receive();
        if let Some(out_of_band) = &mut self.out_of_band {
            out_of_band.keep(0);
        }
        self.lifetime.abandon(now);
        self.update_lifetime(now);
    }

    /// Whether everything written is acknowledged.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.arq.is_drained()
    }

    /// The state of the session's life cycle.
    #[must_use]
    pub fn state(&self) -> State {
        self.lifetime.state()
    }

    /// Why the session ended, if it ended before its user released it.
    #[must_use]
    pub fn error(&self) -> Option<ConnectionError> {
        match self.lifetime.state() {
            State::Closed(error) => error,
            _ => None,
        }
    }

    /// Records that the session was used, and updates its life cycle.
    fn note_activity(&mut self, now: Time) {
        self.lifetime.note_activity(now, self.keeps_buffers());
        self.update_lifetime(now);
    }

    /// Updates life cycle and extensions after a change of the ARQ. Returns the inputs of the life
    /// cycle, which stay valid until the ARQ or the extensions change again.
    fn update_lifetime(&mut self, now: Time) -> LivenessInputs {
        self.finish_if_sent(now);
        let inputs = self.liveness_inputs();
        self.lifetime.update(now, &inputs);
        self.refuse_unread(now, &inputs);
        self.queue_close_reason(now, &inputs);
        inputs
    }

    fn liveness_inputs(&self) -> LivenessInputs {
        let drained = self.arq.is_drained();
        let extension = self.extension.as_ref();
        let unacknowledged_since = self.arq.unacknowledged_since();
        LivenessInputs {
            drained,
            settled: drained && extension.is_none_or(|it| it.is_settled()),
            finished: self.arq.is_finished() && extension.is_some_and(|it| it.is_end_known()),
            extended: extension.is_some_and(|it| it.is_negotiated()),
            readable: self.arq.readable(),
            unacknowledged_since,
            probe_passed: unacknowledged_since.and_then(|it| self.path_mtu.passed_since(it)),
            last_progress: self.arq.last_progress(),
            shut: self.arq.remote_window() == 0,
            blocked: self.arq.queued() > 0 && self.arq.remote_window() == 0,
            regressed: self.arq.una_regressed_since().is_some(),
            rto: self.arq.rto(),
        }
    }
}

fn arq_config(config: &Config, layout: PacketLayout) -> ArqConfig {
    // The buffer must have room for one message of the maximum number of fragments.
    let segments = match config.mode() {
        Mode::Stream => config.send_window(),
        Mode::Message => config.send_window().max(MIN_MESSAGE_SEGMENTS),
    };
    let segments = usize::from(segments);
    let send_buffer = match config.send_buffer() {
        // Segments with less data would take many times the memory of their data.
        Some(bytes) => bytes.min(layout.mss() * segments.max(bytes / MIN_BUFFERED_SEGMENT)),
        None => layout.mss() * segments,
    };
    ArqConfig {
        segments_len: layout.segments_len(),
        send_window: config.send_window(),
        receive_window: config.receive_window(),
        no_delay: config.no_delay(),
        flush_interval: config.flush_interval(),
        fast_retransmit_after: config.fast_retransmit_after(),
        congestion: config.congestion(),
        redundancy: config.redundancy(),
        mode: config.mode(),
        ack_policy: config.ack_policy(),
        write_coalescing: config.write_coalescing(),
        send_buffer,
        receive_buffer: config
            .receive_buffer()
            .unwrap_or_else(|| ArqConfig::default_receive_buffer(config.receive_window())),
    }
}

/// Number of fragments of the longest message.
const MIN_MESSAGE_SEGMENTS: u16 = 255;

/// Minimum size of a segment when limiting their number by the send buffer, in bytes. A segment's
/// entries in all lists are smaller.
const MIN_BUFFERED_SEGMENT: usize = 128;
