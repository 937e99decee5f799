//! Options with a few named values.

use crate::names::names;

/// Sets of options with a name: kcptun's four, which behave as there, and three of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// `0, 40, 2, 1`: RTO at least 100 ms and doubling.
    Normal,
    /// `0, 30, 2, 1`.
    Fast,
    /// `1, 20, 2, 1`: RTO at least 30 ms and growing by half.
    Fast2,
    /// `1, 10, 2, 1`.
    Fast3,
    /// For calls, and the default: [`Congestion::Model`](super::Congestion::Model), windows of 4096 segments, and small
    /// flushes copied where the path loses, for at most as many bytes again.
    Rpc,
    /// For data that must arrive soon at any cost: as [`Self::Rpc`] with windows of 1024, and every
    /// small flush copied at least once if a round trip takes 8 ms or more, for at most twice as many
    /// bytes.
    Interactive,
    /// For transfers: as [`Self::Rpc`] with windows of 16384.
    Bulk,
}

names!(Preset, "mode", {
    "normal" => Normal,
    "fast" => Fast,
    "fast2" => Fast2,
    "fast3" => Fast3,
    "rpc" => Rpc,
    "interactive" => Interactive,
    "bulk" => Bulk
});

/// Whether the size of datagrams follows the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MtuDiscovery {
    /// Datagrams have up to 1200 bytes at first. When data fills them, larger ones are probed, up to
    /// the mtu, and used once a probe was acknowledged. Where even those of 1200 bytes do not arrive,
    /// smaller ones are used, down to 508 bytes.
    On,
    /// Datagrams have up to the mtu, whether they arrive or not.
    ///
    /// Meant for message mode towards a kcp-go program that sets a receive window below the 32
    /// segments that kcp-go advertises first: smaller datagrams cut a message into more fragments,
    /// and a message with more fragments than the window has segments is never delivered.
    Off,
}

names!(MtuDiscovery, "mtu discovery", { "on" => On, "off" => Off });

/// Whether this side uses extensions of KCP with peers of this crate.
///
/// Extensions add what KCP lacks: end of stream, reset, half-close, and connections that move to
/// another address. They are carried where every KCP peer skips them, and are used only after both
/// sides have announced support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Extensions {
    /// Only plain KCP is sent, and received extensions are ignored.
    Off,
    /// The connecting side sends a few hellos. The accepting side only answers hellos.
    On,
    /// As [`Extensions::On`], and a connection follows its peer to another address once the peer
    /// has authenticated itself there.
    Migration,
}

names!(Extensions, "extensions", {
    "off" => Off,
    "on" => On,
    "migration" => Migration
});

impl Extensions {
    /// Minimum number of data bytes in a packet. With less, extensions are not used, whatever is
    /// configured: that is an mtu below 70 plus the overhead of cipher and FEC.
    ///
    /// The longest frames that must fit together are a hello, which precedes all other frames until
    /// it is answered, and the answer to a path challenge. With less room the answer could never be
    /// sent.
    pub const MIN_ROOM: usize = 46;
}

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use super::*;
    use crate::arq::{AckPolicy, Congestion, Mode, Percent, Redundancy, WriteCoalescing};
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
        use Preset::{Bulk, Fast, Fast2, Fast3, Interactive, Normal, Rpc};
        survives(
            &[Normal, Fast, Fast2, Fast3, Rpc, Interactive, Bulk],
            &[
                "normal",
                "fast",
                "fast2",
                "fast3",
                "rpc",
                "interactive",
                "bulk",
            ],
        );
        survives(&[Mode::Stream, Mode::Message], &["stream", "message"]);
        survives(
            &[Congestion::Kcp, Congestion::Unlimited, Congestion::Model],
            &["kcp", "unlimited", "model"],
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
        survives(&[MtuDiscovery::On, MtuDiscovery::Off], &["on", "off"]);
        assert_eq!(format!("{Fast:>6}"), "  fast");
    }

    #[test]
    fn redundancy_survives_display_and_parsing() {
        let overhead = Percent::new(150);
        for (redundancy, text) in [
            (Redundancy::Off, "off"),
            (Redundancy::Adaptive { overhead }, "adaptive:150%"),
            (
                Redundancy::Always {
                    copies: 2,
                    overhead,
                },
                "always:2:150%",
            ),
        ] {
            assert_eq!(redundancy.to_string(), text);
            assert_eq!(text.parse(), Ok(redundancy));
            assert_eq!(text.trim_end_matches('%').parse(), Ok(redundancy));
        }
        for text in [
            "",
            "on",
            "off:1",
            "adaptive",
            "adaptive:x",
            "always:2",
            "always:2:150%:1",
        ] {
            let error = text.parse::<Redundancy>().expect_err(text).to_string();
            assert!(error.contains("such as adaptive:100%"), "{error}");
        }
    }

    #[test]
    fn percentage_survives_display_and_parsing() {
        let percent = Percent::new(400);
        assert_eq!(percent.to_string(), "400%");
        assert_eq!("400%".parse(), Ok(percent));
        assert_eq!("400".parse(), Ok(percent));
        for text in ["", "%", "-1%", "65536", "4%%"] {
            let error = text.parse::<Percent>().expect_err(text).to_string();
            assert!(error.contains("allowed: 0 to 65535"), "{error}");
        }
    }
}
