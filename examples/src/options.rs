//! The options of a connection, with the names and meanings of kcptun's. Where a default is not
//! kcptun's, the help gives both.

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

/// Transport options; flatten them into a program's own.
#[derive(Clone, Debug, clap::Parser)]
#[command(next_help_heading = "Transport (as in kcptun)")]
pub struct Args {
    /// Cipher, the same on both sides
    #[arg(long, value_name = "NAME", default_value = "aes")]
    #[arg(value_parser = PossibleValuesParser::new(Security::NAMES))]
    pub crypt: String,

    /// Password that the cipher's key is derived from, the same on both sides. Without it and
    /// --key-file: the environment variable KCPTUN_KEY, else kcptun's default, "it's a secrect"
    #[arg(long, value_name = "PASSWORD", conflicts_with = "key_file")]
    pub key: Option<Password>,

    /// File with the password; one line break at its end does not count. kcptun has no such flag
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,

    /// Largest UDP payload in bytes, 1500 at most (kcptun's default: 1350)
    #[arg(long, value_name = "BYTES", default_value_t = 1400)]
    #[arg(value_parser = within(1..=1500_usize))]
    pub mtu: usize,

    /// Send window in segments; that of --mode by default (kcptun's default: 128 for clients, 1024
    /// for servers)
    #[arg(long, value_name = "SEGMENTS")]
    #[arg(value_parser = within(1..=65_535_u32))]
    pub sndwnd: Option<u32>,

    /// Receive window in segments; that of --mode by default (kcptun's default: 512 for clients,
    /// 1024 for servers)
    #[arg(long, value_name = "SEGMENTS")]
    #[arg(value_parser = within(1..=65_535_u32))]
    pub rcvwnd: Option<u32>,

    /// Data packets of a FEC group; 0, with --parityshard 0, is no FEC (kcptun's default: 10)
    #[arg(long, value_name = "PACKETS", default_value_t = 0)]
    #[arg(value_parser = within(0..=255_usize))]
    pub datashard: usize,

    /// Parity packets of a FEC group, which make up for as many lost ones (kcptun's default: 3)
    #[arg(long, value_name = "PACKETS", default_value_t = 0)]
    #[arg(value_parser = within(0..=255_usize))]
    pub parityshard: usize,

    /// rpc, interactive or bulk share a path with others; kcptun's four send whole windows at once,
    /// and later ones retransmit sooner (kcptun's default: fast)
    #[arg(long, value_name = "NAME", default_value = "rpc", value_parser = mode())]
    pub mode: Preset,

    /// Differentiated services code point of sent packets
    #[arg(long, value_name = "0-63", default_value_t = 0, value_parser = within(0..=63_u8))]
    pub dscp: u8,

    /// Size of each socket buffer that is requested from the system, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4_194_304)]
    #[arg(value_parser = within(4096..=1_usize << 30))]
    pub sockbuf: usize,

    /// Acknowledge each packet at once, rather than with the next flush
    #[arg(long)]
    pub acknodelay: bool,

    /// Seconds that sent data may stay unacknowledged before the connection ends; 0 is no limit.
    /// kcptun has no such flag
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub user_timeout: Duration,

    /// Seconds that connecting may take. kcptun has no such flag
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub connect_timeout: Duration,
}

impl Args {
    /// The cipher, under the key that kcptun derives from the same password.
    ///
    /// # Errors
    ///
    /// If no cipher has this name, or the key's file cannot be read.
    pub fn security(&self) -> Result<Security, OptionError> {
        let password = self.password(std::env::var(KEY_VARIABLE).ok())?;
        let salt = Security::KCPTUN_SALT;
        Ok(Security::from_password(&self.crypt, &password.0, salt)?)
    }

    /// From the command line or the file that it names, else from the environment.
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
    /// The password cannot be read.
    #[error("--key-file is {}, which cannot be read: {problem}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What the system reported.
        problem: String,
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

/// Parses seconds, fractions included.
fn seconds(given: &str) -> Result<Duration, String> {
    let refused = || format!("allowed are 0 to {MAX_SECONDS} seconds, fractions included");
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

/// kcptun's.
const KEY_VARIABLE: &str = "KCPTUN_KEY";

/// kcptun's, its spelling included.
const DEFAULT_KEY: &str = "it's a secrect";

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

    /// kcptun's defaults for clients, as its help prints them.
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
    fn default_is_kcptuns_or_the_help_names_kcptuns_too() {
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
    fn key_is_that_of_the_command_line_or_the_file_or_the_environment() {
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
        assert!(error.to_string().contains("--key-file is "), "{error}");

        let both: Result<Args, _> = cli::parse(Args::command(), ["test", "--key=a", &flag]);
        both.unwrap_err();
    }

    #[test]
    fn defaults_are_those_of_the_mode() {
        let modes = [
            (&[][..], Preset::Rpc),
            (&["--mode=rpc"], Preset::Rpc),
            (&["--mode=fast2"], Preset::Fast2),
            (&["--mode=bulk"], Preset::Bulk),
        ];
        for (flags, preset) in modes {
            let Transport { security, config } = parse(flags).unwrap();
            assert_eq!(security.name(), "aes");
            let expected = Config::builder()
                .preset(preset)
                .ack_policy(AckPolicy::Batched)
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
}
