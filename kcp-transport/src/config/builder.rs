//! The builder: sets options and checks them.

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use super::{
    AckPolicy, Config, Congestion, Controller, Extensions, Mode, MtuDiscovery, Percent, Preset,
    Redundancy, WriteCoalescing,
};
use crate::arq::ControllerFactory;
use crate::crypto::Overhead;
use crate::error::ConfigError;
use crate::fec::FecRatio;

/// Builds a [`Config`]. The getter of the same name documents each option in full.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until built"]
pub struct ConfigBuilder {
    pub(super) config: Config,
    /// Send and receive window, not yet checked.
    pub(super) windows: (u32, u32),
}

impl ConfigBuilder {
    pub(super) fn new(config: Config) -> Self {
        let windows = (config.send_window.into(), config.receive_window.into());
        Self { config, windows }
    }

    /// Sets what the preset stands for: the four timing options of kcptun's modes, the windows, the
    /// congestion control and the redundancy. kcptun's modes have windows of 1024 segments, no congestion
    /// control and no redundancy.
    pub fn preset(self, preset: Preset) -> Self {
        let (no_delay, interval) = match preset {
            Preset::Normal => (false, 40),
            Preset::Fast => (false, 30),
            Preset::Fast3 => (true, 10),
            Preset::Fast2 | Preset::Rpc | Preset::Interactive | Preset::Bulk => (true, 20),
        };
        let builder = self
            .no_delay(no_delay)
            .flush_interval(Duration::from_millis(interval))
            .fast_retransmit_after(NonZeroU32::new(2));
        let adaptive = Redundancy::Adaptive {
            overhead: Percent::new(100),
        };
        let (windows, redundancy) = match preset {
            Preset::Rpc => (4096, adaptive),
            Preset::Bulk => (16_384, adaptive),
            Preset::Interactive => (
                1024,
                Redundancy::Always {
                    copies: 1,
                    overhead: Percent::new(200),
                },
            ),
            Preset::Normal | Preset::Fast | Preset::Fast2 | Preset::Fast3 => {
                return builder
                    .congestion(Congestion::Unlimited)
                    .redundancy(Redundancy::Off)
                    .windows(1024, 1024);
            }
        };
        builder
            .congestion(Congestion::Model)
            .redundancy(redundancy)
            .windows(windows, windows)
    }

    /// Largest UDP payload, in bytes, at most 9000.
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.config.mtu = bytes;
        self
    }

    /// Whether the size of datagrams follows the path.
    pub fn mtu_discovery(mut self, discovery: MtuDiscovery) -> Self {
        self.config.mtu_discovery = discovery;
        self
    }

    /// Send and receive window, in segments, 1..=65535 each.
    pub fn windows(mut self, send: u32, receive: u32) -> Self {
        self.windows = (send, receive);
        self
    }

    /// Lower floor and slower growth of the probe time-out.
    pub fn no_delay(mut self, on: bool) -> Self {
        self.config.no_delay = on;
        self
    }

    /// KCP's clock tick, 1 ms to 5 s. kcp-go clamps it to at least 10 ms on its own side.
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.config.flush_interval = interval;
        self
    }

    /// Number of later transmissions whose arrival makes an earlier one count as lost at once.
    pub fn fast_retransmit_after(mut self, acks: Option<NonZeroU32>) -> Self {
        self.config.fast_retransmit_after = acks;
        self
    }

    /// The congestion control.
    pub fn congestion(mut self, congestion: Congestion) -> Self {
        self.config.congestion = congestion;
        self
    }

    /// What makes the controllers that limit sending, in place of [`Self::congestion`].
    ///
    /// ```
    /// use std::num::NonZeroU64;
    /// use std::sync::Arc;
    /// use kcp_transport::arq::FixedRate;
    /// use kcp_transport::config::Config;
    ///
    /// let rate = NonZeroU64::new(10_000_000).expect("not 0");
    /// let config = Config::builder().controller(Arc::new(FixedRate::new(rate))).build()?;
    /// # Ok::<(), kcp_transport::error::ConfigError>(())
    /// ```
    pub fn controller(mut self, factory: Arc<dyn ControllerFactory>) -> Self {
        self.config.controller = Some(Controller(factory));
        self
    }

    /// Whether segments of small flushes are sent twice: a budget of at most 400 %, and 1 to 3 copies.
    pub fn redundancy(mut self, redundancy: Redundancy) -> Self {
        self.config.redundancy = redundancy;
        self
    }

    /// Stream or messages.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.config.mode = mode;
        self
    }

    /// When acks are sent.
    pub fn ack_policy(mut self, policy: AckPolicy) -> Self {
        self.config.ack_policy = policy;
        self
    }

    /// FEC of the data that this side sends.
    pub fn fec(mut self, ratio: impl Into<Option<FecRatio>>) -> Self {
        self.config.fec = ratio.into();
        self
    }

    /// Time limit for connecting: finding the addresses of a name and trying all of them.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// Time without received packets after which the peer is probed.
    pub fn keepalive(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.config.keepalive = interval.into();
        self
    }

    /// How long sent data may stay unacknowledged.
    pub fn user_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.user_timeout = timeout.into();
        self
    }

    /// Time without received packets after which the connection ends.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config.idle_timeout = timeout.into();
        self
    }

    /// How long shutting down waits for acknowledgements.
    pub fn linger(mut self, timeout: Duration) -> Self {
        self.config.linger = timeout;
        self
    }

    /// Maximum number of bytes queued and in flight.
    pub fn send_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.config.send_buffer = bytes.into();
        self
    }

    /// Maximum memory for received data that was not read yet, in bytes.
    pub fn receive_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.config.receive_buffer = bytes.into();
        self
    }

    /// Differentiated services code point, 0..=63.
    pub fn dscp(mut self, code_point: u8) -> Self {
        self.config.dscp = code_point;
        self
    }

    /// Size of each socket buffer requested from the kernel, which may grant less.
    pub fn socket_buffer(mut self, bytes: impl Into<Option<usize>>) -> Self {
        self.config.socket_buffer = bytes.into();
        self
    }

    /// When written data is sent.
    pub fn write_coalescing(mut self, policy: WriteCoalescing) -> Self {
        self.config.write_coalescing = policy;
        self
    }

    /// Maximum number of bytes of UDP payload sent per second, at least 1500.
    pub fn send_rate(mut self, bytes_per_second: impl Into<Option<NonZeroU64>>) -> Self {
        self.config.send_rate = bytes_per_second.into();
        self
    }

    /// Whether this side uses extensions with peers of this crate.
    pub fn extensions(mut self, extensions: Extensions) -> Self {
        self.config.extensions = extensions;
        self
    }

    /// Whether lost acks are made up for between two peers of this crate, to measure what that is worth.
    #[doc(hidden)]
    pub fn sends_received(mut self, on: bool) -> Self {
        self.config.sends_received = on;
        self
    }

    /// Checks every option.
    ///
    /// Whether the mtu leaves room for the cipher's overhead is checked when an endpoint is
    /// created, since only then is the cipher known.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the first option that is out of range.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut config = self.config;
        config.send_window = window("send window", self.windows.0)?;
        config.receive_window = window("receive window", self.windows.1)?;
        // The smallest overhead there is: what it refuses, every cipher refuses.
        let fits = config.layout(Overhead { front: 0, back: 0 });
        fits.map_err(|_| ConfigError::OutOfRange {
            option: "mtu",
            given: config.mtu.to_string(),
            allowed: "25 to 9000 bytes, at least 33 with FEC, and more with a cipher",
        })?;
        check_times(&config)?;
        check_sizes(&config)?;
        Ok(config)
    }
}

fn window(option: &'static str, segments: u32) -> Result<u16, ConfigError> {
    let window = u16::try_from(segments).ok().filter(|&window| window > 0);
    window.ok_or_else(|| ConfigError::OutOfRange {
        option,
        given: segments.to_string(),
        allowed: "1 to 65535 segments",
    })
}

fn check_times(config: &Config) -> Result<(), ConfigError> {
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
            let range = MIN_TIMEOUT..=MAX_TIMEOUT;
            in_range(option, &timeout, range, "10 ms to 30 days")?;
        }
    }
    let lingers = Duration::ZERO..=MAX_TIMEOUT;
    in_range("linger", &config.linger, lingers, "0 to 30 days")
}

fn check_sizes(config: &Config) -> Result<(), ConfigError> {
    let overhead = config.redundancy.overhead();
    in_range("redundancy overhead", &overhead, 0..=400, "0 to 400 %")?;
    if let Redundancy::Always { copies, .. } = config.redundancy {
        in_range("redundancy copies", &copies, 1..=3, "1 to 3")?;
    }
    if let Some(bytes) = config.send_buffer {
        let range = MIN_SEND_BUFFER..=1 << 30;
        in_range("send buffer", &bytes, range, "1500 bytes to 1 GiB")?;
    }
    if let Some(bytes) = config.receive_buffer {
        let range = 16 * 1024..=1 << 30;
        in_range("receive buffer", &bytes, range, "16 KiB to 1 GiB")?;
    }
    if let Some(rate) = config.send_rate {
        let allowed = "1500 bytes per second or more, or none";
        in_range("send rate", &rate.get(), MIN_RATE..=u64::MAX, allowed)?;
    }
    in_range("dscp", &config.dscp, 0..=63, "0 to 63")?;
    if let Some(bytes) = config.socket_buffer {
        in_range(
            "socket buffer",
            &bytes,
            4096..=1 << 30,
            "4096 bytes to 1 GiB",
        )?;
    }
    Ok(())
}

pub(super) fn in_range<T: PartialOrd + std::fmt::Debug>(
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

/// A datagram of an Ethernet frame.
const MIN_SEND_BUFFER: usize = 1500;

/// A datagram of an Ethernet frame per second. With less, time-outs would pass before anything is
/// sent.
const MIN_RATE: u64 = 1500;

/// Shorter than this a time-out would fire before a round trip on any real path.
const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// Long enough for every use that does not switch the time-out off.
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
                "send window is 0; allowed: 1 to 65535",
            ),
            (
                refused(Config::builder().windows(1, 0)),
                "receive window is 0; allowed: 1 to 65535",
            ),
            (
                refused(Config::builder().windows(65_536, 1)),
                "send window is 65536; allowed: 1 to 65535",
            ),
            (
                refused(Config::builder().windows(1, u32::MAX)),
                "receive window is 4294967295; allowed: 1 to 65535",
            ),
            (
                refused(Config::builder().mtu(24)),
                "mtu is 24; allowed: 25 to 9000",
            ),
            (refused(Config::builder().mtu(9001)), "mtu is 9001"),
            (
                refused(Config::builder().dscp(64)),
                "dscp is 64; allowed: 0 to 63",
            ),
            (
                refused(Config::builder().flush_interval(Duration::ZERO)),
                "flush interval is 0ns; allowed: 1 ms to 5 s",
            ),
            (
                refused(Config::builder().user_timeout(Duration::ZERO)),
                "user timeout is 0ns",
            ),
            (
                refused(Config::builder().send_buffer(0)),
                "send buffer is 0",
            ),
            (
                refused(Config::builder().receive_buffer(16_383)),
                "receive buffer is 16383; allowed: 16 KiB to 1 GiB",
            ),
            (
                refused(Config::builder().socket_buffer(1)),
                "socket buffer is 1",
            ),
            (
                refused(Config::builder().redundancy(Redundancy::Adaptive {
                    overhead: Percent::new(401),
                })),
                "redundancy overhead is 401; allowed: 0 to 400 %",
            ),
            (
                refused(Config::builder().redundancy(Redundancy::Always {
                    copies: 4,
                    overhead: Percent::new(100),
                })),
                "redundancy copies is 4; allowed: 1 to 3",
            ),
            (
                refused(Config::builder().send_rate(NonZeroU64::new(1499))),
                "send rate is 1499; allowed: 1500 bytes per second or more",
            ),
        ];
        for (message, expected) in refusals {
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
        let unknown = "turbo".parse::<Preset>().expect_err("unknown");
        assert_eq!(
            unknown.to_string(),
            "mode is turbo; allowed: normal, fast, fast2, fast3, rpc, interactive, bulk"
        );
    }
}
