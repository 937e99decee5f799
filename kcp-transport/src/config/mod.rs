//! Options of a connection, validated when built.

mod builder;
mod change;
mod choice;
#[cfg(feature = "serde")]
mod fields;
mod listener;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::Overhead;
use crate::error::ConfigError;
use crate::fec::FecRatio;
use crate::packet::PacketLayout;

use crate::arq::ControllerFactory;
pub use crate::arq::{AckPolicy, Congestion, Mode, Percent, Redundancy, WriteCoalescing};
pub use builder::ConfigBuilder;
pub use choice::{Extensions, MtuDiscovery, Preset};
pub use listener::{ListenerConfig, ListenerConfigBuilder};

/// Options of a connection.
///
/// The documentation of each option gives its unit, its default, and the corresponding call of
/// kcp-go and flag of kcptun. An option without those exists only in this crate and does not need
/// to agree with the peer.
///
/// [`Config::default`] is [`Preset::Rpc`]: a controller that fills the path and not its queue, copies of
/// small flushes where the path loses, windows of 4096 segments, mtu 1400, stream mode, no FEC. Both
/// sides need the same cipher. Everything else applies to one direction or is local, so the peer may
/// use other options.
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
/// defaults. Unknown options are an error, and so are values that [`ConfigBuilder::build`] refuses,
/// with the same text. Options of kcptun have its names, units and meaning of 0:
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
/// The others have the names of the builder's methods, and [`Config::mode`] is `stream`, true or false.
/// Options with named values take the names that their types display, such as `adaptive:100%` for
/// [`Config::redundancy`]. Times are in seconds. 0 turns `user_timeout` and `idle_timeout` off, and stands for the
/// default of `send_buffer` and `receive_buffer`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "fields::Fields", into = "fields::Fields")
)]
pub struct Config {
    mtu: usize,
    mtu_discovery: MtuDiscovery,
    send_window: u16,
    receive_window: u16,
    no_delay: bool,
    flush_interval: Duration,
    fast_retransmit_after: Option<NonZeroU32>,
    congestion: Congestion,
    controller: Option<Controller>,
    redundancy: Redundancy,
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
    dscp: u8,
    socket_buffer: Option<usize>,
    write_coalescing: WriteCoalescing,
    send_rate: Option<NonZeroU64>,
    extensions: Extensions,
    sends_received: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mtu: 1400,
            mtu_discovery: MtuDiscovery::On,
            send_window: 4096,
            receive_window: 4096,
            no_delay: true,
            flush_interval: Duration::from_millis(20),
            fast_retransmit_after: NonZeroU32::new(2),
            congestion: Congestion::Model,
            controller: None,
            redundancy: Redundancy::Adaptive {
                overhead: Percent::new(100),
            },
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
            dscp: 0,
            socket_buffer: Some(4 << 20),
            write_coalescing: WriteCoalescing::Immediate,
            send_rate: None,
            extensions: Extensions::Migration,
            sends_received: true,
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

    /// Largest UDP payload in bytes, including nonce, checksum or tag, and FEC header. Default
    /// 1400, at most 9000.
    ///
    /// This is an upper bound: with [`MtuDiscovery::On`] datagrams are as large as the path carries.
    /// Larger values pay where the path has jumbo frames and the peer receives them. kcp-go receives
    /// at most 1500 bytes, and from 5.7.5 on at most 1472; of larger datagrams it acknowledges none,
    /// so that discovery finds what it takes. What a peer sends depends on its own mtu only.
    ///
    /// kcp-go `SetMtu` (at most 1500), kcptun `--mtu`. Local: a peer with another mtu is fine.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// Whether the size of datagrams follows the path. Default [`MtuDiscovery::On`].
    ///
    /// kcp-go has no equivalent. Local: the probes are segments that every KCP peer acknowledges
    /// and drops.
    #[must_use]
    pub fn mtu_discovery(&self) -> MtuDiscovery {
        self.mtu_discovery
    }

    /// Maximum number of segments in flight. Default 4096, 1 to 65535.
    ///
    /// The default does not limit a path of 100 Mbit/s and 200 ms; [`Config::congestion`] does. With
    /// [`Congestion::Unlimited`], what is beyond bandwidth times round-trip time overflows the queue of
    /// the path. The peer's receive window is another limit. kcp-go `SetWindowSize` (32 by default), kcptun
    /// `--sndwnd`.
    #[must_use]
    #[doc(alias = "snd_wnd")]
    pub fn send_window(&self) -> u16 {
        self.send_window
    }

    /// Maximum number of segments buffered for the reader. As many again, at least 128, are
    /// buffered after a gap. Default 4096, 1 to 65535.
    ///
    /// This is the window advertised to the peer; [`Config::receive_buffer`] limits the memory. More than
    /// 1024 segments are advertised from the 256th received on, four for each.
    /// kcp-go `SetWindowSize` (32 by default), kcptun `--rcvwnd`.
    #[must_use]
    #[doc(alias = "rcv_wnd")]
    pub fn receive_window(&self) -> u16 {
        self.receive_window
    }

    /// Whether the probe time-out has a floor of 30 ms and grows by half from the fourth time-out
    /// in a row on. Otherwise the floor is 100 ms and it doubles. Default true.
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

    /// Number of later transmissions whose arrival makes an earlier one count as lost at once.
    /// Default 2.
    ///
    /// This applies to a path without reordering. After reordering was observed, and with `None` or
    /// more than 5, a segment counts as lost when a later one has arrived and it is itself overdue
    /// by a fraction of the round-trip time, which adapts to the path.
    ///
    /// kcp-go `SetNoDelay`, third argument (0 is off, and its default); kcptun `--resend`.
    #[must_use]
    #[doc(alias = "resend")]
    pub fn fast_retransmit_after(&self) -> Option<NonZeroU32> {
        self.fast_retransmit_after
    }

    /// The congestion control. Default [`Congestion::Model`]; kcptun's presets have
    /// [`Congestion::Unlimited`].
    ///
    /// kcp-go `SetNoDelay`, fourth argument (0, a window, by default); kcptun `--nc`.
    #[must_use]
    pub fn congestion(&self) -> Congestion {
        self.congestion
    }

    /// What makes the controllers that limit sending, in place of [`Config::congestion`]. Default
    /// none.
    ///
    /// Local: a peer cannot tell the difference.
    #[must_use]
    pub fn controller(&self) -> Option<&Arc<dyn ControllerFactory>> {
        self.controller.as_ref().map(|it| &it.0)
    }

    /// Whether segments of small flushes are sent twice. Default [`Redundancy::Adaptive`] with 100 %.
    ///
    /// kcp-go has no equivalent. Local: every peer drops what it has received before.
    #[must_use]
    pub fn redundancy(&self) -> Redundancy {
        self.redundancy
    }

    /// Stream or messages. Default [`Mode::Stream`].
    ///
    /// kcp-go `SetStreamMode` (messages of one segment each by default). Peers that support C KCP's
    /// messages support messages of several segments.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// When acks are sent. Default [`AckPolicy::Immediate`].
    ///
    /// kcp-go `SetACKNoDelay` (batched by default), kcptun `--acknodelay`.
    #[must_use]
    pub fn ack_policy(&self) -> AckPolicy {
        self.ack_policy
    }

    /// FEC of the data that this side sends. Default off. FEC of the peer is always decoded.
    ///
    /// Sending out-of-band datagrams requires it. kcp-go `DialWithOptions` and `ListenWithOptions`,
    /// kcptun `--datashard` and `--parityshard` (10 and 3 by default). The old kcp-go of rpcx needs
    /// FEC on both sides or on neither.
    #[must_use]
    pub fn fec(&self) -> Option<FecRatio> {
        self.fec
    }

    /// Time limit for connecting: finding the addresses of a name and trying all of them. Default 10 s,
    /// 10 ms to 30 days.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Time without received packets after which the peer is probed; `None` never probes. Default
    /// 20 s, 10 ms to 30 days.
    ///
    /// The probe is a window probe, which every KCP peer answers.
    #[must_use]
    pub fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    /// How long sent data may stay unacknowledged before the connection ends; `None` is no limit.
    /// Default 30 s, 10 ms to 30 days.
    ///
    /// New data from the peer restarts the time, since its acknowledgements may wait behind that
    /// data in a deep queue. A peer that receives nothing runs out of new data once its window is
    /// full.
    ///
    /// It replaces KCP's `dead_link`, which counts retransmissions and which kcp-go never reads.
    #[must_use]
    pub fn user_timeout(&self) -> Option<Duration> {
        self.user_timeout
    }

    /// Time without received packets after which the connection ends; `None` is no limit. Default
    /// 90 s, 10 ms to 30 days.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// How long shutting down waits for acknowledgements, counted from the last one. Default 30 s,
    /// 0 to 30 days. kcp-go does not wait and loses unacknowledged data.
    #[must_use]
    pub fn linger(&self) -> Duration {
        self.linger
    }

    /// Maximum number of bytes queued and in flight. Default: a send window of full segments, in
    /// message mode at least 255 segments; 1500 bytes to 1 GiB.
    ///
    /// Where a controller limits what is in flight, a stream takes less: 1.4 MB or twice what may be in
    /// flight, whichever is more, so that what is written later need not wait longer.
    ///
    /// With an mtu that leaves less than 128 bytes of data per segment, the buffer is smaller: it
    /// holds as many segments as if they had 128 bytes, but at least the send window.
    ///
    /// kcp-go accepts a write while fewer segments wait than fit into the send window.
    #[must_use]
    pub fn send_buffer(&self) -> Option<usize> {
        self.send_buffer
    }

    /// Maximum memory for received data that was not read yet, in bytes. Default: 1600 for each
    /// segment of the receive window, and for at least 128 segments; 16 KiB to 1 GiB.
    ///
    /// The memory of the segments' buffers counts, not the bytes in them. With less room a smaller
    /// window is advertised, and segments that do not fit are dropped, so that the peer retransmits
    /// them. In message mode a single message may take more. With an mtu above 1500, the default holds
    /// fewer segments than the window has.
    #[must_use]
    pub fn receive_buffer(&self) -> Option<usize> {
        self.receive_buffer
    }

    /// Differentiated services code point, 0 to 63, for IPv4 and IPv6 alike. Default 0.
    ///
    /// kcp-go `SetDSCP`, kcptun `--dscp`.
    #[must_use]
    pub fn dscp(&self) -> u8 {
        self.dscp
    }

    /// Size of each socket buffer requested from the kernel, in bytes; `None` keeps the system's
    /// default. Default 4 MiB, 4096 bytes to 1 GiB. The kernel may grant less.
    ///
    /// kcp-go `SetReadBuffer` and `SetWriteBuffer`, kcptun `--sockbuf`.
    #[must_use]
    pub fn socket_buffer(&self) -> Option<usize> {
        self.socket_buffer
    }

    /// When written data is sent. Default [`WriteCoalescing::Immediate`].
    ///
    /// kcp-go `SetWriteDelay` (off by default).
    #[must_use]
    pub fn write_coalescing(&self) -> WriteCoalescing {
        self.write_coalescing
    }

    /// Maximum number of bytes of UDP payload sent per second; `None` is no limit. Default none, at
    /// least 1500.
    ///
    /// All payload bytes count: data, retransmissions, acks, probes, parity, out-of-band datagrams,
    /// and the cipher's overhead. Acks go first, alternating with data where a datagram has no room
    /// for both. In any time `t` at most `send_rate * t` bytes and one burst are sent. A burst is
    /// the rate times 5 ms, so that coarse timers still reach the rate, but at least two datagrams.
    ///
    /// kcp-go `SetRateLimit` (0, no limit, by default; batches larger than its burst are not
    /// limited), kcptun `--ratelimit`.
    #[must_use]
    #[doc(alias = "SetRateLimit")]
    pub fn send_rate(&self) -> Option<NonZeroU64> {
        self.send_rate
    }

    /// Whether this side uses extensions with peers of this crate. Default
    /// [`Extensions::Migration`].
    ///
    /// A peer without support sees plain KCP: a connecting side sends it only a few window updates
    /// with a payload, which KCP skips.
    ///
    /// With an mtu that is too small for them ([`Extensions::MIN_ROOM`]) a connection is plain KCP.
    #[must_use]
    pub fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// Whether lost acks are made up for between two peers of this crate. Default true.
    #[must_use]
    #[doc(hidden)]
    pub fn sends_received(&self) -> bool {
        self.sends_received
    }

    /// The layout of packets with this configuration and a cipher's overhead.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MtuTooSmall`] if the mtu has no room for data.
    pub fn layout(&self, overhead: Overhead) -> Result<PacketLayout, ConfigError> {
        PacketLayout::new(self.mtu, overhead, self.fec.is_some())
    }
}

/// Two are equal if they are the same.
#[derive(Clone, Debug)]
struct Controller(Arc<dyn ControllerFactory>);

impl PartialEq for Controller {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Controller {}
