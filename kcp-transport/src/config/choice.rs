//! Options that are a choice among a few.

use crate::error::ConfigError;

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
