//! The attacker.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use kcp_transport::testing::Rng;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

use crate::AnyError;
use crate::raw::Raw;
use crate::tap::Overheard;

/// What the attacker sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Garbage, forged openings, strays, replays and reflections.
    Mixed,
    /// Forged reports that the ports of the server and of its clients are closed (ICMP).
    Refusals,
    /// First packets from port 0.
    PortZero,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Refusals => "forged refusals",
            Self::PortZero => "from port 0",
        }
    }
}

/// What to send, where, and how fast.
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    /// Packets in a second.
    pub(crate) rate: u64,
    pub(crate) kind: Kind,
    /// So many forged openings and nothing else.
    pub(crate) opens: Option<u64>,
    /// What is sealed cannot be made, only sent again.
    pub(crate) overheard: Option<Arc<Overheard>>,
}

/// Sends until all `opens` of the plan are sent or `stop` is set; returns the seconds it took.
pub(crate) fn attack(plan: Plan, sent: &AtomicU64, stop: &AtomicBool) -> Result<f64, AnyError> {
    let (rate, opens) = (plan.rate, plan.opens);
    let raw = match plan.kind {
        Kind::Mixed => None,
        Kind::Refusals | Kind::PortZero => Some(Raw::new(plan.addr)?),
    };
    let mut attacker = Attacker::new(plan.addr, plan.overheard)?;
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        // Whole packets of the time that has passed.
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        let due = due.min(opens.unwrap_or(u64::MAX));
        let done = sent.load(Ordering::Relaxed);
        for _ in done..due {
            match (opens, &raw) {
                (Some(_), _) => attacker.forge_opening()?,
                (None, None) => attacker.send_any()?,
                (None, Some(raw)) if plan.kind == Kind::Refusals => {
                    raw.forge_refusal(&mut attacker.rng)?;
                }
                (None, Some(raw)) => raw.send_from_port_0(&attacker.opening())?,
            }
        }
        sent.store(done.max(due), Ordering::Relaxed);
        if opens == Some(due) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(start.elapsed().as_secs_f64())
}

/// A socket, and what to send from it.
struct Attacker {
    socket: UdpSocket,
    state: UdpSocketState,
    addr: SocketAddr,
    rng: Rng,
    /// Something the server has sent, to be sent back.
    heard: Vec<u8>,
    overheard: Option<Arc<Overheard>>,
}

impl Attacker {
    fn new(addr: SocketAddr, overheard: Option<Arc<Overheard>>) -> Result<Self, AnyError> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket,
            state,
            addr,
            rng: Rng::new(1),
            heard: Vec::new(),
            overheard,
        })
    }

    /// One packet of some kind. Forged ones mean nothing to a server with a cipher.
    fn send_any(&mut self) -> Result<(), AnyError> {
        match self.rng.below(6) {
            0 => {
                let mut garbage = vec![0; 1 + self.rng.below(1400) as usize];
                self.rng.fill(&mut garbage);
                self.send(&garbage)
            }
            1 | 2 => self.forge_opening(),
            // A segment from the middle of an unknown conversation.
            3 => {
                let stray = self.segment(PUSH, 9, 7, &[1; 100]);
                self.send(&stray)
            }
            4 => self.replay(),
            _ => self.reflect(),
        }
    }

    /// A recorded packet to the server, replayed. Without records, the same
    /// packet of the same peer, again and again.
    fn replay(&mut self) -> Result<(), AnyError> {
        let overheard = self.overheard.as_ref();
        if let Some(sealed) = overheard.and_then(|it| it.to_server.any(&mut self.rng)) {
            return self.send(&sealed);
        }
        let mut replayed = segment(7, PUSH, 0, 0, &[2; 500]);
        replayed[8] = 1;
        self.send_from(Ipv4Addr::new(127, 1, 1, 1), &replayed)
    }

    /// A packet that the server has sent, reflected.
    fn reflect(&mut self) -> Result<(), AnyError> {
        let overheard = self.overheard.as_ref();
        if let Some(sealed) = overheard.and_then(|it| it.to_clients.any(&mut self.rng)) {
            return self.send(&sealed);
        }
        let mut buffer = [0; 2000];
        if let Ok(len) = self.socket.recv(&mut buffer) {
            self.heard = buffer[..len].to_vec();
        }
        let heard = std::mem::take(&mut self.heard);
        let sent = self.send(if heard.is_empty() { &[0; 24] } else { &heard });
        self.heard = heard;
        sent
    }

    /// A first packet, as our clients or kcp-go's send them.
    fn forge_opening(&mut self) -> Result<(), AnyError> {
        let opening = self.opening();
        self.send(&opening)
    }

    fn opening(&mut self) -> Vec<u8> {
        if self.rng.chance(0.5) {
            self.segment(WINDOW_PROBE, 0, 0, &[])
        } else {
            self.segment(PUSH, 0, 0, &[3; 100])
        }
    }

    fn segment(&mut self, command: u8, sequence: u32, una: u32, data: &[u8]) -> Vec<u8> {
        segment(self.rng.next_u32(), command, sequence, una, data)
    }

    /// Sends from a forged address.
    fn send(&mut self, datagram: &[u8]) -> Result<(), AnyError> {
        let [a, b, c, _] = self.rng.next_u32().to_be_bytes();
        // The honest clients are in 127.0.0.0/24.
        self.send_from(Ipv4Addr::new(127, a | 1, b, c), datagram)
    }

    fn send_from(&self, source: Ipv4Addr, datagram: &[u8]) -> Result<(), AnyError> {
        let transmit = Transmit {
            destination: self.addr,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: Some(source.into()),
        };
        let sent = self
            .state
            .try_send(UdpSockRef::from(&self.socket), &transmit);
        match sent {
            // The server's buffer is full, or this one's.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            other => Ok(other?),
        }
    }
}

fn segment(conversation: u32, command: u8, sequence: u32, una: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = conversation.to_le_bytes().to_vec();
    bytes.extend([command, 0]);
    bytes.extend(128_u16.to_le_bytes());
    let len = u32::try_from(data.len()).unwrap_or(0);
    for word in [0, sequence, una, len] {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend(data);
    bytes
}

const PUSH: u8 = 81;
const WINDOW_PROBE: u8 = 83;
