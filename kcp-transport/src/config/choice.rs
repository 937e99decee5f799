//! Options that are a choice among a few.

use crate::error::ConfigError;

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

/// When written data leaves.
#[doc(alias = "SetWriteDelay")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WriteCoalescing {
    /// As soon as the windows allow. The first byte waits for nothing.
    Immediate,
    /// Once a datagram is full, the send window is full or the flush interval has passed since the
    /// first byte that waits, whatever is first; or along with a datagram that leaves anyway.
    /// Flushing hastens nothing, shutting down does. Many small writes make few datagrams, and the
    /// first byte waits for up to one flush interval.
    Delayed,
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

/// Whether this side says more to peers of this crate than KCP can.
///
/// Extensions are what KCP lacks: end-of-file, reset, half-close, a connection that moves to another
/// address. They ride where every KCP peer skips them, and are used only once both sides have said
/// that they know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extensions {
    /// Nothing but KCP is sent, and extensions received are ignored.
    Off,
    /// The side that connects says hello a few times. The accepting side answers hellos and says
    /// nothing to others.
    On,
    /// As [`Extensions::On`], and a connection follows its peer to another address once the peer
    /// has proved there that it is the same.
    Migration,
}

impl Extensions {
    /// Bytes of data that a packet must have room for. With less there are no extensions, whatever
    /// is chosen: that is an mtu below 70 plus what cipher and FEC take.
    ///
    /// The longest thing said at once is a hello, which goes before everything until it is
    /// answered, and the answer to a challenge. With less room the answer would stay due for ever.
    pub const MIN_ROOM: usize = 46;
}
