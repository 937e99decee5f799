//! What carries datagrams: UDP sockets, or anything of the user's.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use crate::packet::SegmentRun;

/// Carries datagrams, as a UDP socket does: any may be lost, doubled or late.
///
/// Implement it to run KCP over something else than UDP, or over UDP in a special way, and give it
/// to [`KcpListener::from_transport`](crate::net::KcpListener::from_transport) or
/// [`KcpStream::connect_transport`](crate::net::KcpStream::connect_transport). The driver of the
/// transport's sessions makes one call for each batch, never while it holds a lock; streams send
/// from their own tasks too, so calls of [`Transport::try_send`] may overlap.
///
/// # Errors
///
/// - [`io::ErrorKind::WouldBlock`]: nothing was done. The matching `poll_*_ready` must return
///   [`Poll::Pending`] and wake its task once another attempt is worth it.
/// - A closed transport ends all its sessions. It says so by [`io::ErrorKind::BrokenPipe`] from any
///   method, by the system's errors for a descriptor that is no open socket, or by any error of
///   [`Transport::poll_recv_ready`] and [`Transport::poll_send_ready`].
/// - [`io::ErrorKind::ConnectionRefused`]: a hint that nobody listens at the peer. It ends
///   connections that never received anything, and is ignored by others, since anyone can forge it.
/// - Any other error is a lost datagram. Receiving pauses when such errors come one after the other.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// The address of this side, which streams and listeners report as theirs.
    ///
    /// # Errors
    ///
    /// If there is none, or none any more.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Ready when [`Transport::try_recv`] is worth a call. Only the driver waits for it, so the last
    /// waker is the one to keep.
    ///
    /// # Errors
    ///
    /// The transport is closed.
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when [`Transport::try_send`] is worth a call. Only the driver waits for it, so the last
    /// waker is the one to keep.
    ///
    /// # Errors
    ///
    /// The transport is closed.
    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Receives datagrams that are there and returns how many of the buffers hold something.
    ///
    /// Each buffer takes one datagram, or several of one size side by side, the last of which may be
    /// shorter, and is described by the entry of `received` at its index. Both slices have the same
    /// length, at least 1; buffers have room for 65 536 bytes.
    ///
    /// # Errors
    ///
    /// As the trait's.
    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize>;

    /// Sends all datagrams of a run, at most [`Transport::max_run`], or none.
    ///
    /// # Errors
    ///
    /// As the trait's.
    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()>;

    /// Most datagrams in one call of [`Transport::try_send`]; 1 unless overridden.
    fn max_run(&self) -> usize {
        1
    }
}

/// Whether an error says that the transport is closed. All others pass.
pub(in crate::net) fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
        || error
            .raw_os_error()
            .is_some_and(|code| NO_SOCKET.contains(&code))
}

/// Where datagrams go or come from, and which of our addresses they use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Our address that the peer knows: a host with several must answer from the same. `None`
    /// leaves the choice to the system.
    pub local: Option<IpAddr>,
}

/// What a receive buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where the datagrams came from, and which of our addresses they were sent to, if known.
    pub path: Path,
    /// Bytes of all datagrams in the buffer.
    pub len: usize,
    /// Bytes of each datagram but the last, which may be shorter; `len` for a single one.
    pub stride: usize,
}

impl Default for Received {
    /// Nothing, from nowhere.
    fn default() -> Self {
        Self {
            path: Path {
                peer: (Ipv6Addr::UNSPECIFIED, 0).into(),
                local: None,
            },
            len: 0,
            stride: 0,
        }
    }
}

/// Memory for one receive call. The pages a call does not touch cost nothing.
#[derive(Debug)]
pub(in crate::net) struct ReceiveBuffers {
    storage: Vec<u8>,
    received: Vec<Received>,
}

impl ReceiveBuffers {
    /// No memory yet; room for `count` datagrams, or as many runs of coalesced ones, when used.
    pub(in crate::net) fn new(count: usize) -> Self {
        Self {
            storage: Vec::new(),
            received: vec![Received::default(); count.min(MAX_BUFFERS)],
        }
    }

    /// Gives the memory back until the next use.
    pub(in crate::net) fn release(&mut self) {
        self.storage = Vec::new();
    }

    /// Receives what is there; returns how many of the buffers hold something.
    pub(in crate::net) fn receive(&mut self, transport: &dyn Transport) -> io::Result<usize> {
        let count = self.received.len();
        if self.storage.is_empty() {
            self.storage = vec![0; count * BUFFER_LEN];
        }
        let mut chunks = self.storage.chunks_exact_mut(BUFFER_LEN);
        let mut slices: [IoSliceMut<'_>; MAX_BUFFERS] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let filled = transport.try_recv(&mut slices[..count], &mut self.received)?;
        Ok(filled.min(count))
    }

    /// The bytes and description of the `index`th filled buffer.
    pub(in crate::net) fn get_mut(&mut self, index: usize) -> (&mut [u8], Received) {
        let received = self.received[index];
        let start = index * BUFFER_LEN;
        let len = received.len.min(BUFFER_LEN);
        (&mut self.storage[start..start + len], received)
    }
}

/// A coalesced run of datagrams is at most one maximal IP packet.
const BUFFER_LEN: usize = 1 << 16;

/// Most buffers in one receive call.
pub(in crate::net) const MAX_BUFFERS: usize = 32;

/// The descriptor is closed (EBADF), or names something else by now (ENOTSOCK).
#[cfg(windows)]
const NO_SOCKET: [i32; 2] = [10_009, 10_038];
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_SOCKET: [i32; 2] = [9, 88];
#[cfg(not(any(windows, target_os = "linux", target_os = "android")))]
const NO_SOCKET: [i32; 2] = [9, 38];
