//! Descriptions of cases. A case is data; [`run`](crate::run) runs it.

mod capability;
mod interop;
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
pub use interop::InteropCase;
pub use matrix::{
    CALL_KINDS, DIRECTIONS, FECS, PRESETS, all, covering, echo_matrix, filled_windows,
    grpc_interop, grpc_matrix, options, ours, parameters, parameters_of_others, plain_peers,
    version_5_4, version_5_7,
};
pub use name::NameError;
pub use options::Options;
pub use random::random;

/// The side that opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Our client connects to the peer's server.
    RustToPeer,
    /// The peer's client connects to our server.
    PeerToRust,
}

/// The traffic on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Payload {
    /// The server echoes the client's bytes.
    Echo(Shape),
    /// gRPC calls of one kind.
    Grpc(CallKind),
    /// One of gRPC's interoperability cases.
    Interop(InteropCase),
}

/// The data of an echo client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Stream or message mode of both sides.
    pub mode: Mode,
    /// Total number of bytes.
    pub bytes: u32,
    /// Bytes per write, at least 1.
    pub write: u32,
    /// Whether the peer sends empty messages in between. Our side never does.
    pub empty: bool,
}

impl Shape {
    /// 256 KiB as a stream. The size of a write divides neither a segment nor the total.
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
    /// The name in the flags of the Go peers.
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

/// FEC ratio of each side: data and parity packets of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fec {
    /// Ratio of our packets.
    pub ours: Option<(usize, usize)>,
    /// Ratio of the peer's packets.
    pub theirs: Option<(usize, usize)>,
}

impl Fec {
    /// No FEC on either side.
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
    /// Our send and receive window.
    pub ours: u16,
    /// The peer's send and receive window.
    pub theirs: u16,
}

/// Impairments of the path in each direction, in percent of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Impairments {
    /// Datagrams lost.
    pub loss: u8,
    /// Datagrams overtaken by later ones.
    pub reorder: u8,
    /// Datagrams that arrive twice.
    pub duplicate: u8,
}

/// The addresses used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// 127.0.0.1 on both sides.
    V4,
    /// ::1 on both sides.
    V6,
    /// The server listens on ::, the client sends from 127.0.0.1.
    Dual,
}

/// One case to run.
///
/// `Display` prints its name, which `FromStr` parses to the same case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// The other implementation.
    pub peer: Peer,
    /// The side that opens the connection.
    pub direction: Direction,
    /// The traffic on the connection.
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
    /// Impairments of the path.
    pub impairments: Impairments,
    /// The addresses used.
    pub network: Network,
    /// Options that not all peers have.
    pub options: Options,
}

impl Case {
    /// An echo case with the default options: no cipher, no FEC, no impairments.
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
            impairments: Impairments {
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
    /// [`ConfigError::UnknownCipher`] if kcp-transport does not have the cipher.
    pub fn security(&self) -> Result<Security, ConfigError> {
        Security::from_password(self.cipher, PASSWORD, Security::KCPTUN_SALT)
    }

    /// Our configuration.
    ///
    /// # Errors
    ///
    /// If an option is out of range.
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

    /// Off for messages if the peer's window is below the 32 segments that kcp-go advertises first.
    ///
    /// A search begins with small fragments. A message that was split into more fragments than the window that
    /// the peer sets afterwards would never be delivered.
    fn mtu_discovery(&self) -> MtuDiscovery {
        match self.mode() {
            Mode::Message if self.windows.theirs < INITIAL_WINDOW => MtuDiscovery::Off,
            _ => MtuDiscovery::On,
        }
    }

    /// Pause in writing after half of the bytes.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.options.fec_then.map_or(Duration::ZERO, |_| PAUSE)
    }

    /// Whether both sides have extensions enabled and packets have room for them.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        let roomy = || {
            self.layout()
                .is_ok_and(|it| it.mss() >= Extensions::MIN_ROOM)
        };
        self.peer == Peer::Ours && self.options.extensions != Extensions::Off && roomy()
    }

    /// Stream or message mode.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match self.payload {
            Payload::Echo(shape) => shape.mode,
            Payload::Grpc(_) | Payload::Interop(_) => Mode::Stream,
        }
    }

    /// The layout of our packets.
    ///
    /// # Errors
    ///
    /// If an option is out of range or the MTU is too small.
    pub fn layout(&self) -> Result<PacketLayout, ConfigError> {
        self.config()?.layout(self.overhead())
    }

    /// Bytes that the cipher adds to a packet; zero if kcp-transport does not have the cipher.
    #[must_use]
    pub fn overhead(&self) -> Overhead {
        // Key derivation is slow by design, and this is called thousands of times.
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

    /// Arguments of the peer's program: the command, and the options of the case.
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
            // A relay sends its datagrams without the DSCP.
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

    /// The relay between client and server; `None` if the path has no impairments.
    #[must_use]
    pub fn relay(&self, seed: u64) -> Option<RelayConfig> {
        let part = |percent: u8| f64::from(percent) / 100.0;
        (self.impairments != Impairments::default()).then(|| RelayConfig {
            loss: part(self.impairments.loss),
            reorder: part(self.impairments.reorder),
            duplicate: part(self.impairments.duplicate),
            delay: DELAY,
            seed,
            ..RelayConfig::default()
        })
    }

    /// The seed of this case, independent of the other cases of a run.
    #[must_use]
    pub fn seed(&self, seed: u64) -> u64 {
        // FNV-1a with an offset basis that depends on the seed.
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
        // kcptun has no names for the other presets, which no case uses.
        _ => "fast2",
    }
}

/// kcp-go v5 kcp.go, NewKCP: the receive window of a session until its program sets another.
const INITIAL_WINDOW: u16 = 32;

const PASSWORD: &str = "interop";

/// One-way delay of the relay: long enough for a window of data in flight, short enough for a quick run.
const DELAY: Duration = Duration::from_millis(5);
