//! A transport that records its datagrams, and captures in the format of pcap.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as FilePath;
use std::sync::Mutex;
use std::task::{Context, Poll};

use kcp_transport::packet::SegmentRun;
use kcp_transport::{Path, Received, Transport};
use tokio::net::UdpSocket;

/// A UDP socket that records what it sends and receives. Some of the datagrams that it sends are recorded and
/// lost, as by a network behind the capture.
#[derive(Debug)]
pub(crate) struct Recorder {
    socket: UdpSocket,
    datagrams: Mutex<Vec<Vec<u8>>>,
    loses: fn(usize) -> bool,
}

impl Recorder {
    pub(crate) async fn new(loses: fn(usize) -> bool) -> io::Result<Self> {
        Ok(Self {
            socket: UdpSocket::bind("127.0.0.1:0").await?,
            datagrams: Mutex::new(Vec::new()),
            loses,
        })
    }

    /// All datagrams so far, of both directions.
    pub(crate) fn datagrams(&self) -> Vec<Vec<u8>> {
        self.datagrams.lock().unwrap().clone()
    }

    fn record(&self, datagram: &[u8]) {
        self.datagrams.lock().unwrap().push(datagram.to_vec());
    }
}

impl Transport for Recorder {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_send_ready(cx)
    }

    fn try_recv(&self, into: &mut [IoSliceMut<'_>], about: &mut [Received]) -> io::Result<usize> {
        let (len, peer) = self.socket.try_recv_from(&mut into[0])?;
        self.record(&into[0][..len]);
        about[0] = Received::new(Path::new(peer), len);
        Ok(1)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        let number = self.datagrams.lock().unwrap().len();
        if !(self.loses)(number) {
            self.socket.try_send_to(run.bytes, path.peer)?;
        }
        self.record(run.bytes);
        Ok(())
    }
}

/// Writes a capture of UDP over IPv4, without link layer. All datagrams go to port [`PORT`].
pub(crate) fn write(file: &FilePath, datagrams: &[Vec<u8>]) {
    // <https://ietf-opsawg-wg.github.io/draft-ietf-opsawg-pcap/draft-ietf-opsawg-pcap.html>
    let mut out = Vec::new();
    let header: [u32; 6] = [0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 0xffff, RAW_IP];
    out.extend(header.iter().flat_map(|word| word.to_le_bytes()));
    for (number, datagram) in (0..).zip(datagrams) {
        let udp_len = u16::try_from(8 + datagram.len()).unwrap();
        let ip_len = 20 + udp_len;
        let record: [u32; 4] = [number, 0, ip_len.into(), ip_len.into()];
        out.extend(record.iter().flat_map(|word| word.to_le_bytes()));
        out.extend([0x45, 0]);
        out.extend(ip_len.to_be_bytes());
        // Not fragmented, a time to live of 64, UDP, no checksum.
        out.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        out.extend(Ipv4Addr::LOCALHOST.octets());
        out.extend(Ipv4Addr::LOCALHOST.octets());
        for field in [40_000, PORT, udp_len, 0] {
            out.extend(field.to_be_bytes());
        }
        out.extend(datagram);
    }
    std::fs::write(file, out).unwrap();
}

/// One that Wireshark has no dissector for.
pub(crate) const PORT: u16 = 40_001;

const RAW_IP: u32 = 101;
