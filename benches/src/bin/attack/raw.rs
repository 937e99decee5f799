//! Packets that need a raw socket, and so privilege: ICMP "port unreachable", and datagrams from port 0.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use kcp_transport::testing::Rng;
use socket2::{Domain, Protocol, Socket, Type};

use crate::AnyError;

/// Sends forged packets to a server and its clients on this host.
pub(crate) struct Raw {
    icmp: Socket,
    udp: Socket,
    server: SocketAddrV4,
    ports: (u16, u16),
}

impl Raw {
    pub(crate) fn new(server: SocketAddr) -> Result<Self, AnyError> {
        let SocketAddr::V4(server) = server else {
            return Err("raw packets need a server with an IPv4 address".into());
        };
        let raw = |protocol| Socket::new(Domain::IPV4, Type::RAW, Some(protocol));
        let udp = raw(Protocol::UDP)?;
        let source = Ipv4Addr::new(127, 7, 7, 7);
        udp.bind(&SocketAddr::from((IpAddr::V4(source), 0)).into())?;
        Ok(Self {
            icmp: raw(Protocol::ICMPV4)?,
            udp,
            server,
            ports: client_ports(),
        })
    }

    /// Sends an ICMP "port unreachable" about a datagram between the server and a client port, to one of the two. The
    /// attacker does not know the ports of the legitimate clients, and draws one at random.
    pub(crate) fn forge_refusal(&self, rng: &mut Rng) -> Result<(), AnyError> {
        let (first, last) = self.ports;
        let span = u64::from(last - first) + 1;
        let port = first + rng.below(span) as u16;
        let client = SocketAddrV4::new(*self.server.ip(), port);
        let (from, to) = if rng.chance(0.5) {
            (self.server, client)
        } else {
            (client, self.server)
        };
        let refused = [
            &ip_header(from, to)[..],
            &udp_header(from.port(), to.port(), 100),
        ];
        let mut packet = vec![DESTINATION_UNREACHABLE, PORT_UNREACHABLE, 0, 0, 0, 0, 0, 0];
        packet.extend(refused.concat());
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
        send(&self.icmp, &packet, *from.ip())
    }

    /// Sends a first packet from port 0, to which no answer can be sent.
    pub(crate) fn send_from_port_0(&self, payload: &[u8]) -> Result<(), AnyError> {
        let header = udp_header(0, self.server.port(), payload.len());
        send(&self.udp, &[&header, payload].concat(), *self.server.ip())
    }
}

/// Sends a packet, which is lost if the buffer is full.
fn send(socket: &Socket, packet: &[u8], to: Ipv4Addr) -> Result<(), AnyError> {
    match socket.send_to(packet, &SocketAddr::from((to, 0)).into()) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
        other => Ok(other.map(|_| ())?),
    }
}

/// The first and last ephemeral port of this host.
fn client_ports() -> (u16, u16) {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.unwrap_or_default();
    let mut numbers = range.split_whitespace().map_while(|it| it.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => (32_768, 60_999),
    }
}

/// The IPv4 header of a UDP packet of 128 bytes.
fn ip_header(from: SocketAddrV4, to: SocketAddrV4) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[3] = 128;
    header[8] = 64;
    header[9] = 17;
    header[12..16].copy_from_slice(&from.ip().octets());
    header[16..].copy_from_slice(&to.ip().octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

/// A UDP header without a checksum, which IPv4 permits.
fn udp_header(from: u16, to: u16, payload: usize) -> [u8; 8] {
    let len = (payload + 8) as u16;
    let [a, b] = from.to_be_bytes();
    let [c, d] = to.to_be_bytes();
    let [e, f] = len.to_be_bytes();
    [a, b, c, d, e, f, 0, 0]
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| {
        let low = word.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([word[0], low]))
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

const DESTINATION_UNREACHABLE: u8 = 3;
const PORT_UNREACHABLE: u8 = 3;
