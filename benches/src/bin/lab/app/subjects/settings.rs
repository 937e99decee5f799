//! Settings of our transport that a run changes: `fec=10/3+window=4096`.

use std::io;

use kcp_transport::config::{Config, ConfigBuilder, Preset};
use kcp_transport::fec::FecRatio;

/// Settings as the command line has them; empty is the default configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings(pub(crate) String);

impl Settings {
    /// The default configuration with these changes.
    ///
    /// # Errors
    ///
    /// If there is no such setting, or it cannot have this value.
    pub(crate) fn config(&self) -> io::Result<Config> {
        let mut builder = Config::builder();
        for setting in self.0.split('+').filter(|setting| !setting.is_empty()) {
            let refused = || {
                let text = format!("{setting}: no such setting of our transport");
                io::Error::new(io::ErrorKind::InvalidInput, text)
            };
            let (key, value) = setting.split_once('=').ok_or_else(refused)?;
            builder = apply(builder, key, value).ok_or_else(refused)?;
        }
        builder.build().map_err(io::Error::other)
    }
}

/// One setting; `None` refuses it.
///
/// Hidden switches of mechanisms belong here too: `("pace", "off") => builder.pacing(..)`.
fn apply(builder: ConfigBuilder, key: &str, value: &str) -> Option<ConfigBuilder> {
    Some(match (key, value) {
        ("fec", "off") => builder.fec(None),
        ("fec", ratio) => {
            let (data, parity) = ratio.split_once('/')?;
            let ratio = FecRatio::new(data.parse().ok()?, parity.parse().ok()?);
            builder.fec(ratio.ok()?)
        }
        ("window", segments) => {
            let segments = segments.parse().ok()?;
            builder.windows(segments, segments)
        }
        ("preset", "normal") => builder.preset(Preset::Normal),
        ("preset", "fast") => builder.preset(Preset::Fast),
        ("preset", "fast2") => builder.preset(Preset::Fast2),
        ("preset", "fast3") => builder.preset(Preset::Fast3),
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
    use super::*;

    #[test]
    fn settings_change_the_default_configuration() {
        let config = |text: &str| Settings(text.to_owned()).config();
        assert_eq!(config("").ok(), Some(Config::default()));
        let changed = config("fec=10/3+window=4096").expect("valid");
        assert_eq!(changed.send_window(), 4096);
        assert_eq!(changed.fec(), FecRatio::new(10, 3).ok());
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        for text in ["fec=10", "speed=3", "window", "window=0"] {
            assert!(Settings(text.to_owned()).config().is_err(), "{text}");
        }
    }
}
