//! Reports of other hosts that no socket listens at a port, and the peer that each is about.
//!
//! A connected socket has one peer, so an error of a call is enough. On any other socket Linux reports
//! such errors only if asked to (`IP_RECVERR`), and then twice: as the error of the next call, whatever
//! that call is for, and in a queue, with the destination of the datagram that was refused.

use std::collections::HashSet;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use nix::cmsg_space;
use nix::libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, sock_extended_err, sockaddr_in6};
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, setsockopt,
};
use tokio::net::UdpSocket;

use crate::net::sync::lock;

/// The peers of a socket that were reported, if the system names them.
#[derive(Debug, Default)]
pub(in crate::net::io) struct Refusals {
    /// `None` for a connected socket.
    peers: Option<Mutex<HashSet<SocketAddr>>>,
}

impl Refusals {
    /// Has the system report refusals on a socket that is not connected.
    pub(in crate::net::io) fn enable(socket: &std::net::UdpSocket, is_v6: bool) -> Self {
        if socket.peer_addr().is_ok() {
            return Self::default();
        }
        // Sockets of both families need it for their v4 peers. Where a system refuses, peers that are
        // gone are noticed by the time-outs.
        let v4 = setsockopt(socket, Ipv4RecvErr, &true);
        if is_v6 {
            let _ = setsockopt(socket, Ipv6RecvErr, &true);
        }
        Self {
            peers: v4.is_ok().then(Mutex::default),
        }
    }

    /// Makes a call of the socket, and again if it failed because of a report about an earlier datagram.
    pub(in crate::net::io) fn retry<T>(
        &self,
        socket: &UdpSocket,
        mut call: impl FnMut() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut result = call();
        for _ in 0..MAX_RETRIES {
            match &result {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock && self.collect(socket) => {
                    result = call();
                }
                _ => break,
            }
        }
        result
    }

    /// Takes the peers that were reported; `None` if the system does not tell which.
    pub(in crate::net::io) fn take(&self) -> Option<HashSet<SocketAddr>> {
        let peers = self.peers.as_ref()?;
        Some(std::mem::take(&mut *lock(peers)))
    }

    /// Empties the queue of the socket. Returns whether there was something in it.
    pub(in crate::net::io) fn collect(&self, socket: &UdpSocket) -> bool {
        let Some(peers) = &self.peers else {
            return false;
        };
        let mut any = false;
        for _ in 0..MAX_REPORTS {
            let Some(refused) = next_report(socket) else {
                break;
            };
            any = true;
            if let Some(peer) = refused {
                let mut peers = lock(peers);
                if peers.len() < MAX_PEERS {
                    peers.insert(peer);
                }
            }
        }
        any
    }
}

/// Takes a report out of the queue: the peer whose port is closed, or `None` inside for any other.
fn next_report(socket: &UdpSocket) -> Option<Option<SocketAddr>> {
    // The beginning of the datagram, which is not used.
    let mut begin = [0; 1];
    let mut buffers = [IoSliceMut::new(&mut begin)];
    // After what receive calls get too: time, local address and traffic class.
    let mut control = cmsg_space!([u64; 32], sock_extended_err, sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let report: RecvMsg<'_, '_, SockaddrStorage> =
        recvmsg(socket.as_raw_fd(), &mut buffers, Some(&mut control), flags).ok()?;
    let mut messages = report.cmsgs().ok()?;
    let refused = messages.any(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            is_refusal(error)
        }
        _ => false,
    });
    Some(report.address.filter(|_| refused).and_then(peer))
}

/// Whether the report is that of another host, about a closed port.
fn is_refusal(error: sock_extended_err) -> bool {
    let errno = i32::try_from(error.ee_errno).unwrap_or(0);
    [SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6].contains(&error.ee_origin)
        && io::Error::from_raw_os_error(errno).kind() == io::ErrorKind::ConnectionRefused
}

fn peer(address: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().copied();
    let v6 = address.as_sockaddr_in6().copied();
    v4.map(|it| SocketAddrV4::from(it).into())
        .or_else(|| v6.map(|it| SocketAddrV6::from(it).into()))
}

/// Calls that are repeated because of reports. A flood of forged ones must not keep a task for ever.
const MAX_RETRIES: usize = 4;

/// Reports that are taken out of the queue at a time.
const MAX_REPORTS: usize = 256;

/// Peers that are remembered until the driver handles them. Those beyond are reported again, after their
/// next datagram.
const MAX_PEERS: usize = 64;
