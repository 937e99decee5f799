//! What can be run. A case is data; [`run`](crate::run) runs it.

use std::fmt;
use std::time::Duration;

use kcp_examples::relay::RelayConfig;
use kcp_transport::config::{Config, Preset};
use kcp_transport::crypto::Security;
use kcp_transport::error::ConfigError;
use kcp_transport::fec::FecRatio;

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Our client, a Go server.
    RustToGo,
    /// A Go client, our server.
    GoToRust,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RustToGo => "rust-to-go",
            Self::GoToRust => "go-to-rust",
        })
    }
}

/// What runs over the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// [`ECHO_BYTES`] to the server and back, against kcp-go.
    Echo,
    /// gRPC calls of one kind, against grpc-go over kcp-go.
    Grpc(CallKind),
}

/// The four kinds of gRPC calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// One request, one reply.
    Unary,
    /// One request, many replies.
    ServerStream,
    /// Many requests, one reply.
    ClientStream,
    /// Requests and replies in turn.
    Bidi,
}

impl CallKind {
    /// As the Go peers call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ServerStream => "server",
            Self::ClientStream => "client",
            Self::Bidi => "bidi",
        }
    }
}

/// FEC of each side, data and parity packets of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fec {
    /// Of what we send.
    pub ours: Option<(usize, usize)>,
    /// Of what the Go peer sends.
    pub theirs: Option<(usize, usize)>,
}

impl Fec {
    /// The same on both sides.
    #[must_use]
    pub const fn both(ratio: Option<(usize, usize)>) -> Self {
        Self {
            ours: ratio,
            theirs: ratio,
        }
    }
}

impl fmt::Display for Fec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratio = |ratio: Option<(usize, usize)>| match ratio {
            Some((data, parity)) => format!("{data}/{parity}"),
            None => "off".to_owned(),
        };
        f.write_str(&ratio(self.ours))?;
        if self.ours != self.theirs {
            write!(f, " against {}", ratio(self.theirs))?;
        }
        Ok(())
    }
}

/// One thing to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// What runs over the connection.
    pub payload: Payload,
    /// Who opens it.
    pub direction: Direction,
    /// The cipher, by kcptun's name.
    pub cipher: &'static str,
    /// FEC of each side.
    pub fec: Fec,
    /// Datagrams lost on the way, in percent, in each direction.
    pub loss: u8,
}

/// The name: no two cases share it, and none is a part of another's.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            payload,
            direction,
            cipher,
            fec,
            loss,
        } = self;
        match payload {
            Payload::Echo => f.write_str("echo")?,
            Payload::Grpc(kind) => write!(f, "grpc-{}", kind.name())?,
        }
        let fec = fec.to_string().replace(['/', ' '], "-");
        write!(f, "/{direction}/{cipher}/fec-{fec}/loss-{loss}")
    }
}

impl Case {
    /// The Go implementation on the other side.
    #[must_use]
    pub const fn peer(&self) -> &'static str {
        match self.payload {
            Payload::Echo => "kcp-go",
            Payload::Grpc(_) => "grpc-go",
        }
    }

    /// Our cipher.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownCipher`] if we do not have it.
    pub fn security(&self) -> Result<Security, ConfigError> {
        Security::from_password(self.cipher, PASSWORD, Security::KCPTUN_SALT)
    }

    /// Our options.
    ///
    /// # Errors
    ///
    /// If the FEC ratio is out of range.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let ratio = self.fec.ours;
        let ratio = ratio.map(|(data, parity)| FecRatio::new(data, parity));
        Config::builder()
            .preset(Preset::Fast2)
            .fec(ratio.transpose()?)
            .build()
    }

    /// The Go peer's command and the options that both sides share.
    #[must_use]
    pub fn go_args(&self, command: &str) -> Vec<String> {
        let (data, parity) = self.fec.theirs.unwrap_or((0, 0));
        let mut args = vec![command.to_owned()];
        let mut option = |name: &str, value: &dyn fmt::Display| {
            args.extend([format!("--{name}"), value.to_string()]);
        };
        option("crypt", &self.cipher);
        option("key", &PASSWORD);
        option("mode", &"fast2");
        option("datashard", &data);
        option("parityshard", &parity);
        args
    }

    /// The path between the two; `None` if they talk directly.
    #[must_use]
    pub fn relay(&self, seed: u64) -> Option<RelayConfig> {
        (self.loss > 0).then(|| RelayConfig {
            loss: f64::from(self.loss) / 100.0,
            delay: DELAY,
            seed,
            ..RelayConfig::default()
        })
    }

    /// This case's luck, which does not depend on what other cases are run.
    #[must_use]
    pub fn seed(&self, seed: u64) -> u64 {
        // FNV-1a, begun elsewhere for each seed.
        let begin = 0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(32);
        self.to_string().bytes().fold(begin, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

/// All cases: every cipher with every FEC setting for echo, a few setups for gRPC; both directions,
/// with and without loss.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for cipher in CIPHERS {
        for direction in DIRECTIONS {
            for fec in FECS {
                cases.extend(with_and_without_loss(Payload::Echo, direction, cipher, fec));
            }
        }
    }
    for (cipher, fec) in GRPC_SETUPS {
        for direction in DIRECTIONS {
            for kind in CALL_KINDS {
                let payload = Payload::Grpc(kind);
                cases.extend(with_and_without_loss(payload, direction, cipher, fec));
            }
        }
    }
    cases
}

/// A subset for a quick test, of which every cipher, FEC setting, direction, loss and kind of call
/// is part.
#[must_use]
pub fn covering() -> Vec<Case> {
    let echo = CIPHERS.into_iter().enumerate().map(|(index, cipher)| Case {
        payload: Payload::Echo,
        // Every FEC setting meets both directions: they go round at different speeds.
        direction: DIRECTIONS[index / FECS.len() % 2],
        cipher,
        fec: FECS[index % FECS.len()],
        loss: LOSSES[(index + index / FECS.len()) % 2],
    });
    let calls = DIRECTIONS
        .into_iter()
        .flat_map(|direction| CALL_KINDS.map(|kind| (direction, kind)));
    let grpc = calls.enumerate().map(|(index, (direction, kind))| {
        let (cipher, fec) = GRPC_SETUPS[index % GRPC_SETUPS.len()];
        Case {
            payload: Payload::Grpc(kind),
            direction,
            cipher,
            fec,
            loss: LOSSES[(index / 2 + 1) % 2],
        }
    });
    echo.chain(grpc).collect()
}

fn with_and_without_loss(
    payload: Payload,
    direction: Direction,
    cipher: &'static str,
    fec: Fec,
) -> [Case; 2] {
    LOSSES.map(|loss| Case {
        payload,
        direction,
        cipher,
        fec,
        loss,
    })
}

/// Bytes that an echo case sends, and reads back.
pub const ECHO_BYTES: usize = 256 << 10;

/// Every cipher that both sides have.
pub const CIPHERS: [&str; 10] = [
    "null",
    "none",
    "aes",
    "aes-128",
    "aes-192",
    "salsa20",
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-poly1305",
];

/// FEC off, long and short groups, and different ones on each side.
pub const FECS: [Fec; 4] = [
    Fec::both(None),
    Fec::both(Some((10, 3))),
    Fec::both(Some((2, 1))),
    Fec {
        ours: Some((10, 3)),
        theirs: Some((3, 1)),
    },
];

/// Both.
pub const DIRECTIONS: [Direction; 2] = [Direction::RustToGo, Direction::GoToRust];

/// All four.
pub const CALL_KINDS: [CallKind; 4] = [
    CallKind::Unary,
    CallKind::ServerStream,
    CallKind::ClientStream,
    CallKind::Bidi,
];

const LOSSES: [u8; 2] = [0, 10];

/// One of each layout of packets: AEAD with FEC, checksum, bare.
const GRPC_SETUPS: [(&str, Fec); 3] = [
    ("aes-128-gcm", Fec::both(Some((10, 3)))),
    ("aes", Fec::both(None)),
    ("null", Fec::both(None)),
];

const PASSWORD: &str = "interop";

/// Of the relay, each way. Long enough that a window of data is under way, short enough for a
/// quick run.
const DELAY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_name_is_part_of_another() {
        let names: Vec<String> = all().iter().map(ToString::to_string).collect();
        for name in &names {
            let found = names.iter().filter(|other| other.contains(name.as_str()));
            assert_eq!(found.count(), 1, "{name}");
        }
    }

    #[test]
    fn matrix_has_every_combination_once() {
        let cases: HashSet<Case> = all().into_iter().collect();
        assert_eq!(cases.len(), all().len());
        assert_eq!(cases.len(), 10 * 4 * 2 * 2 + 3 * 4 * 2 * 2);
        assert!(covering().iter().all(|case| cases.contains(case)));
    }

    #[test]
    fn subset_covers_everything() {
        let cases = covering();
        let echo: Vec<&Case> = cases
            .iter()
            .filter(|case| case.payload == Payload::Echo)
            .collect();
        for cipher in CIPHERS {
            assert!(echo.iter().any(|case| case.cipher == cipher), "{cipher}");
        }
        for fec in FECS {
            for direction in DIRECTIONS {
                let covered = |case: &&Case| case.fec == fec && case.direction == direction;
                assert!(echo.iter().any(covered), "{fec}, {direction}");
            }
            let lossy = |case: &&Case| case.fec == fec && case.loss > 0;
            assert!(echo.iter().any(lossy), "{fec} with loss");
        }
        for direction in DIRECTIONS {
            for kind in CALL_KINDS {
                let covered = |case: &Case| {
                    case.direction == direction && case.payload == Payload::Grpc(kind)
                };
                assert!(cases.iter().any(covered), "{direction}, {kind:?}");
            }
        }
    }

    #[test]
    fn luck_differs_by_case_and_seed() {
        let seeds = all()
            .into_iter()
            .flat_map(|case| [case.seed(1), case.seed(2)]);
        assert_eq!(seeds.collect::<HashSet<_>>().len(), 2 * all().len());
    }
}
