//! Options of a conversation.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use crate::error::ConfigError;
use crate::names::names;
use crate::wire::SEGMENT_HEADER_LEN;

/// Options of an [`Arq`](super::Arq). The ranges are those of `Config`.
///
/// Start from [`ArqConfig::default`] and change fields: more may be added.
///
/// ```
/// use kcp_transport::arq::ArqConfig;
///
/// let mut config = ArqConfig::default();
/// config.send_window = 128;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArqConfig {
    /// Maximum number of bytes of segments in one datagram, at least one byte more than a segment
    /// header.
    pub segments_len: usize,
    /// Maximum number of segments in flight.
    pub send_window: u16,
    /// Maximum number of segments kept for the reader. As many again, at least 128, are kept after
    /// a gap.
    pub receive_window: u16,
    /// Whether the probe time-out has a floor of 30 ms and grows by half from the fourth time-out
    /// in a row on. Otherwise the floor is 100 ms and it doubles.
    pub no_delay: bool,
    /// The longest time that batched acks and delayed writes wait.
    pub flush_interval: Duration,
    /// Number of later transmissions whose arrival makes an earlier one count as lost at once, on a
    /// path without reordering. With `None` or more than 5, only time decides.
    pub fast_retransmit_after: Option<NonZeroU32>,
    /// Whether there is a congestion window.
    pub congestion: Congestion,
    /// Whether small flushes are sent twice.
    pub redundancy: Redundancy,
    /// Stream or messages.
    pub mode: Mode,
    /// When acks are sent.
    pub ack_policy: AckPolicy,
    /// When new data is sent.
    pub write_coalescing: WriteCoalescing,
    /// Maximum number of bytes queued and in flight.
    pub send_buffer: usize,
    /// Maximum memory for received data that was not read yet, in bytes. See
    /// [`default_receive_buffer`](Self::default_receive_buffer).
    pub receive_buffer: usize,
}

/// The options of the default `Config`, without cipher and FEC.
impl Default for ArqConfig {
    fn default() -> Self {
        let segments_len = 1400;
        Self {
            segments_len,
            send_window: 4096,
            receive_window: 4096,
            no_delay: true,
            flush_interval: Duration::from_millis(20),
            fast_retransmit_after: NonZeroU32::new(2),
            congestion: Congestion::Model,
            redundancy: Redundancy::Adaptive {
                overhead: Percent::new(100),
            },
            mode: Mode::Stream,
            ack_policy: AckPolicy::Immediate,
            write_coalescing: WriteCoalescing::Immediate,
            send_buffer: 4096 * (segments_len - SEGMENT_HEADER_LEN),
            receive_buffer: Self::default_receive_buffer(4096),
        }
    }
}

impl ArqConfig {
    /// Maximum number of data bytes in one segment.
    #[must_use]
    pub fn mss(&self) -> usize {
        self.segments_len.saturating_sub(SEGMENT_HEADER_LEN).max(1)
    }

    /// The receive buffer, in bytes, that never makes the advertised window smaller than
    /// `receive_window` where datagrams have at most 1500 bytes: 1600 bytes for each segment of the
    /// window, and for at least 128 segments.
    #[must_use]
    pub fn default_receive_buffer(receive_window: u16) -> usize {
        reach(receive_window) * SEGMENT_BUDGET
    }
}

/// Whether a congestion window limits sending, in addition to the send and remote windows.
#[doc(alias = "nc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Congestion {
    /// KCP's congestion window: slow start, then additive increase, halved by fast retransmits and
    /// reset by time-outs. `nc = 0`.
    Kcp,
    /// No congestion window: only the send and remote windows limit the segments in flight. `nc =
    /// 1`, which kcptun's presets use.
    Unlimited,
    /// A model of the path, which limits what is in flight and spreads it over time. It fills a path
    /// and not its queue, and distinguishes losses of a bad path from those of a full one. On a path with a
    /// round trip below 2 ms only a window of 1024 segments limits.
    Model,
}

names!(Congestion, "congestion", { "kcp" => Kcp, "unlimited" => Unlimited, "model" => Model });

/// Whether segments of small flushes are sent again a few milliseconds later, before it is known
/// whether they arrived.
///
/// A lost segment is noticed by what is acknowledged after it. Where nothing follows, as in a call
/// of one datagram, each loss costs more than a round trip; a copy costs a few milliseconds instead.
/// Flushes of up to four segments are copied if at most sixteen are in flight, on paths with a round
/// trip of 8 ms or more. Of larger writes, only those segments are copied that were lost and are sent
/// again when nothing waits to be sent any more: if such a segment is lost again, the end of the data
/// arrives a round trip later. The first copy follows its segment after a 25th of the round trip, at
/// most 5 ms; if both are often lost together, later, after a third of the round trip at most. A copy
/// is not sent once its segment is acknowledged. Every KCP peer drops the second of two equal segments and acknowledges it; kcp-go counts it as `RepeatSegs`.
/// The first segment of the side that connects is copied only if the peer is one of this crate that has
/// answered, and beside a mark: a copy that arrives after another peer has restarted would open a second
/// session there.
///
/// Over time, copies take no more than `overhead` percent of the bytes of data, and 16 datagrams.
/// Nothing is copied for five seconds on a path that loses about a quarter of what is sent, or on
/// which a queue of a whole round trip, at least 50 ms, stands for a second: there, copies would do
/// harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Redundancy {
    /// Nothing is sent twice without a reason. What kcptun's presets use.
    Off,
    /// As many copies as the measured loss calls for: one up to 5 %, then more. None below 0.25 %, once
    /// none of the last 400 transmissions was lost.
    Adaptive {
        /// The budget, at most 400 %. Below 200 % no segment has more than one copy.
        overhead: Percent,
    },
    /// At least `copies`, whatever the path loses, and more from a lower loss on than with
    /// [`Redundancy::Adaptive`]: two from 2.2 % in each direction, three from 8 %.
    Always {
        /// 1 to 3.
        copies: u8,
        /// The budget, at most 400 %.
        overhead: Percent,
    },
}

impl Redundancy {
    /// The budget.
    pub(crate) fn overhead(self) -> u16 {
        match self {
            Self::Off => 0,
            Self::Adaptive { overhead } | Self::Always { overhead, .. } => overhead.get(),
        }
    }
}

/// `off`, `adaptive:100%` or `always:2:150%`: the name of the variant, the copies, and the budget.
impl fmt::Display for Redundancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.pad("off"),
            Self::Adaptive { overhead } => f.pad(&format!("adaptive:{overhead}")),
            Self::Always { copies, overhead } => f.pad(&format!("always:{copies}:{overhead}")),
        }
    }
}

impl FromStr for Redundancy {
    type Err = ConfigError;

    /// Parses what [`Display`](fmt::Display) writes. The percent sign may be missing. Whether copies and
    /// budget are in range is checked with the rest of a configuration.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut parts = text.split(':');
        let parsed = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("off"), None, None, None) => Some(Self::Off),
            (Some("adaptive"), Some(overhead), None, None) => overhead
                .parse()
                .ok()
                .map(|overhead| Self::Adaptive { overhead }),
            (Some("always"), Some(copies), Some(overhead), None) => {
                let numbers = copies.parse().ok().zip(overhead.parse().ok());
                numbers.map(|(copies, overhead)| Self::Always { copies, overhead })
            }
            _ => None,
        };
        parsed.ok_or_else(|| ConfigError::OutOfRange {
            option: "redundancy",
            given: text.to_owned(),
            allowed: "off, adaptive:BUDGET or always:COPIES:BUDGET, such as adaptive:100% or always:1:200%",
        })
    }
}

/// A ratio in hundredths. It may exceed 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u16);

impl Percent {
    /// A ratio of this number of hundredths.
    #[must_use]
    pub const fn new(hundredths: u16) -> Self {
        Self(hundredths)
    }

    /// The number of hundredths.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The number and a percent sign, as in `100%`.
impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}%", self.0))
    }
}

impl FromStr for Percent {
    type Err = ConfigError;

    /// Parses what [`Display`](fmt::Display) writes, such as `100%`. The percent sign may be missing.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let hundredths = number.parse().ok();
        hundredths.map(Self).ok_or_else(|| ConfigError::OutOfRange {
            option: "percentage",
            given: text.to_owned(),
            allowed: "0 to 65535, with or without a percent sign, such as 100%",
        })
    }
}

/// Whether message boundaries are kept.
#[doc(alias = "stream")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// A byte stream: writes are merged into full segments. HTTP needs this.
    Stream,
    /// Each write is a message, cut into fragments that count down to 0.
    Message,
}

names!(Mode, "stream mode", { "stream" => Stream, "message" => Message });

/// When acknowledgements are sent.
#[doc(alias = "acknodelay")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AckPolicy {
    /// After each received batch, so that the sender learns of losses as early as possible.
    Immediate,
    /// At most one flush interval later, or as soon as they fill a datagram. kcp-go's behaviour
    /// unless `SetACKNoDelay(true)` is called.
    Batched,
}

names!(AckPolicy, "ack policy", { "immediate" => Immediate, "batched" => Batched });

/// When written data is sent.
#[doc(alias = "SetWriteDelay")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteCoalescing {
    /// As soon as the windows allow.
    Immediate,
    /// When a datagram or the send window is full, when the flush interval has passed since the
    /// first waiting byte, or together with a datagram that is sent anyway, whichever is first.
    /// Flushing the stream does not send the data earlier; shutting it down does. Many small writes
    /// share few datagrams, and a byte waits for up to one flush interval.
    Delayed,
}

names!(WriteCoalescing, "write coalescing", { "immediate" => Immediate, "delayed" => Delayed });

/// How far after the next expected segment segments are accepted, if memory allows.
pub(super) fn reach(window: u16) -> usize {
    usize::from(window.max(MIN_REACH))
}

/// Segments that are accepted from any peer, however small the window.
///
/// Before a peer learns our window it assumes one: 32 segments in kcp-go, 128 in C's ikcp. Refusing
/// part of its first flight would cost it a time-out for every window of the rest.
#[doc(alias = "IKCP_WND_RCV")]
const MIN_REACH: u16 = 128;

/// Default receive budget for each segment of the window, in bytes.
///
/// 1500 for a segment of the largest mtu of other KCP peers, and 100 for its entries in all lists.
const SEGMENT_BUDGET: usize = 1600;
