//! Options of a connection, with the names and meanings of kcptun's flags. Where a default differs from
//! kcptun's, the help states both.

use std::fmt::Display;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use kcp_transport::config::{AckPolicy, Config, Preset};
use kcp_transport::crypto::Security;
use kcp_transport::error::ConfigError;
use kcp_transport::fec::FecRatio;

/// Transport options, to be flattened into the options of a program.
#[derive(Clone, Debug, clap::Parser)]
#[command(next_help_heading = "Transport (as in kcptun)")]
pub struct Args {
    /// Cipher, the same on both sides
    #[arg(long, value_name = "NAME", default_value = "aes")]
    #[arg(value_parser = PossibleValuesParser::new(Security::NAMES))]
    pub crypt: String,

    /// Password from which the cipher's key is derived, the same on both sides. Default: the environment
    /// variable KCPTUN_KEY, else kcptun's default, "it's a secrect"
    #[arg(long, value_name = "PASSWORD", conflicts_with = "key_file")]
    pub key: Option<Password>,

    /// File with the password; one line break at its end is ignored. kcptun has no such flag
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Largest UDP payload in bytes, 1500 at most (kcptun's default: 1350)
    #[arg(long, value_name = "BYTES", default_value_t = 1400)]
    #[arg(value_parser = within(1..=1500_usize))]
    pub mtu: usize,

    /// Send window in segments. Default: the window of --mode (kcptun's default: 128 for clients, 1024 for
    /// servers)
    #[arg(long, value_name = "SEGMENTS")]
    #[arg(value_parser = within(1..=65_535_u32))]
    pub sndwnd: Option<u32>,

    /// Receive window in segments. Default: the window of --mode (kcptun's default: 512 for clients, 1024
    /// for servers)
    #[arg(long, value_name = "SEGMENTS")]
    #[arg(value_parser = within(1..=65_535_u32))]
    pub rcvwnd: Option<u32>,

    /// Data packets in a FEC group; 0 together with --parityshard 0 disables FEC (kcptun's default: 10)
    #[arg(long, value_name = "PACKETS", default_value_t = 0)]
    #[arg(value_parser = within(0..=255_usize))]
    pub datashard: usize,

    /// Parity packets in a FEC group: as many lost packets can be recovered (kcptun's default: 3)
    #[arg(long, value_name = "PACKETS", default_value_t = 0)]
    #[arg(value_parser = within(0..=255_usize))]
    pub parityshard: usize,

    /// Timing and congestion control. rpc, interactive and bulk share the path with other traffic. kcptun's
    /// normal, fast, fast2 and fast3 have no congestion control, and retransmit increasingly early (kcptun's
    /// default: fast)
    #[arg(long, value_name = "NAME", default_value = "rpc", value_parser = mode())]
    pub mode: Preset,

    /// Differentiated services code point of sent packets
    #[arg(long, value_name = "0-63", default_value_t = 0, value_parser = within(0..=63_u8))]
    pub dscp: u8,

    /// Socket buffer to request from the system, in bytes, for each direction
    #[arg(long, value_name = "BYTES", default_value_t = 4_194_304)]
    #[arg(value_parser = within(4096..=1_usize << 30))]
    pub sockbuf: usize,

    /// Acknowledge each packet at once instead of at the next flush. With rpc, interactive and bulk
    /// that is always done
    #[arg(long)]
    pub acknodelay: bool,

    /// Seconds that sent data may stay unacknowledged before the connection is closed; 0 disables the
    /// limit. kcptun has no such flag
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub user_timeout: Duration,

    /// Time-out of connecting, in seconds. kcptun has no such flag
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub connect_timeout: Duration,
}

impl Args {
    /// The cipher, with the key that kcptun derives from the same password.
    ///
    /// # Errors
    ///
    /// If no cipher has this name, or the key file cannot be read.
    pub fn security(&self) -> Result<Security, OptionError> {
        let password = self.password(std::env::var(KEY_VARIABLE).ok())?;
        let salt = Security::KCPTUN_SALT;
        Ok(Security::from_password(&self.crypt, &password.0, salt)?)
    }

    /// The password from --key or --key-file, else from the environment, else kcptun's default.
    fn password(&self, environment: Option<String>) -> Result<Password, OptionError> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let Some(path) = &self.key_file else {
            return Ok(Password(environment.unwrap_or_else(|| DEFAULT_KEY.into())));
        };
        let unreadable = |error: io::Error| OptionError::KeyFile {
            path: path.clone(),
            problem: error.to_string(),
        };
        let mut password = fs::read_to_string(path).map_err(unreadable)?;
        let line = password.strip_suffix('\n').unwrap_or(&password);
        let line = line.strip_suffix('\r').unwrap_or(line);
        password.truncate(line.len());
        Ok(Password(password))
    }

    /// The configuration: all options except the cipher and its key.
    ///
    /// # Errors
    ///
    /// If an option is out of range or conflicts with another.
    pub fn config(&self) -> Result<Config, OptionError> {
        let is_ours = matches!(self.mode, Preset::Rpc | Preset::Interactive | Preset::Bulk);
        // Their controller starts with a small window, and would wait for each tick of the peer.
        let acks = if self.acknodelay || is_ours {
            AckPolicy::Immediate
        } else {
            AckPolicy::Batched
        };
        let user_timeout = Some(self.user_timeout).filter(|timeout| !timeout.is_zero());
        let preset = Config::builder().preset(self.mode).build()?;
        let send = self.sndwnd.unwrap_or_else(|| preset.send_window().into());
        let receive = self
            .rcvwnd
            .unwrap_or_else(|| preset.receive_window().into());
        let config = preset
            .to_builder()
            .mtu(self.mtu)
            .windows(send, receive)
            .fec(self.fec()?)
            .ack_policy(acks)
            .dscp(self.dscp)
            .socket_buffer(self.sockbuf)
            .user_timeout(user_timeout)
            .connect_timeout(self.connect_timeout)
            .build()?;
        Ok(config)
    }

    /// Cipher and configuration, after a check that they are compatible.
    ///
    /// # Errors
    ///
    /// The same errors as [`security`](Self::security) and [`config`](Self::config), and an error if the MTU
    /// leaves no room for data with this cipher.
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

/// A password. Its `Debug` output does not contain it.
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

/// Cipher and configuration of a listener or a connection.
#[derive(Clone, Debug)]
pub struct Transport {
    /// The cipher and its key.
    pub security: Security,
    /// The other options.
    pub config: Config,
}

/// Why an option was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// One of --datashard and --parityshard is 0, or their sum is above 256.
    #[error(
        "--datashard is {data} and --parityshard is {parity}; allowed: 0 for both (no FEC), or at least 1 each and at most 256 together"
    )]
    Shards {
        /// Data packets in a group.
        data: usize,
        /// Parity packets in a group.
        parity: usize,
    },
    /// The password cannot be read.
    #[error("cannot read --key-file {}: {problem}", path.display())]
    KeyFile {
        /// Path of the key file.
        path: PathBuf,
        /// The error of the system.
        problem: String,
    },
    /// The transport refused an option.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// A parser for numbers in an inclusive range.
pub fn within<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |given| match given.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("allowed: {} to {}", range.start(), range.end())),
    }
}

/// Parses a number of seconds, which may be fractional.
fn seconds(given: &str) -> Result<Duration, String> {
    let refused = || format!("allowed: 0 to {MAX_SECONDS} seconds, fractions included");
    let seconds = within(0.0..=MAX_SECONDS)(given).map_err(|_| refused())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| refused())
}

fn mode() -> impl TypedValueParser<Value = Preset> {
    PossibleValuesParser::new(MODES).try_map(|name| name.parse::<Preset>())
}

const MODES: [&str; 7] = [
    "rpc",
    "interactive",
    "bulk",
    "normal",
    "fast",
    "fast2",
    "fast3",
];

/// kcptun's environment variable for the password.
const KEY_VARIABLE: &str = "KCPTUN_KEY";

/// kcptun's default password, with kcptun's spelling.
const DEFAULT_KEY: &str = "it's a secrect";

/// 30 days, the longest time-out that the transport accepts.
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

    /// kcptun's defaults for clients, from its `--help`.
    const KCPTUN: [(&str, &str); 9] = [
        ("crypt", "aes"),
        ("mode", "fast"),
        ("mtu", "1350"),
        ("sndwnd", "128"),
        ("rcvwnd", "512"),
        ("datashard", "10"),
        ("parityshard", "3"),
        ("dscp", "0"),
        ("sockbuf", "4194304"),
    ];

    #[test]
    fn help_states_each_default_of_kcptun_that_differs() {
        let command = Args::command();
        for (name, theirs) in KCPTUN {
            let arg = command.get_arguments().find(|arg| arg.get_id() == name);
            let arg = arg.unwrap();
            let help = arg.get_help().unwrap().to_string();
            let named = format!("kcptun's default: {theirs}");
            let same = arg.get_default_values() == [theirs];
            assert_eq!(same, !help.contains(&named), "--{name}: {help}");
        }
    }

    #[test]
    fn key_comes_from_the_command_line_the_file_or_the_environment() {
        let args = |arguments: &[&str]| -> Args {
            cli::parse(Args::command(), [&["test"], arguments].concat()).unwrap()
        };
        let password = |arguments: &[&str], environment: Option<&str>| {
            let password = args(arguments).password(environment.map(str::to_owned));
            password.map(|it| it.0)
        };
        assert_eq!(password(&[], None).unwrap(), "it's a secrect");
        assert_eq!(password(&[], Some("variable")).unwrap(), "variable");
        assert_eq!(password(&["--key=flag"], Some("variable")).unwrap(), "flag");

        let directory = std::env::temp_dir();
        let path = directory.join(format!("kcp-examples-key-{}", std::process::id()));
        let flag = format!("--key-file={}", path.display());
        let from_file = |text: &str| {
            fs::write(&path, text).unwrap();
            password(&[&flag], Some("variable")).unwrap()
        };
        assert_eq!(from_file("in a file\n"), "in a file");
        assert_eq!(from_file("in a file\r\n"), "in a file");
        assert_eq!(
            from_file(" spaces, and\na second line"),
            " spaces, and\na second line"
        );
        fs::remove_file(&path).unwrap();
        let error = password(&[&flag], Some("variable")).unwrap_err();
        assert!(error.to_string().contains("--key-file "), "{error}");

        let both: Result<Args, _> = cli::parse(Args::command(), ["test", "--key=a", &flag]);
        both.unwrap_err();
    }

    #[test]
    fn mode_selects_the_defaults() {
        let modes = [
            (&[][..], Preset::Rpc, AckPolicy::Immediate),
            (&["--mode=rpc"], Preset::Rpc, AckPolicy::Immediate),
            (&["--mode=fast2"], Preset::Fast2, AckPolicy::Batched),
            (&["--mode=bulk"], Preset::Bulk, AckPolicy::Immediate),
        ];
        for (flags, preset, acks) in modes {
            let Transport { security, config } = parse(flags).unwrap();
            assert_eq!(security.name(), "aes");
            let expected = Config::builder()
                .preset(preset)
                .ack_policy(acks)
                .build()
                .unwrap();
            assert_eq!(config, expected);
        }
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
    fn all_ciphers_of_the_transport_are_accepted() {
        for name in Security::NAMES {
            let transport = parse(&["--crypt", name]).unwrap();
            assert_eq!(transport.security.name(), *name);
        }
    }

    #[test]
    fn refusal_is_one_line_with_the_option_its_value_and_its_range() {
        let refusals: &[(&[&str], [&str; 3])] = &[
            (&["--mtu", "9000"], ["--mtu", "'9000'", "1 to 1500"]),
            (&["--mtu", "30"], ["mtu", "30", "to 9000"]),
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
}
