//! Options of a connection, validated when built.

mod builder;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::ConfigError;
use crate::fec::FecRatio;
use crate::packet::{Layout, Overhead};

pub use builder::ConfigBuilder;

/// Whether the congestion window limits sending, besides the two windows.
#[doc(alias = "nc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Congestion {
    /// KCP's own window: slow start, then additive increase, halved by fast retransmits and reset
    /// by time-outs. `nc = 0`.
    Kcp,
    /// No congestion window: send and remote window alone limit what is in flight. `nc = 1`, and
    /// what all presets use.
    Unlimited,
}

/// Whether the boundaries of writes are kept.
#[doc(alias = "stream")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// A byte stream: writes are merged into full segments. What HTTP needs.
    Stream,
    /// Each write is a message, cut into fragments that count down to 0.
    Message,
}

/// When acknowledgements leave.
#[doc(alias = "acknodelay")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AckPolicy {
    /// After each received batch. The sender learns of losses soonest.
    Immediate,
    /// At the next flush, one flush interval later at most, or as soon as they fill a datagram.
    /// What kcp-go does unless `SetACKNoDelay(true)` is called.
    Batched,
}

/// Timing presets under the names kcptun gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// `0, 40, 2, 1`: RTO at least 100 ms and doubling.
    Normal,
    /// `0, 30, 2, 1`.
    Fast,
    /// `1, 20, 2, 1`: RTO at least 30 ms and growing by half. The default.
    Fast2,
    /// `1, 10, 2, 1`.
    Fast3,
}

impl std::str::FromStr for Preset {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        match name {
            "normal" => Ok(Self::Normal),
            "fast" => Ok(Self::Fast),
            "fast2" => Ok(Self::Fast2),
            "fast3" => Ok(Self::Fast3),
            other => Err(ConfigError::OutOfRange {
                option: "mode",
                given: other.to_owned(),
                allowed: "normal, fast, fast2, fast3",
            }),
        }
    }
}

/// Options of a connection.
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    backlog: usize,
    dscp: u8,
    socket_buffer: Option<usize>,
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
            backlog: 1024,
            dscp: 0,
            socket_buffer: Some(4 << 20),
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

    /// Largest UDP payload, in bytes. Default 1400.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// Most segments in flight. Default 1024.
    #[must_use]
    #[doc(alias = "snd_wnd")]
    pub fn send_window(&self) -> u16 {
        self.send_window
    }

    /// Most segments buffered for the reader, and beyond a hole. Default 1024.
    #[must_use]
    #[doc(alias = "rcv_wnd")]
    pub fn receive_window(&self) -> u16 {
        self.receive_window
    }

    /// Whether the RTO may fall to 30 ms (else 100 ms) and backs off by half (else by doubling).
    #[must_use]
    #[doc(alias = "nodelay")]
    pub fn no_delay(&self) -> bool {
        self.no_delay
    }

    /// KCP's clock tick: lower bound of the RTO's variance term. Default 20 ms.
    #[must_use]
    #[doc(alias = "interval")]
    pub fn flush_interval(&self) -> Duration {
        self.flush_interval
    }

    /// Acks of later segments after which a segment counts as lost; `None` is off. Default 2.
    #[must_use]
    #[doc(alias = "resend")]
    pub fn fast_retransmit_after(&self) -> Option<NonZeroU32> {
        self.fast_retransmit_after
    }

    /// Whether there is a congestion window. Default [`Congestion::Unlimited`].
    #[must_use]
    pub fn congestion(&self) -> Congestion {
        self.congestion
    }

    /// Stream or messages. Default [`Mode::Stream`].
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// When acks leave. Default [`AckPolicy::Immediate`].
    #[must_use]
    pub fn ack_policy(&self) -> AckPolicy {
        self.ack_policy
    }

    /// FEC of what we send. Default off. What the peer sends is decoded in any case.
    #[must_use]
    pub fn fec(&self) -> Option<FecRatio> {
        self.fec
    }

    /// How long connecting may take. Default 10 s.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Silence after which the peer is asked for a sign of life. Default 20 s.
    #[must_use]
    pub fn keepalive(&self) -> Option<Duration> {
        self.keepalive
    }

    /// How long sent data may stay unacknowledged. Default 30 s.
    #[must_use]
    pub fn user_timeout(&self) -> Option<Duration> {
        self.user_timeout
    }

    /// Silence after which the connection ends. Default 90 s.
    #[must_use]
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.idle_timeout
    }

    /// How long shutting down waits for acknowledgements. Default 30 s.
    #[must_use]
    pub fn linger(&self) -> Duration {
        self.linger
    }

    /// Most bytes queued and in flight. Default: the send window full of full segments.
    #[must_use]
    pub fn send_buffer(&self) -> Option<usize> {
        self.send_buffer
    }

    /// Most connections that wait for `accept`. Default 1024.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.backlog
    }

    /// Differentiated services code point, 0..=63. Default 0.
    #[must_use]
    pub fn dscp(&self) -> u8 {
        self.dscp
    }

    /// Size asked of the kernel for each socket buffer, in bytes. Default 4 MiB.
    #[must_use]
    pub fn socket_buffer(&self) -> Option<usize> {
        self.socket_buffer
    }

    /// The layout of packets under this configuration and a cipher's overhead.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MtuTooSmall`] if the mtu has no room for data.
    pub fn layout(&self, overhead: Overhead) -> Result<Layout, ConfigError> {
        Layout::new(self.mtu, overhead, self.fec.is_some())
    }
}
