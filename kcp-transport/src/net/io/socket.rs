//! UDP sockets: creating them, and sending and receiving batches.
#![allow(clippy::disallowed_methods)]

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io::IoSlice;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::MsgHdr;
use socket2::{Domain, Protocol, SockRef, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::config::Config;
use crate::packet::SegmentRun;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::cmsg::ControlMessages;
use super::transport::{Path, Received, Transport};

/// A UDP socket that uses segmentation and receive offload where the system has them.
#[derive(Debug)]
pub(in crate::net) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    /// The configuration sets a code point (DSCP). `quinn_udp` sets the traffic class of each call
    /// itself, so sending bypasses it and keeps that of the socket.
    marked: bool,
    /// Whether segmentation offload works for such calls; cleared when the kernel refuses it.
    offload: AtomicBool,
}

impl Socket {
    /// A socket on a free port for exchanging datagrams with `peer`. Where [`MAY_CONNECT`], it is
    /// connected: the kernel drops datagrams from other addresses and reports a refused port.
    pub(in crate::net) fn connect(peer: SocketAddr, config: &Config) -> io::Result<Self> {
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = open(any, false)?;
        if MAY_CONNECT {
            socket.connect(&peer.into())?;
        }
        Self::adopt(socket.into(), config)
    }

    /// A socket bound to `addr`. A v6 wildcard address also receives from v4 peers where the system
    /// supports it.
    pub(in crate::net) fn bind(addr: SocketAddr, config: &Config) -> io::Result<Self> {
        let socket = open(addr, false)?;
        Self::adopt(socket.into(), config)
    }

    /// One socket for each shard of the listener, all bound to `addr`.
    pub(in crate::net) fn bind_shards(addr: SocketAddr, config: &Config) -> io::Result<Vec<Self>> {
        if config.shards() == 1 {
            return Ok(vec![Self::bind(addr, config)?]);
        }
        let first = Self::adopt(open(addr, true)?.into(), config)?;
        // If the system chose the port, the other sockets must use the same one.
        let addr = first.local_addr()?;
        let others = (1..config.shards()).map(|_| Self::adopt(open(addr, true)?.into(), config));
        std::iter::once(Ok(first)).chain(others).collect()
    }

    /// Takes over a socket that the caller created.
    pub(in crate::net) fn adopt(socket: std::net::UdpSocket, config: &Config) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        if let Some(bytes) = config.socket_buffer() {
            let socket = SockRef::from(&socket);
            // The kernel may grant less; a smaller buffer costs throughput, not correctness.
            let _ = socket.set_recv_buffer_size(bytes);
            let _ = socket.set_send_buffer_size(bytes);
        }
        if config.dscp() != 0 {
            set_dscp(&socket, config.dscp())?;
        }
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let io = UdpSocket::from_std(socket)?;
        Ok(Self {
            io,
            state,
            marked: config.dscp() != 0,
            offload: AtomicBool::new(true),
        })
    }

    /// Sends a run with the socket's own traffic class.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send_marked(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        let mut control = ControlMessages::default();
        if run.datagrams > 1 {
            let size = u16::try_from(run.segment_size).map_err(io::Error::other)?;
            control = control.segment_size(size);
        }
        if let Some(ip) = path.local {
            control = control.source(ip);
        }
        let peer = path.peer.into();
        let contents = [IoSlice::new(run.bytes)];
        let message = MsgHdr::new()
            .with_addr(&peer)
            .with_buffers(&contents)
            .with_control(control.bytes());
        let sent = SockRef::from(&self.io).sendmsg(&message, 0);
        if let Err(error) = &sent
            && run.datagrams > 1
            && matches!(error.raw_os_error(), Some(EIO | EINVAL))
        {
            // The driver of the network card does not support it.
            self.offload.store(false, Ordering::Relaxed);
        }
        sent.map(|_| ())
    }

    /// Sends a datagram with the socket's own traffic class.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send_marked(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        let peer = path.peer.into();
        SockRef::from(&self.io)
            .send_to(run.bytes, &peer)
            .map(|_| ())
    }
}

impl Transport for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_send_ready(cx)
    }

    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); quinn_udp::BATCH_SIZE];
        let most = buffers.len().min(received.len()).min(metas.len());
        let count = self.io.try_io(Interest::READABLE, || {
            let socket = UdpSockRef::from(&self.io);
            self.state
                .recv(socket, &mut buffers[..most], &mut metas[..most])
        })?;
        for (received, meta) in received.iter_mut().zip(&metas[..count]) {
            *received = Received {
                path: Path {
                    peer: meta.addr,
                    local: meta.dst_ip,
                },
                len: meta.len,
                stride: meta.stride,
            };
        }
        Ok(count)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        if self.marked {
            let send = || self.send_marked(path, run);
            return self.io.try_io(Interest::WRITABLE, send);
        }
        let transmit = Transmit {
            destination: path.peer,
            ecn: None,
            contents: run.bytes,
            segment_size: (run.datagrams > 1).then_some(run.segment_size),
            src_ip: path.local,
        };
        self.io.try_io(Interest::WRITABLE, || {
            self.state.try_send(UdpSockRef::from(&self.io), &transmit)
        })
    }

    fn max_run(&self) -> usize {
        if self.marked && !(OFFLOAD_IS_REACHABLE && self.offload.load(Ordering::Relaxed)) {
            1
        } else {
            self.state.max_gso_segments()
        }
    }
}

fn open(addr: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        // Fails only where the system has no dual-stack sockets; the socket is v6-only then.
        let _ = socket.set_only_v6(false);
    }
    if shared {
        share_port(&socket)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Lets other sockets of this user bind the same address; the kernel spreads incoming datagrams
/// over them.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn share_port(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// On other systems the option does not exist, or gives all datagrams to one of the sockets.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn share_port(_: &socket2::Socket) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system does not spread datagrams over sockets of one address",
    ))
}

fn set_dscp(socket: &std::net::UdpSocket, code_point: u8) -> io::Result<()> {
    // The code point is the upper six bits of the traffic class; ECN has the lower two.
    let class = u32::from(code_point) << 2;
    let v6 = socket.local_addr()?.is_ipv6();
    let socket = SockRef::from(socket);
    if v6 {
        set_traffic_class_v6(&socket, class)?;
        // A dual-stack socket needs it for its v4 peers too; a v6-only socket refuses it.
        let _ = socket.set_tos_v4(class);
        Ok(())
    } else {
        socket.set_tos_v4(class)
    }
}

#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
))]
fn set_traffic_class_v6(socket: &SockRef<'_>, class: u32) -> io::Result<()> {
    socket.set_tclass_v6(class)
}

/// `socket2` lacks the option on the other systems, Windows among them.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
)))]
fn set_traffic_class_v6(_: &SockRef<'_>, _: u32) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system does not set the traffic class of IPv6 sockets",
    ))
}

/// Whether a connected socket accepts a destination address in a send call, which all our calls
/// carry.
///
/// macOS, iOS and the BSDs fail such calls with EISCONN. An unconnected socket works on all
/// systems.
const MAY_CONNECT: bool = cfg!(any(target_os = "linux", target_os = "android", windows));

/// Whether segmentation offload can be combined with the traffic class of the socket.
const OFFLOAD_IS_REACHABLE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The error of Linux if the driver of a network card cannot segment.
#[cfg(any(target_os = "linux", target_os = "android"))]
const EIO: i32 = 5;
#[cfg(any(target_os = "linux", target_os = "android"))]
const EINVAL: i32 = 22;
