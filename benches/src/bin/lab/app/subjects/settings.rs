//! Settings of our transport for a cell, such as `fec=10/3+window=4096`.

use std::io;
use std::num::NonZeroU32;

use kcp_transport::config::{Config, ConfigBuilder, Congestion, Extensions, MtuDiscovery};
use kcp_transport::fec::FecRatio;

/// Settings in the syntax of the command line. Empty is the default configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(pub(crate) String);

impl Settings {
    /// The default configuration with these changes.
    ///
    /// # Errors
    ///
    /// If a setting is unknown or its value is invalid.
    pub(crate) fn config(&self) -> io::Result<Config> {
        let mut builder = Config::builder();
        for setting in self.0.split('+').filter(|setting| !setting.is_empty()) {
            let refused = || {
                let text = format!("{setting}: unknown setting of our transport, or invalid value");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            };
            let (key, value) = setting.split_once('=').ok_or_else(refused)?;
            builder = apply(builder, key, value).ok_or_else(refused)?;
        }
        builder.build().map_err(io::Error::other)
    }
}

/// Applies a setting; `None` if the setting or its value is invalid.
///
/// The value `off` disables a mechanism to measure its contribution: `redundancy` the copies of small flushes, `bitmap`
/// the acknowledgements beyond a gap, `model` the congestion controller, and `count` loss detection by the number of
/// later arrivals, which leaves detection by time.
fn apply(builder: ConfigBuilder, key: &str, value: &str) -> Option<ConfigBuilder> {
    Some(match (key, value) {
        ("fec", "off") => builder.fec(None),
        ("fec", ratio) => builder.fec(ratio.parse::<FecRatio>().ok()?),
        ("window", segments) => {
            let segments = segments.parse().ok()?;
            builder.windows(segments, segments)
        }
        ("preset", name) => builder.preset(name.parse().ok()?),
        ("redundancy", budget) => builder.redundancy(budget.parse().ok()?),
        ("bitmap", "off") => builder.sends_received(false),
        ("model", "off") => builder.congestion(Congestion::Unlimited),
        ("count", "off") => builder.fast_retransmit_after(None),
        ("count", arrivals) => {
            builder.fast_retransmit_after(NonZeroU32::new(arrivals.parse().ok()?))
        }
        ("extensions", "off") => builder.extensions(Extensions::Off),
        ("mtu-discovery", "off") => builder.mtu_discovery(MtuDiscovery::Off),
        ("mtu", bytes) => builder.mtu(bytes.parse().ok()?),
        ("rate-mbit", mbit) => {
            let mbit: u64 = mbit.parse().ok()?;
            builder.send_rate(std::num::NonZeroU64::new(mbit * 125_000))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use kcp_transport::config::Redundancy;

    use super::*;

    #[test]
    fn settings_change_the_default_configuration() {
        let config = |text: &str| Settings(text.to_owned()).config();
        let copied = config("redundancy=always:1:200%").expect("valid");
        assert_eq!(copied.redundancy().to_string(), "always:1:200%");
        assert_eq!(config("").ok(), Some(Config::default()));
        let changed = config("fec=10/3+window=4096").expect("valid");
        assert_eq!(changed.send_window(), 4096);
        assert_eq!(changed.fec(), FecRatio::new(10, 3).ok());
    }

    #[test]
    fn each_mechanism_can_be_switched_off() {
        let off = "redundancy=off+bitmap=off+model=off+count=off+extensions=off+mtu-discovery=off";
        let config = Settings(off.to_owned()).config().expect("valid");
        assert_eq!(config.redundancy(), Redundancy::Off);
        assert!(!config.sends_received());
        assert_eq!(config.congestion(), Congestion::Unlimited);
        assert_eq!(config.fast_retransmit_after(), None);
        assert_eq!(config.extensions(), Extensions::Off);
        assert_eq!(config.mtu_discovery(), MtuDiscovery::Off);
    }

    #[test]
    fn invalid_settings_are_refused() {
        for text in ["fec=10", "speed=3", "window", "window=0", "bitmap=on"] {
            assert!(Settings(text.to_owned()).config().is_err(), "{text}");
        }
    }
}
