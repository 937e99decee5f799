//! Which options of an open connection can change.

use super::{Config, Mode};
use crate::error::ConfigError;

impl Config {
    /// Checks that a connection with this configuration can go on with another.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Fixed`] with the first option that differs and cannot change.
    pub(crate) fn check_change(&self, to: &Self, mode: Mode) -> Result<(), ConfigError> {
        let pair = |text: fn(&Self) -> String| (text(self), text(to));
        let fec = pair(|it| match it.fec {
            Some(ratio) => ratio.to_string(),
            None => "off".to_owned(),
        });
        let socket_buffer = pair(|it| match it.socket_buffer {
            Some(bytes) => bytes.to_string(),
            None => "that of the system".to_owned(),
        });
        let connect_timeout = pair(|it| format!("{:?}", it.connect_timeout));
        // Buffers for datagrams have the size of the first mtu.
        if to.mtu > self.mtu {
            return refuse("mtu", (self.mtu, to.mtu), "it can only be lowered");
        }
        let discoveries = (self.mtu_discovery, to.mtu_discovery);
        same("mtu discovery", discoveries, RECONNECT)?;
        same("fec", fec, RECONNECT)?;
        let extensions = (self.extensions, to.extensions);
        same("extensions", extensions, RECONNECT)?;
        if self.controller != to.controller {
            let controllers = pair(|it| format!("{:?}", it.controller));
            return refuse("controller", controllers, RECONNECT);
        }
        same("dscp", (self.dscp, to.dscp), RECONNECT)?;
        same("socket buffer", socket_buffer, RECONNECT)?;
        same(
            "connect timeout",
            connect_timeout,
            "it only applies while connecting",
        )?;
        let convert = "convert the stream with into_messages or into_stream";
        same("stream mode", (self.mode, to.mode), convert)?;
        // The rest of a message that has begun may need the window that was announced.
        if mode == Mode::Message && to.receive_window < self.receive_window {
            let windows = (self.receive_window, to.receive_window);
            return refuse("receive window", windows, "with messages it can only grow");
        }
        Ok(())
    }
}

/// Refuses a difference.
fn same<T: PartialEq + ToString>(
    option: &'static str,
    values: (T, T),
    hint: &'static str,
) -> Result<(), ConfigError> {
    if values.0 == values.1 {
        Ok(())
    } else {
        refuse(option, values, hint)
    }
}

fn refuse<T: ToString>(
    option: &'static str,
    (current, given): (T, T),
    hint: &'static str,
) -> Result<(), ConfigError> {
    Err(ConfigError::Fixed {
        option,
        current: current.to_string(),
        given: given.to_string(),
        hint,
    })
}

const RECONNECT: &str = "open another connection for another value";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{ConfigBuilder, Extensions, Preset};
    use crate::fec::FecRatio;

    fn change(to: ConfigBuilder, mode: Mode) -> Result<(), String> {
        let to = to.build().expect("in range");
        let checked = Config::default().check_change(&to, mode);
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn options_of_an_open_connection_change() {
        let to = Config::builder()
            .preset(Preset::Normal)
            .windows(64, 64)
            .mtu(1200)
            .keepalive(None)
            .user_timeout(Duration::from_secs(5))
            .linger(Duration::ZERO)
            .send_buffer(100_000)
            .receive_buffer(100_000);
        assert_eq!(change(to, Mode::Stream), Ok(()));
        let wider = Config::builder().windows(8192, 8192);
        assert_eq!(change(wider, Mode::Message), Ok(()));
    }

    #[test]
    fn refusal_contains_the_option_both_values_and_what_is_possible() {
        let builder = Config::builder;
        let ratio = FecRatio::new(10, 3).expect("in range");
        for (to, expected) in [
            (
                builder().fec(ratio),
                "fec of an open connection cannot change from off to 10/3; open another",
            ),
            (
                builder().extensions(Extensions::Off),
                "extensions of an open connection cannot change from migration to off",
            ),
            (
                builder().dscp(46),
                "dscp of an open connection cannot change from 0 to 46",
            ),
            (builder().socket_buffer(None), "socket buffer"),
            (
                builder().mtu(1500),
                "mtu of an open connection cannot change from 1400 to 1500; it can only be lowered",
            ),
            (
                builder().connect_timeout(Duration::from_secs(1)),
                "cannot change from 10s to 1s; it only applies while connecting",
            ),
            (
                builder().mode(Mode::Message),
                "from stream to message; convert the stream with into_messages",
            ),
        ] {
            let error = change(to, Mode::Stream).expect_err(expected);
            assert!(error.contains(expected), "{error:?} lacks {expected:?}");
        }
    }

    #[test]
    fn receive_window_of_messages_does_not_shrink() {
        let narrower = Config::builder().windows(4096, 64);
        let error = change(narrower, Mode::Message).expect_err("is refused");
        assert_eq!(
            error,
            "receive window of an open connection cannot change from 4096 to 64; \
             with messages it can only grow"
        );
    }
}
