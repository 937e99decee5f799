//! What can be run. A case is data; [`run`](crate::run) runs it.

mod capability;
mod matrix;
mod name;
mod options;
mod random;

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use kcp_examples::relay::RelayConfig;
use kcp_transport::config::{Config, Extensions, Mode, MtuDiscovery, Preset};
use kcp_transport::crypto::{Overhead, Security};
use kcp_transport::error::ConfigError;
use kcp_transport::fec::FecRatio;
use kcp_transport::packet::PacketLayout;

use options::PAUSE;

pub use crate::peer::Peer;
pub use matrix::{
    CALL_KINDS, DIRECTIONS, FECS, PRESETS, all, covering, echo_matrix, filled_windows, grpc_matrix,
    options, ours, parameters, parameters_of_others, plain_peers, version_5_4, version_5_7,
};
pub use name::NameError;
pub use options::Options;
pub use random::random;

/// The side that opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Our client, the peer's server.
    RustToPeer,
    /// The peer's client, our server.
    PeerToRust,
}

/// What runs over the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Bytes to the server and back.
    Echo(Shape),
    /// gRPC calls of one kind.
    Grpc(CallKind),
}

/// What an echo client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Whether the boundaries of writes are kept, on both sides.
    pub mode: Mode,
    /// Bytes in all.
    pub bytes: u32,
    /// Bytes of one write, at least 1.
    pub write: u32,
    /// Whether the peer sends empty messages in between. We never do.
    pub empty: bool,
}

impl Shape {
    /// 256 KiB as a stream. The writes divide neither a segment nor what is sent in all.
    pub const STREAM: Self = Self {
        mode: Mode::Stream,
        bytes: 256 << 10,
        write: 5000,
        empty: false,
    };
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
    /// Of what the peer sends.
    pub theirs: Option<(usize, usize)>,
}

impl Fec {
    /// None.
    pub const OFF: Self = Self::both(None);

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

/// Send and receive window of each side, in segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Both of ours.
    pub ours: u16,
    /// Both of the peer's.
    pub theirs: u16,
}

/// What becomes of datagrams on the way, in percent, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// That are lost.
    pub loss: u8,
    /// That later ones overtake.
    pub reorder: u8,
    /// That arrive twice.
    pub duplicate: u8,
}

/// The addresses used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// 127.0.0.1 on both sides.
    V4,
    /// ::1 on both sides.
    V6,
    /// The server listens on ::, the client comes from 127.0.0.1.
    Dual,
}

/// One thing to try.
///
/// Its name, as displayed, contains all of it: parsing gives the same case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// The other implementation.
    pub peer: Peer,
    /// The side that opens the connection.
    pub direction: Direction,
    /// What runs over it.
    pub payload: Payload,
    /// The cipher, by kcptun's name.
    pub cipher: &'static str,
    /// FEC of each side.
    pub fec: Fec,
    /// Timing of both sides.
    pub preset: Preset,
    /// Largest UDP payload of both sides.
    pub mtu: u16,
    /// Windows of each side.
    pub windows: Windows,
    /// What the path does.
    pub trouble: Trouble,
    /// The addresses used.
    pub network: Network,
    /// Options that not all peers have.
    pub options: Options,
}

impl Case {
    /// An echo case with the default options: no cipher, no FEC, no trouble.
    #[must_use]
    pub const fn new(peer: Peer, direction: Direction) -> Self {
        Self {
            peer,
            direction,
            payload: Payload::Echo(Shape::STREAM),
            cipher: "null",
            fec: Fec::OFF,
            preset: Preset::Fast2,
            mtu: 1400,
            windows: Windows {
                ours: 1024,
                theirs: 1024,
            },
            trouble: Trouble {
                loss: 0,
                reorder: 0,
                duplicate: 0,
            },
            network: Network::V4,
            options: Options::DEFAULT,
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
    /// If one is out of range.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let ratio = self.fec.ours;
        let ratio = ratio.map(|(data, parity)| FecRatio::new(data, parity));
        let config = Config::builder()
            .preset(self.preset)
            .mtu(self.mtu.into())
            .windows(self.windows.ours.into(), self.windows.ours.into())
            .mode(self.mode())
            .mtu_discovery(self.mtu_discovery())
            .fec(ratio.transpose()?);
        self.options.apply(config).build()
    }

    /// Messages keep the size of their fragments where the peer's window is below the 32 segments
    /// that kcp-go advertises first: a message that was cut into more fragments than the window
    /// that its program sets afterwards is never delivered.
    fn mtu_discovery(&self) -> MtuDiscovery {
        match self.mode() {
            Mode::Message if self.windows.theirs < INITIAL_WINDOW => MtuDiscovery::Off,
            _ => MtuDiscovery::On,
        }
    }

    /// How long nothing is written once half of the bytes are.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.options.fec_then.map_or(Duration::ZERO, |_| PAUSE)
    }

    /// Whether both sides have extensions, and packets have room for them.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        let roomy = || {
            self.layout()
                .is_ok_and(|it| it.mss() >= Extensions::MIN_ROOM)
        };
        self.peer == Peer::Ours && self.options.extensions != Extensions::Off && roomy()
    }

    /// Whether boundaries are kept.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self.payload {
            Payload::Echo(shape) => shape.mode,
            Payload::Grpc(_) => Mode::Stream,
        }
    }

    /// The layout of our packets.
    ///
    /// # Errors
    ///
    /// If the options are not in order.
    pub fn layout(&self) -> Result<PacketLayout, ConfigError> {
        self.config()?.layout(self.overhead())
    }

    /// What the cipher adds to a packet; nothing if we do not have it.
    #[must_use]
    pub fn overhead(&self) -> Overhead {
        // Deriving a key is slow on purpose, and this is called thousands of times.
        static OVERHEADS: LazyLock<HashMap<&str, Overhead>> = LazyLock::new(|| {
            let names = Security::NAMES.iter().copied();
            let known = names.filter_map(|cipher| {
                let case = Case {
                    cipher,
                    ..Case::new(Peer::KcpGo, Direction::RustToPeer)
                };
                Some((cipher, case.security().ok()?.overhead()))
            });
            known.collect()
        });
        let none = Overhead { front: 0, back: 0 };
        OVERHEADS.get(self.cipher).copied().unwrap_or(none)
    }

    /// The peer's command and the options that both sides share.
    #[must_use]
    pub fn peer_args(&self, command: &str) -> Vec<String> {
        let (data, parity) = self.fec.theirs.unwrap_or((0, 0));
        let mut args = self.peer.subcommand();
        args.push(command.to_owned());
        let mut option = |name: &str, value: &dyn fmt::Display| {
            args.push(format!("--{name}={value}"));
        };
        option("crypt", &self.cipher);
        option("key", &PASSWORD);
        option("mode", &preset_name(self.preset));
        option("mtu", &self.mtu);
        option("sndwnd", &self.windows.theirs);
        option("rcvwnd", &self.windows.theirs);
        option("datashard", &data);
        option("parityshard", &parity);
        option("stream", &(self.mode() == Mode::Stream));
        if let Payload::Echo(Shape { empty: true, .. }) = self.payload {
            option("empty", &true);
        }
        if !self.peer.is_native() {
            self.options.flags(&mut option);
        }
        if self.peer.takes_go_flags() {
            self.kcp_go_flags(&mut option);
        }
        args
    }

    fn kcp_go_flags(&self, option: &mut impl FnMut(&str, &dyn fmt::Display)) {
        let Options { dscp, fec_then, .. } = self.options;
        if dscp != 0 {
            option("dscp", &dscp);
            // A relay is a host of its own, which marks nothing.
            if self.relay(0).is_none() {
                option("want-dscp", &dscp);
            }
        }
        if let (Some((data, parity)), Payload::Echo(shape)) = (fec_then, self.payload) {
            option("then-datashard", &data);
            option("then-parityshard", &parity);
            option("then-after", &(shape.bytes / 2));
        }
    }

    /// The path between the two; `None` if they talk directly.
    #[must_use]
    pub fn relay(&self, seed: u64) -> Option<RelayConfig> {
        let part = |percent: u8| f64::from(percent) / 100.0;
        (self.trouble != Trouble::default()).then(|| RelayConfig {
            loss: part(self.trouble.loss),
            reorder: part(self.trouble.reorder),
            duplicate: part(self.trouble.duplicate),
            delay: DELAY,
            seed,
            ..RelayConfig::default()
        })
    }

    /// The seed of this case, which does not depend on the other cases of a run.
    #[must_use]
    pub fn seed(&self, seed: u64) -> u64 {
        // FNV-1a, begun elsewhere for each seed.
        let begin = 0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(32);
        self.to_string().bytes().fold(begin, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

const fn preset_name(preset: Preset) -> &'static str {
    match preset {
        Preset::Normal => "normal",
        Preset::Fast => "fast",
        Preset::Fast3 => "fast3",
        // The enumeration may grow; what it has today is all that kcptun names.
        _ => "fast2",
    }
}

/// kcp-go v5 kcp.go, NewKCP: a session's receive window until its program sets another.
const INITIAL_WINDOW: u16 = 32;

const PASSWORD: &str = "interop";

/// Of the relay, each way. Long enough that a window of data is under way, short enough for a
/// quick run.
const DELAY: Duration = Duration::from_millis(5);
