//! Options of a connection, validated when built.

mod builder;
mod choice;
#[cfg(feature = "serde")]
mod fields;
mod listening;

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use crate::crypto::Overhead;
use crate::error::ConfigError;
use crate::fec::FecRatio;
use crate::packet::PacketLayout;
use crate::wire::ConversationId;

pub use crate::arq::{AckPolicy, Congestion, Mode, WriteCoalescing};
pub use builder::ConfigBuilder;
pub use choice::{Extensions, Preset};
use listening::Listening;

/// Options of a connection.
///
/// Each option says its unit, its default, and where it comes from: the call of kcp-go and the flag
/// of kcptun that set the same. An option without such a source is of this crate alone and changes
/// nothing that a peer must know of.
///
/// [`Config::default`] is fit for gRPC: [`Preset::Fast2`] timing, windows of 1024 segments, mtu
/// 1400, stream mode, no FEC. Both sides need the same cipher; everything else is per direction or
/// local, so a peer with other options is fine.
///
/// ```
/// use kcp_transport::config::{Config, Preset};
/// use kcp_transport::fec::FecRatio;
///
/// let config = Config::builder()
///     .preset(Preset::Fast3)
///     .fec(FecRatio::new(10, 3)?)
///     .windows(2048, 2048)
///     .build()?;
/// assert_eq!(config.send_window(), 2048);
/// # Ok::<(), kcp_transport::error::ConfigError>(())
/// ```
/// # Configuration files
///
/// With the `serde` feature a configuration is a map of options. Missing options have their
/// defaults, unknown ones are an error, and so is what [`ConfigBuilder::build`] refuses, with the
/// same text. Options that kcptun has keep its names, units and meaning of 0:
///
/// | name | value |
/// |---|---|
/// | `mode` | a [`Preset`] or `manual`; unless `manual`, overrides the next four |
/// | `nodelay` | 0 or 1: [`Config::no_delay`] |
/// | `interval` | milliseconds: [`Config::flush_interval`] |
/// | `resend` | 0 is off: [`Config::fast_retransmit_after`] |
/// | `nc` | 0 is [`Congestion::Kcp`], 1 is [`Congestion::Unlimited`]; names also work |
/// | `mtu`, `sndwnd`, `rcvwnd` | [`Config::mtu`], [`Config::send_window`], [`Config::receive_window`] |
/// | `datashard`, `parityshard` | [`Config::fec`]; 0 in either is off |
/// | `acknodelay` | true is [`AckPolicy::Immediate`] |
/// | `dscp` | [`Config::dscp`] |
/// | `sockbuf` | [`Config::socket_buffer`]; 0 leaves the system's |
/// | `ratelimit` | [`Config::send_rate`]; 0 is off |
/// | `keepalive` | seconds: [`Config::keepalive`]; 0 is off |
///
/// The others have the names of the builder's methods, and [`Config::mode`] is `stream`, true or
/// false. Times are in seconds. 0 turns `user_timeout` and `idle_timeout` off, and stands for the
/// default of `send_buffer` and `receive_buffer`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "fields::Fields", into = "fields::Fields")
)]
pub struct Config {
    mtu: usize,
    send_window: u16,
    receive_window: u16,
    no_delay: bool,
    flush_interval: Duration,
    fast_retransmit_after: Option<NonZeroU32>,
    congestion: Congestion,
    mode: Mode,
    ack_policy: AckPolicy,
    fec: Option<FecRatio>,
    connect_timeout: Duration,
    keepalive: Option<Duration>,
    user_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    linger: Duration,
    send_buffer: Option<usize>,
    receive_buffer: Option<usize>,
    backlog: usize,
    dscp: u8,
    socket_buffer: Option<usize>,
    write_coalescing: WriteCoalescing,
    send_rate: Option<NonZeroU64>,
    conversation: Option<ConversationId>,
    listening: Listening,
    extensions: Extensions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mtu: 1400,
            send_window: 1024,
            receive_window: 1024,
            no_delay: true,
            flush_interval: Duration::from_millis(20),
            fast_retransmit_after: NonZeroU32::new(2),
            congestion: Congestion::Unlimited,
            mode: Mode::Stream,
            ack_policy: AckPolicy::Immediate,
            fec: None,
            connect_timeout: Duration::from_secs(10),
            keepalive: Some(Duration::from_secs(20)),
            user_timeout: Some(Duration::from_secs(30)),
            idle_timeout: Some(Duration::from_secs(90)),
            linger: Duration::from_secs(30),
            send_buffer: None,
            receive_buffer: None,
            backlog: 1024,
            dscp: 0,
            socket_buffer: Some(4 << 20),
            write_coalescing: WriteCoalescing::Immediate,
            send_rate: None,
            conversation: None,
            listening: Listening::default(),
            extensions: Extensions::Migration,
        }
    }
}

impl Config {
    /// Starts from [`Config::default`].
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder::new(Self::default())
    }

    /// Starts from this configuration.
    pub fn to_builder(&self) -> ConfigBuilder {
        ConfigBuilder::new(self.clone())
    }

    /// Largest UDP payload, in bytes: nonce, checksum or tag, and FEC header included.
    /// Default 1400, at most 1500.
    ///
    /// kcp-go `SetMtu`, kcptun `--mtu`. Local: a peer with another mtu is fine.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// Most segments in flight. Default 1024, 1 to 65535.
    ///
    /// The peer's receive window limits them too. kcp-go `SetWindowSize` (32 by default), kcptun
    /// `--sndwnd`.
    #[must_use]
    #[doc(alias = "snd_wnd")]
    pub fn send_window(&self) -> u16 {
        self.send_window
    }

    /// Most segments buffered for the reader, and as many, but at least 128, beyond a hole. Default
    /// 1024, 1 to 65535.
    ///
    /// What the peer is told it may send; [`Config::receive_buffer`] bounds the memory. kcp-go `SetWindowSize` (32 by default), kcptun `--rcvwnd`.
    #[must_use]
    #[doc(alias = "rcv_wnd")]
    pub fn receive_window(&self) -> u16 {
        self.receive_window
    }

    /// Whether the probe time-out may fall to 30 ms and, from the fourth in a row on, grows by half of
    /// itself, else to 100 ms and grows by itself. Default true.
    ///
    /// kcp-go `SetNoDelay`, first argument; kcptun `--nodelay`.
    #[must_use]
    #[doc(alias = "nodelay")]
    pub fn no_delay(&self) -> bool {
        self.no_delay
    }

    /// KCP's clock tick: how long batched acks and delayed writes wait. Default 20 ms, 1 ms to 5 s.
    ///
    /// Nothing else waits for a tick. kcp-go `SetNoDelay`, second argument (100 ms by default, at
    /// least 10 ms); kcptun `--interval`.
    #[must_use]
    #[doc(alias = "interval")]
    pub fn flush_interval(&self) -> Duration {
        self.flush_interval
    }

    /// Later transmissions that must have arrived for one to count as lost at once. Default 2.
    ///
    /// That holds on a path that keeps the order. Where segments were seen to overtake each other,
    /// and with `None` or more than 8, a segment is lost when a later one has arrived and it is
    /// overdue itself: by a fraction of the round-trip time that follows what the path does.
    ///
    /// kcp-go `SetNoDelay`, third argument (0 is off, and its default); kcptun `--resend`.
    #[must_use]
    #[doc(alias = "resend")]
    pub fn fast_retransmit_after(&self) -> Option<NonZeroU32> {
        self.fast_retransmit_after
    }

    /// Whether there is a congestion window. Default [`Congestion::Unlimited`].
    ///
    /// kcp-go `SetNoDelay`, fourth argument (0, a window, by default); kcptun `--nc`.
    #[must_use]
    pub fn congestion(&self) -> Congestion {
        self.congestion
    }

    /// Stream or messages. Default [`Mode::Stream`].
    ///
    /// kcp-go `SetStreamMode` (messages by default, of one segment each). Messages of several segments
    /// are understood by the peers that understand C KCP's.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// When acks leave. Default [`AckPolicy::Immediate`].
    ///
    /// kcp-go `SetACKNoDelay` (batched by default), kcptun `--acknodelay`.
    #[must_use]
    pub fn ack_policy(&self) -> AckPolicy {
        self.ack_policy
    }

    /// FEC of what we send. Default off. What the peer sends is decoded in any case.
    ///
    /// Out-of-band datagrams need it. kcp-go `DialWithOptions` and `ListenWithOptions`, kcptun
    /// `--datashard` and `--parityshard` (10 and 3 by default). A peer of rpcx's age wants FEC on both
    /// sides or on none.
    #[must_use]
    pub fn fec(&self) -> Option<FecRatio> {
        self.fec
    }

    /// How long connecting to an address may take. Default 10 s, 10 ms to 30 days.
    ///
    /// Names are not resolved here: whoever does so first, as the connector of kcp-tower, takes time
    /// of its own for that.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Silence after which the peer is asked for a sign of life; `None` never asks. Default 20 s,
    /// 10 ms to 30 days.
    ///
    /// Asks by a window probe, which every KCP peer answers.
    #[must_use]
    pub fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    /// How long sent data may stay unacknowledged before the connection ends; `None` is for ever.
    /// Default 30 s, 10 ms to 30 days.
    ///
    /// Stands for KCP's `dead_link`, which counts retransmissions and which kcp-go never reads.
    #[must_use]
    pub fn user_timeout(&self) -> Option<Duration> {
        self.user_timeout
    }

    /// Silence after which the connection ends; `None` is never. Default 90 s, 10 ms to 30 days.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// How long shutting down waits for acknowledgements, counted from the last one. Default 30 s,
    /// 0 to 30 days. kcp-go does not wait and loses the rest.
    #[must_use]
    pub fn linger(&self) -> Duration {
        self.linger
    }

    /// Most bytes queued and in flight. Default: the send window full of full segments, in message
    /// mode of at least 255; 1500 bytes to 1 GiB.
    ///
    /// An mtu that leaves segments less than 128 bytes of data makes it smaller: no more of them are
    /// held than there would be of 128 bytes, or than the send window has, if that is more.
    ///
    /// kcp-go takes a write while fewer segments wait than the send window has.
    #[must_use]
    pub fn send_buffer(&self) -> Option<usize> {
        self.send_buffer
    }

    /// Most bytes of memory for what was received and not read. Default: 1600 for each segment of
    /// the receive window, or for each of 128 if it is smaller; 16 KiB to 1 GiB.
    ///
    /// Counts the memory that segments take, not their bytes. The peer is told a smaller window
    /// when there is less room, and what does not fit is left for it to repeat. In message mode a
    /// single message may take more.
    #[must_use]
    pub fn receive_buffer(&self) -> Option<usize> {
        self.receive_buffer
    }

    /// Most connections that wait for `accept`. Default 1024, 1 to 65536.
    ///
    /// A constant in kcp-go, 128.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Differentiated services code point, 0 to 63, for IPv4 and IPv6 alike. Default 0.
    ///
    /// kcp-go `SetDSCP`, kcptun `--dscp`.
    #[must_use]
    pub fn dscp(&self) -> u8 {
        self.dscp
    }

    /// Size asked of the kernel for each socket buffer, in bytes; `None` leaves the system's.
    /// Default 4 MiB, 4096 bytes to 1 GiB. The kernel may grant less.
    ///
    /// kcp-go `SetReadBuffer` and `SetWriteBuffer`, kcptun `--sockbuf`.
    #[must_use]
    pub fn socket_buffer(&self) -> Option<usize> {
        self.socket_buffer
    }

    /// When written data leaves. Default [`WriteCoalescing::Immediate`].
    ///
    /// kcp-go `SetWriteDelay` (off by default).
    #[must_use]
    pub fn write_coalescing(&self) -> WriteCoalescing {
        self.write_coalescing
    }

    /// Most bytes of UDP payload sent per second; `None` is no limit. Default none, at least 1500.
    ///
    /// Everything counts, as on a line of that rate: data, retransmissions, acks, probes, parity,
    /// out-of-band datagrams, and what the cipher adds. Acks still go first, in turns with data where
    /// a datagram has no room for both. In any time `t` no more than `send_rate * t` and one burst
    /// leave: what the rate gives in 5 ms, so that coarse timers still reach it, but at least two
    /// datagrams.
    ///
    /// kcp-go `SetRateLimit` (0, no limit, by default; it lets batches over its burst pass
    /// unpaid), kcptun `--ratelimit`.
    #[must_use]
    #[doc(alias = "SetRateLimit")]
    pub fn send_rate(&self) -> Option<NonZeroU64> {
        self.send_rate
    }

    /// Conversation id of the connections that are opened with this configuration; `None` draws a
    /// random one for each. Default none.
    ///
    /// A constant is dangerous. What is left of an earlier connection on the network, at the peer
    /// and in its retransmissions has the same name as this one, and KCP cannot tell them apart:
    /// data of the one may be delivered in the other. A listener of ours refuses an id for two
    /// minutes after its connection from the same address has ended. And whoever guesses the id has
    /// half of what forging packets takes. Use it for a peer that demands an id, and then a new
    /// one for each connection.
    ///
    /// kcp-go `NewConn3` and `NewConn4` (random otherwise).
    #[must_use]
    #[doc(alias = "conv")]
    pub fn conversation(&self) -> Option<ConversationId> {
        self.conversation
    }

    /// Whether this side uses extensions with peers of this crate. Default
    /// [`Extensions::Migration`].
    ///
    /// A peer that does not know them sees plain KCP: a connecting side sends it at most a handful
    /// of window updates with a payload, which KCP skips.
    ///
    /// With the smallest of mtus, which leave no room for them ([`Extensions::MIN_ROOM`]), a
    /// connection is plain KCP.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// The layout of packets under this configuration and a cipher's overhead.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MtuTooSmall`] if the mtu has no room for data.
    pub fn layout(&self, overhead: Overhead) -> Result<PacketLayout, ConfigError> {
        PacketLayout::new(self.mtu, overhead, self.fec.is_some())
    }
}
