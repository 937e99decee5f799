//! The options of a connection, named as in kcptun, whose values mean the same here.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use kcp_transport::config::{AckPolicy, Config, Preset};
use kcp_transport::crypto::Security;
use kcp_transport::error::ConfigError;
use kcp_transport::fec::FecRatio;

/// Transport options; flatten them into a program's own.
#[derive(Clone, Debug, clap::Parser)]
#[command(next_help_heading = "Transport (as in kcptun)")]
pub struct Args {
    /// Cipher, the same on both sides
    #[arg(long, value_name = "NAME", default_value = "aes")]
    #[arg(value_parser = PossibleValuesParser::new(Security::NAMES))]
    pub crypt: String,

    /// Password that the cipher's key is derived from, the same on both sides
    #[arg(long, value_name = "PASSWORD", default_value = "it's a secrect")]
    pub key: Password,

    /// Largest UDP payload in bytes, 1500 at most
    #[arg(long, value_name = "BYTES", default_value_t = 1400)]
    #[arg(value_parser = within(1..=1500_usize))]
    pub mtu: usize,

    /// Send window in segments
    #[arg(long, value_name = "SEGMENTS", default_value_t = 1024)]
    #[arg(value_parser = within(1..=65_535_u32))]
    pub sndwnd: u32,

    /// Receive window in segments
    #[arg(long, value_name = "SEGMENTS", default_value_t = 1024)]
    #[arg(value_parser = within(1..=65_535_u32))]
    pub rcvwnd: u32,

    /// Data packets of a FEC group; 0, with --parityshard 0, is no FEC
    #[arg(long, value_name = "PACKETS", default_value_t = 0)]
    #[arg(value_parser = within(0..=255_usize))]
    pub datashard: usize,

    /// Parity packets of a FEC group: as many losses are repaired at once
    #[arg(long, value_name = "PACKETS", default_value_t = 0)]
    #[arg(value_parser = within(0..=255_usize))]
    pub parityshard: usize,

    /// Timing: the later in the list, the sooner is sent again
    #[arg(long, value_name = "NAME", default_value = "fast2", value_parser = mode())]
    pub mode: Preset,

    /// Differentiated services code point of sent packets
    #[arg(long, value_name = "0-63", default_value_t = 0, value_parser = within(0..=63_u8))]
    pub dscp: u8,

    /// Size asked of the system for each socket buffer, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4_194_304)]
    #[arg(value_parser = within(4096..=1_usize << 30))]
    pub sockbuf: usize,

    /// Acknowledge each packet at once, rather than with the next flush
    #[arg(long)]
    pub acknodelay: bool,

    /// Seconds that sent data may stay unacknowledged before the connection ends; 0 is for ever
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub user_timeout: Duration,

    /// Seconds that connecting may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub connect_timeout: Duration,
}

impl Args {
    /// The cipher, under the key that kcptun derives from the same password.
    ///
    /// # Errors
    ///
    /// If no cipher has this name.
    pub fn security(&self) -> Result<Security, ConfigError> {
        Security::from_password(&self.crypt, &self.key.0, Security::KCPTUN_SALT)
    }

    /// Everything else.
    ///
    /// # Errors
    ///
    /// If an option is out of range, or does not go with another.
    pub fn config(&self) -> Result<Config, OptionError> {
        let acks = if self.acknodelay {
            AckPolicy::Immediate
        } else {
            AckPolicy::Batched
        };
        let user_timeout = Some(self.user_timeout).filter(|timeout| !timeout.is_zero());
        let config = Config::builder()
            .preset(self.mode)
            .mtu(self.mtu)
            .windows(self.sndwnd, self.rcvwnd)
            .fec(self.fec()?)
            .ack_policy(acks)
            .dscp(self.dscp)
            .socket_buffer(self.sockbuf)
            .user_timeout(user_timeout)
            .connect_timeout(self.connect_timeout)
            .build()?;
        Ok(config)
    }

    /// Cipher and configuration, checked that they go together.
    ///
    /// # Errors
    ///
    /// As [`security`](Self::security) and [`config`](Self::config), and if the mtu has no room for
    /// data under this cipher.
    pub fn transport(&self) -> Result<Transport, OptionError> {
        let security = self.security()?;
        let config = self.config()?;
        config.layout(security.overhead())?;
        Ok(Transport { security, config })
    }

    fn fec(&self) -> Result<Option<FecRatio>, OptionError> {
        let (data, parity) = (self.datashard, self.parityshard);
        if data == 0 && parity == 0 {
            return Ok(None);
        }
        match FecRatio::new(data, parity) {
            Ok(ratio) => Ok(Some(ratio)),
            Err(_) => Err(OptionError::Shards { data, parity }),
        }
    }
}

/// A password, which its `Debug` does not show.
#[derive(Clone)]
pub struct Password(String);

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What is needed to listen or connect.
#[derive(Clone, Debug)]
pub struct Transport {
    /// The cipher and its key.
    pub security: Security,
    /// The other options.
    pub config: Config,
}

/// Why options were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// A FEC group needs data and parity.
    #[error(
        "--datashard is {data} and --parityshard is {parity}; allowed are 0 for both (no FEC), or at least 1 each and at most 256 together"
    )]
    Shards {
        /// Data packets in a group.
        data: usize,
        /// Parity packets in a group.
        parity: usize,
    },
    /// The transport refused a value.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Parses a number that must lie in a range, both ends included.
pub fn within<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |given| match given.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("allowed are {} to {}", range.start(), range.end())),
    }
}

/// Parses a UDP address.
///
/// # Errors
///
/// If it is not an IP address with a port; names are not looked up.
pub fn address(given: &str) -> Result<SocketAddr, String> {
    given.parse().map_err(|_| {
        "allowed are IP:PORT, such as 127.0.0.1:4000 or [::1]:4000, with a port of 0 to 65535"
            .to_owned()
    })
}

/// Parses seconds, fractions included.
fn seconds(given: &str) -> Result<Duration, String> {
    let refused = || format!("allowed are 0 to {MAX_SECONDS} seconds, fractions included");
    let seconds = within(0.0..=MAX_SECONDS)(given).map_err(|_| refused())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| refused())
}

fn mode() -> impl TypedValueParser<Value = Preset> {
    PossibleValuesParser::new(["normal", "fast", "fast2", "fast3"])
        .try_map(|name| name.parse::<Preset>())
}

/// 30 days, the longest time-out that the transport takes.
const MAX_SECONDS: f64 = 2_592_000.0;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli;

    fn parse(arguments: &[&str]) -> Result<Transport, String> {
        let arguments = [&["test"], arguments].concat();
        let args: Args = cli::parse(Args::command(), arguments).map_err(|stop| stop.to_string())?;
        args.transport().map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_kcptuns() {
        let Transport { security, config } = parse(&[]).unwrap();
        assert_eq!(security.name(), "aes");
        let expected = Config::builder()
            .ack_policy(AckPolicy::Batched)
            .build()
            .unwrap();
        assert_eq!(config, expected);
    }

    #[test]
    fn options_reach_the_configuration() {
        let Transport { security, config } = parse(&[
            "--crypt=aes-128-gcm",
            "--mtu=1200",
            "--sndwnd=7",
            "--rcvwnd=9",
            "--datashard=10",
            "--parityshard=3",
            "--mode=fast3",
            "--dscp=46",
            "--sockbuf=65536",
            "--acknodelay",
            "--user-timeout=0",
            "--connect-timeout=0.5",
        ])
        .unwrap();
        assert_eq!(security.name(), "aes-128-gcm");
        assert_eq!(config.mtu(), 1200);
        assert_eq!((config.send_window(), config.receive_window()), (7, 9));
        assert_eq!(config.fec(), Some(FecRatio::new(10, 3).unwrap()));
        assert_eq!(config.flush_interval(), Duration::from_millis(10));
        assert_eq!(config.dscp(), 46);
        assert_eq!(config.socket_buffer(), Some(65536));
        assert_eq!(config.ack_policy(), AckPolicy::Immediate);
        assert_eq!(config.user_timeout(), None);
        assert_eq!(config.connect_timeout(), Duration::from_millis(500));
    }

    #[test]
    fn all_ciphers_of_the_transport_are_known() {
        for name in Security::NAMES {
            let transport = parse(&["--crypt", name]).unwrap();
            assert_eq!(transport.security.name(), *name);
        }
    }

    #[test]
    fn refusal_is_one_line_with_option_value_and_range() {
        let refusals: &[(&[&str], [&str; 3])] = &[
            (&["--mtu", "9000"], ["--mtu", "'9000'", "1 to 1500"]),
            (&["--mtu", "30"], ["mtu", "30", "at least"]),
            (&["--mtu", "-1"], ["--mtu", "'-1'", "1 to 1500"]),
            (&["--mtu", "big"], ["--mtu", "'big'", "1 to 1500"]),
            (&["--sndwnd", "0"], ["--sndwnd", "'0'", "1 to 65535"]),
            (
                &["--rcvwnd", "65536"],
                ["--rcvwnd", "'65536'", "1 to 65535"],
            ),
            (&["--dscp", "64"], ["--dscp", "'64'", "0 to 63"]),
            (
                &["--sockbuf", "1"],
                ["--sockbuf", "'1'", "4096 to 1073741824"],
            ),
            (&["--mode", "turbo"], ["--mode", "'turbo'", "fast3"]),
            (&["--crypt", "rot13"], ["--crypt", "'rot13'", "aes-128-gcm"]),
            (
                &["--user-timeout", "-3"],
                ["--user-timeout", "'-3'", "0 to 2592000"],
            ),
            (
                &["--connect-timeout", "inf"],
                ["--connect-timeout", "'inf'", "0 to"],
            ),
            (
                &["--connect-timeout", "0"],
                ["connect timeout", "0ns", "10 ms"],
            ),
            (
                &["--datashard", "10"],
                ["--datashard is 10", "--parityshard is 0", "at least 1 each"],
            ),
            (
                &["--parityshard", "3"],
                ["--datashard is 0", "--parityshard is 3", "at least 1 each"],
            ),
            (
                &["--datashard", "200", "--parityshard", "100"],
                ["200", "100", "at most 256 together"],
            ),
        ];
        for (arguments, parts) in refusals {
            let message = parse(arguments).unwrap_err();
            assert_eq!(message.lines().count(), 1, "{message}");
            for part in parts {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn address_is_an_ip_with_a_port() {
        assert!(address("127.0.0.1:0").is_ok());
        assert!(address("[::1]:4000").is_ok());
        for given in [
            "",
            "4000",
            "127.0.0.1",
            "127.0.0.1:65536",
            "::1:x",
            "host:1",
        ] {
            let message = address(given).unwrap_err();
            assert!(message.contains("IP:PORT"), "{message}");
        }
    }
}
