//! Options that are a choice among a few.

use crate::names::names;

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

names!(Preset, "mode", {
    "normal" => Normal,
    "fast" => Fast,
    "fast2" => Fast2,
    "fast3" => Fast3
});

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

names!(Extensions, "extensions", {
    "off" => Off,
    "on" => On,
    "migration" => Migration
});

impl Extensions {
    /// Bytes of data that a packet must have room for. With less there are no extensions, whatever
    /// is chosen: that is an mtu below 70 plus what cipher and FEC take.
    ///
    /// The longest thing said at once is a hello, which goes before everything until it is
    /// answered, and the answer to a challenge. With less room the answer would stay due for ever.
    pub const MIN_ROOM: usize = 46;
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use super::*;
    use crate::arq::{AckPolicy, Congestion, Mode, WriteCoalescing};
    use crate::error::ConfigError;

    fn survives<T>(values: &[T], names: &[&str])
    where
        T: Copy + Debug + Display + FromStr<Err = ConfigError> + PartialEq,
    {
        let displayed: Vec<String> = values.iter().map(T::to_string).collect();
        assert_eq!(displayed, names);
        let parsed: Result<Vec<T>, _> = names.iter().map(|name| name.parse()).collect();
        assert_eq!(parsed.as_deref(), Ok(values));
        let refused = "Turbo".parse::<T>().expect_err("unknown").to_string();
        assert!(refused.contains(&names.join(", ")), "{refused}");
    }

    #[test]
    fn names_survive_display_and_parsing() {
        use Preset::{Fast, Fast2, Fast3, Normal};
        survives(
            &[Normal, Fast, Fast2, Fast3],
            &["normal", "fast", "fast2", "fast3"],
        );
        survives(&[Mode::Stream, Mode::Message], &["stream", "message"]);
        survives(
            &[Congestion::Kcp, Congestion::Unlimited],
            &["kcp", "unlimited"],
        );
        survives(
            &[AckPolicy::Immediate, AckPolicy::Batched],
            &["immediate", "batched"],
        );
        survives(
            &[WriteCoalescing::Immediate, WriteCoalescing::Delayed],
            &["immediate", "delayed"],
        );
        survives(
            &[Extensions::Off, Extensions::On, Extensions::Migration],
            &["off", "on", "migration"],
        );
        assert_eq!(format!("{Fast:>6}"), "  fast");
    }
}
