//! Packets that only a raw socket sends, which takes privilege: reports of closed ports, and datagrams
//! from port 0.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use kcp_transport::testing::Rng;
use socket2::{Domain, Protocol, Socket, Type};

use crate::AnyError;

/// Sends packets of a host that does not exist to a server and to its clients on this host.
pub(crate) struct Raw {
    icmp: Socket,
    udp: Socket,
    server: SocketAddrV4,
    ports: (u16, u16),
}

impl Raw {
    pub(crate) fn new(server: SocketAddr) -> Result<Self, AnyError> {
        let SocketAddr::V4(server) = server else {
            return Err("the server has no IPv4 address".into());
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

    /// An ICMP "port unreachable" about a datagram between the server and some client port, to either
    /// of them. The ports of the honest clients are unknown, so all are tried.
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

    /// A first packet from port 0, which no answer can reach.
    pub(crate) fn send_from_port_0(&self, payload: &[u8]) -> Result<(), AnyError> {
        let header = udp_header(0, self.server.port(), payload.len());
        send(&self.udp, &[&header, payload].concat(), *self.server.ip())
    }
}

/// A full buffer loses the packet.
fn send(socket: &Socket, packet: &[u8], to: Ipv4Addr) -> Result<(), AnyError> {
    match socket.send_to(packet, &SocketAddr::from((to, 0)).into()) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
        other => Ok(other.map(|_| ())?),
    }
}

/// The ports from which clients of this host connect.
fn client_ports() -> (u16, u16) {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.unwrap_or_default();
    let mut numbers = range.split_whitespace().map_while(|it| it.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(first), Some(last)) if first <= last => (first, last),
        _ => (32_768, 60_999),
    }
}

/// Of a UDP packet of 128 bytes.
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

/// Without a checksum, which IPv4 permits.
fn udp_header(from: u16, to: u16, payload: usize) -> [u8; 8] {
    let len = (payload + 8) as u16;
    let [a, b] = from.to_be_bytes();
    let [c, d] = to.to_be_bytes();
    let [e, f] = len.to_be_bytes();
    [a, b, c, d, e, f, 0, 0]
}

/// RFC 1071.
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
