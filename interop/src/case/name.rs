//! Names of cases: formatting and parsing.

use std::fmt;
use std::str::FromStr;

use kcp_transport::config::{Mode, Preset};
use kcp_transport::crypto::Security;

use super::{
    CALL_KINDS, Case, DIRECTIONS, Direction, Fec, InteropCase, Network, Payload, Peer, Shape,
};

/// Error for a text that is not the name of a case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid case name {name:?}: {problem}")]
pub struct NameError {
    name: String,
    problem: String,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RustToPeer => "rust-to-peer",
            Self::PeerToRust => "peer-to-rust",
        })
    }
}

/// The name always contains peer, direction, cipher, FEC and loss, and every other option that is not the default.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.peer, self.direction)?;
        match self.payload {
            Payload::Echo(_) => {}
            Payload::Grpc(kind) => write!(f, "/{}", kind.name())?,
            Payload::Interop(case) => write!(f, "/{}", case.name())?,
        }
        let fec = self.fec.to_string().replace(" against ", "-");
        let fec = fec.replace('/', "-");
        write!(
            f,
            "/{}/fec-{fec}/loss-{}",
            self.cipher, self.impairments.loss
        )?;
        for option in self.non_default() {
            write!(f, "/{option}")?;
        }
        Ok(())
    }
}

impl Case {
    /// Names of the options that are not the default.
    pub(crate) fn non_default(&self) -> Vec<String> {
        let default = Self::new(self.peer, self.direction);
        let mut options = Vec::new();
        if let Payload::Echo(shape) = self.payload {
            if shape.mode == Mode::Message {
                options.push("messages".to_owned());
            }
            if shape.bytes != Shape::STREAM.bytes {
                options.push(format!("bytes-{}", shape.bytes));
            }
            if shape.write != Shape::STREAM.write {
                options.push(format!("write-{}", shape.write));
            }
            if shape.empty {
                options.push("empty".to_owned());
            }
        }
        if self.preset != default.preset {
            options.push(super::preset_name(self.preset).to_owned());
        }
        if self.mtu != default.mtu {
            options.push(format!("mtu-{}", self.mtu));
        }
        if self.windows != default.windows {
            let windows = self.windows;
            options.push(format!("windows-{}-{}", windows.ours, windows.theirs));
        }
        let impairments = self.impairments;
        for (name, percent) in [
            ("reorder", impairments.reorder),
            ("duplicate", impairments.duplicate),
        ] {
            if percent != 0 {
                options.push(format!("{name}-{percent}"));
            }
        }
        match self.network {
            Network::V4 => {}
            Network::V6 => options.push("v6".to_owned()),
            Network::Dual => options.push("dual".to_owned()),
        }
        options.extend(self.options.names());
        options
    }

    fn set(&mut self, option: &str) -> Result<(), String> {
        if self.options.set(option)? {
            return Ok(());
        }
        let (key, value) = option.split_once('-').unwrap_or((option, ""));
        match (key, &mut self.payload) {
            ("messages", Payload::Echo(shape)) => shape.mode = Mode::Message,
            ("bytes", Payload::Echo(shape)) => shape.bytes = number(value)?,
            ("write", Payload::Echo(shape)) => shape.write = number(value)?,
            ("empty", Payload::Echo(shape)) => shape.empty = true,
            ("fec", _) => self.fec = fec(value)?,
            ("mtu", _) => self.mtu = number(value)?,
            ("windows", _) => {
                let both = value.split_once('-').ok_or("windows needs two numbers")?;
                self.windows.ours = number(both.0)?;
                self.windows.theirs = number(both.1)?;
            }
            ("loss", _) => self.impairments.loss = number(value)?,
            ("reorder", _) => self.impairments.reorder = number(value)?,
            ("duplicate", _) => self.impairments.duplicate = number(value)?,
            ("v6", _) => self.network = Network::V6,
            ("dual", _) => self.network = Network::Dual,
            _ => {
                let unknown = |_| format!("unknown option {option:?}");
                self.preset = option.parse::<Preset>().map_err(unknown)?;
            }
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        parse(name).map_err(|problem| NameError {
            name: name.to_owned(),
            problem,
        })
    }
}

fn parse(name: &str) -> Result<Case, String> {
    let mut parts = name.split('/');
    let mut next = |what: &str| parts.next().ok_or(format!("{what} is missing"));
    let peer = next("the peer")?;
    let peer = Peer::ALL.into_iter().find(|known| known.name() == peer);
    let peer = peer.ok_or("the peer is unknown")?;
    let direction = next("the direction")?;
    let direction = DIRECTIONS
        .into_iter()
        .find(|known| known.to_string() == direction);
    let mut case = Case::new(peer, direction.ok_or("the direction is unknown")?);
    if case.peer == Peer::GrpcGo {
        let kind = next("the kind of call")?;
        let kind = CALL_KINDS.into_iter().find(|known| known.name() == kind);
        case.payload = Payload::Grpc(kind.ok_or("the kind of call is unknown")?);
    }
    if case.peer == Peer::GrpcInterop {
        let name = next("the interoperability case")?;
        let known = InteropCase::ALL
            .into_iter()
            .find(|known| known.name() == name);
        case.payload = Payload::Interop(known.ok_or("the interoperability case is unknown")?);
    }
    let cipher = next("the cipher")?;
    let cipher = Security::NAMES.iter().find(|known| **known == cipher);
    case.cipher = cipher.ok_or("the cipher is unknown")?;
    for option in parts {
        case.set(option)?;
    }
    Ok(case)
}

fn fec(text: &str) -> Result<Fec, String> {
    let mut parts = text.split('-').peekable();
    let mut ratio = || match parts.next() {
        Some("off") => Ok(None),
        Some(data) => {
            let parity = parts.next().ok_or("a ratio needs two numbers")?;
            Ok(Some((number(data)?, number(parity)?)))
        }
        None => Err("a ratio is missing".to_owned()),
    };
    let ours = ratio()?;
    let theirs = ratio().unwrap_or(ours);
    Ok(Fec { ours, theirs })
}

pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number or out of range"))
}

#[cfg(test)]
mod tests {
    use super::super::{all, random};
    use super::*;

    #[test]
    fn name_round_trips_for_every_case() {
        let cases = all().into_iter().chain(random(1, 2000));
        for case in cases {
            assert_eq!(case.to_string().parse(), Ok(case), "{case}");
        }
    }

    #[test]
    fn invalid_names_are_refused() {
        for (name, problem) in [
            ("kcp/rust-to-peer", "the peer is unknown"),
            ("kcp-go", "the direction is missing"),
            ("kcp-go/rust-to-peer/rot13", "the cipher is unknown"),
            (
                "kcp-go/rust-to-peer/aes/fec-10",
                "a ratio needs two numbers",
            ),
            (
                "kcp-go/rust-to-peer/aes/mtu-x",
                "\"x\" is not a number or out of range",
            ),
            ("kcp-go/rust-to-peer/aes/turbo", "unknown option \"turbo\""),
            ("grpc-go/rust-to-peer/aes", "the kind of call is unknown"),
        ] {
            let error = name.parse::<Case>().expect_err(name);
            assert_eq!(error.problem, problem, "{name}");
        }
    }
}
