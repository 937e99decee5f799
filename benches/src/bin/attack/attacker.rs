//! The attacker: a thread that sends hostile packets at a fixed rate.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use kcp_transport::testing::Rng;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};

use crate::AnyError;
use crate::raw::Raw;
use crate::tap::Recorded;

/// The attacker's kind of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Garbage, forged first packets, stray segments, replays and reflections.
    Mixed,
    /// Forged ICMP messages that the port of the server or of a client is unreachable.
    Refusals,
    /// First packets from port 0.
    PortZero,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::Refusals => "forged refusals",
            Self::PortZero => "source port 0",
        }
    }
}

/// Parameters of an attack.
pub(crate) struct Plan {
    pub(crate) addr: SocketAddr,
    /// Packets per second.
    pub(crate) rate: u64,
    pub(crate) kind: Kind,
    /// Number of forged first packets to send instead of `kind`; `None` sends `kind` without limit.
    pub(crate) opens: Option<u64>,
    /// Sealed packets recorded on the path: without the key the attacker cannot make any, but can send them again.
    pub(crate) recorded: Option<Arc<Recorded>>,
}

/// Sends until the number of packets in `opens` is reached or `stop` is set. Returns the elapsed seconds.
pub(crate) fn attack(plan: Plan, sent: &AtomicU64, stop: &AtomicBool) -> Result<f64, AnyError> {
    let (rate, opens) = (plan.rate, plan.opens);
    let raw = match plan.kind {
        Kind::Mixed => None,
        Kind::Refusals | Kind::PortZero => Some(Raw::new(plan.addr)?),
    };
    let mut attacker = Attacker::new(plan.addr, plan.recorded)?;
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        // Truncated to the number of packets due by now.
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

/// The attacker's socket and state.
struct Attacker {
    socket: UdpSocket,
    state: UdpSocketState,
    addr: SocketAddr,
    rng: Rng,
    /// The last packet received from the server, to be reflected.
    received: Vec<u8>,
    recorded: Option<Arc<Recorded>>,
}

impl Attacker {
    fn new(addr: SocketAddr, recorded: Option<Arc<Recorded>>) -> Result<Self, AnyError> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket,
            state,
            addr,
            rng: Rng::new(1),
            received: Vec::new(),
            recorded,
        })
    }

    /// Sends a packet of a random kind. A server with a cipher drops forged ones as not authentic.
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

    /// Replays a recorded packet to the server. Without recorded packets, sends the same packet from the same
    /// source each time.
    fn replay(&mut self) -> Result<(), AnyError> {
        let recorded = self.recorded.as_ref();
        if let Some(sealed) = recorded.and_then(|it| it.to_server.any(&mut self.rng)) {
            return self.send(&sealed);
        }
        let mut replayed = segment(7, PUSH, 0, 0, &[2; 500]);
        replayed[8] = 1;
        self.send_from(Ipv4Addr::new(127, 1, 1, 1), &replayed)
    }

    /// Sends a packet of the server back to it.
    fn reflect(&mut self) -> Result<(), AnyError> {
        let recorded = self.recorded.as_ref();
        if let Some(sealed) = recorded.and_then(|it| it.to_clients.any(&mut self.rng)) {
            return self.send(&sealed);
        }
        let mut buffer = [0; 2000];
        if let Ok(len) = self.socket.recv(&mut buffer) {
            self.received = buffer[..len].to_vec();
        }
        let received = std::mem::take(&mut self.received);
        let sent = self.send(if received.is_empty() {
            &[0; 24]
        } else {
            &received
        });
        self.received = received;
        sent
    }

    /// Sends a first packet like those of our clients or kcp-go's.
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
        // Not in 127.0.0.0/24, where the legitimate clients are.
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
            // The server's receive buffer or this socket's send buffer is full.
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
