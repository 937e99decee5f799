//! Options of a connection, validated when built.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::ConfigError;
use crate::fec::FecRatio;
use crate::packet::{Layout, MAX_MTU, Overhead};

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
        ConfigBuilder {
            config: Self::default(),
        }
    }

    /// Starts from this configuration.
    pub fn to_builder(&self) -> ConfigBuilder {
        ConfigBuilder {
            config: self.clone(),
        }
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

/// Builds a [`Config`]; each option is described at the getter of the same name there.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until built"]
pub struct ConfigBuilder {
    config: Config,
}

impl ConfigBuilder {
    /// Sets the four timing options that kcptun's mode names stand for.
    pub fn preset(self, preset: Preset) -> Self {
        let (no_delay, interval) = match preset {
            Preset::Normal => (false, 40),
            Preset::Fast => (false, 30),
            Preset::Fast2 => (true, 20),
            Preset::Fast3 => (true, 10),
        };
        self.no_delay(no_delay)
            .flush_interval(Duration::from_millis(interval))
            .fast_retransmit_after(NonZeroU32::new(2))
            .congestion(Congestion::Unlimited)
    }

    /// Largest UDP payload, in bytes, at most 1500.
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.config.mtu = bytes;
        self
    }

    /// Send and receive window, in segments, 1..=65535 each.
    pub fn windows(mut self, send: u16, receive: u16) -> Self {
        self.config.send_window = send;
        self.config.receive_window = receive;
        self
    }

    /// Lower floor of the RTO and gentler back-off.
    pub fn no_delay(mut self, on: bool) -> Self {
        self.config.no_delay = on;
        self
    }

    /// KCP's clock tick, 1 ms to 5 s. kcp-go clamps it to at least 10 ms on its own side.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.config.flush_interval = interval;
        self
    }

    /// Acks of later segments after which a segment counts as lost.
    pub fn fast_retransmit_after(mut self, acks: Option<NonZeroU32>) -> Self {
        self.config.fast_retransmit_after = acks;
        self
    }

    /// Whether there is a congestion window.
    pub fn congestion(mut self, congestion: Congestion) -> Self {
        self.config.congestion = congestion;
        self
    }

    /// Stream or messages.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// When acks leave.
    pub fn ack_policy(mut self, policy: AckPolicy) -> Self {
        self.config.ack_policy = policy;
        self
    }

    /// FEC of what we send.
    pub fn fec(mut self, ratio: impl Into<Option<FecRatio>>) -> Self {
        self.config.fec = ratio.into();
        self
    }

    /// How long connecting may take.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// Silence after which the peer is asked for a sign of life.
    pub fn keepalive(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.config.keepalive = interval.into();
        self
    }

    /// How long sent data may stay unacknowledged.
    pub fn user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.user_timeout = timeout.into();
        self
    }

    /// Silence after which the connection ends.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.idle_timeout = timeout.into();
        self
    }

    /// How long shutting down waits for acknowledgements.
    pub fn linger(mut self, timeout: Duration) -> Self {
        self.config.linger = timeout;
        self
    }

    /// Most bytes queued and in flight.
    pub fn send_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.config.send_buffer = bytes.into();
        self
    }

    /// Most connections that wait for `accept`, 1..=65536.
    pub fn backlog(mut self, connections: usize) -> Self {
        self.config.backlog = connections;
        self
    }

    /// Differentiated services code point, 0..=63.
    pub fn dscp(mut self, code_point: u8) -> Self {
        self.config.dscp = code_point;
        self
    }

    /// Size asked of the kernel for each socket buffer; it may grant less.
    pub fn socket_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.config.socket_buffer = bytes.into();
        self
    }

    /// Checks every option.
    ///
    /// Whether the mtu leaves room for the cipher's part of a packet is checked when the endpoint
    /// is made, since only then is the cipher known.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the first option that is out of range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let config = self.config;
        // The smallest overhead there is: what it refuses, every cipher refuses.
        config.layout(Overhead { front: 0, back: 0 })?;
        in_range(
            "send window",
            &config.send_window,
            1..=u16::MAX,
            "1 to 65535 segments",
        )?;
        in_range(
            "receive window",
            &config.receive_window,
            1..=u16::MAX,
            "1 to 65535 segments",
        )?;
        in_range(
            "flush interval",
            &config.flush_interval,
            Duration::from_millis(1)..=Duration::from_secs(5),
            "1 ms to 5 s",
        )?;
        let timeouts = [
            ("connect timeout", Some(config.connect_timeout)),
            ("keepalive", config.keepalive),
            ("user timeout", config.user_timeout),
            ("idle timeout", config.idle_timeout),
        ];
        for (option, timeout) in timeouts {
            if let Some(timeout) = timeout {
                in_range(
                    option,
                    &timeout,
                    MIN_TIMEOUT..=MAX_TIMEOUT,
                    "10 ms to 30 days",
                )?;
            }
        }
        in_range(
            "linger",
            &config.linger,
            Duration::ZERO..=MAX_TIMEOUT,
            "0 to 30 days",
        )?;
        if let Some(bytes) = config.send_buffer {
            in_range(
                "send buffer",
                &bytes,
                MAX_MTU..=1 << 30,
                "1500 bytes to 1 GiB",
            )?;
        }
        in_range(
            "backlog",
            &config.backlog,
            1..=1 << 16,
            "1 to 65536 connections",
        )?;
        in_range("dscp", &config.dscp, 0..=63, "0 to 63")?;
        if let Some(bytes) = config.socket_buffer {
            in_range("sockbuf", &bytes, 4096..=1 << 30, "4096 bytes to 1 GiB")?;
        }
        Ok(config)
    }
}

fn in_range<T: PartialOrd + std::fmt::Debug>(
    option: &'static str,
    given: &T,
    range: std::ops::RangeInclusive<T>,
    allowed: &'static str,
) -> Result<(), ConfigError> {
    if range.contains(given) {
        Ok(())
    } else {
        Err(ConfigError::OutOfRange {
            option,
            given: format!("{given:?}"),
            allowed,
        })
    }
}

/// Shorter than this a time-out would fire before a round trip on any real path.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// Long enough for anyone who does not want the time-out switched off altogether.
const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(builder: ConfigBuilder) -> String {
        builder.build().expect_err("out of range").to_string()
    }

    #[test]
    fn default_passes_its_own_checks() {
        assert_eq!(Config::builder().build(), Ok(Config::default()));
    }

    #[test]
    fn refusal_names_option_value_and_range() {
        let refusals = [
            (
                refused(Config::builder().windows(0, 1)),
                "send window is 0; allowed are 1 to 65535",
            ),
            (
                refused(Config::builder().windows(1, 0)),
                "receive window is 0",
            ),
            (
                refused(Config::builder().mtu(24)),
                "mtu is 24; with this cipher",
            ),
            (refused(Config::builder().mtu(1501)), "mtu is 1501"),
            (
                refused(Config::builder().dscp(64)),
                "dscp is 64; allowed are 0 to 63",
            ),
            (refused(Config::builder().backlog(0)), "backlog is 0"),
            (
                refused(Config::builder().flush_interval(Duration::ZERO)),
                "flush interval is 0ns; allowed are 1 ms to 5 s",
            ),
            (
                refused(Config::builder().user_timeout(Duration::ZERO)),
                "user timeout is 0ns",
            ),
            (
                refused(Config::builder().send_buffer(0)),
                "send buffer is 0",
            ),
            (refused(Config::builder().socket_buffer(1)), "sockbuf is 1"),
        ];
        for (message, expected) in refusals {
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
        let unknown = "turbo".parse::<Preset>().expect_err("unknown");
        assert_eq!(
            unknown.to_string(),
            "mode is turbo; allowed are normal, fast, fast2, fast3"
        );
    }
}
