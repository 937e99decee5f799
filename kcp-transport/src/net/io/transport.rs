//! Carriers of datagrams: UDP sockets, or an implementation of the user.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use crate::packet::SegmentRun;

/// Sends and receives datagrams, as a UDP socket does: any of them may be lost, duplicated or
/// delayed.
///
/// Implement it to run KCP over something other than UDP, or over UDP with special handling, and
/// pass it to [`ListenerBuilder::on_transport`](crate::net::ListenerBuilder::on_transport) or
/// [`ClientBuilder::transport`](crate::net::ClientBuilder::transport). The driver makes one
/// call for each batch and holds no lock during a call. Streams also send from their own tasks, so
/// calls of [`Transport::try_send`] may overlap.
///
/// # Errors
///
/// - [`io::ErrorKind::WouldBlock`]: nothing was done. The matching `poll_*_ready` must return
///   [`Poll::Pending`] and wake its task once another attempt is worth it.
/// - A closed transport ends all its sessions. A transport reports that it is closed by
///   [`io::ErrorKind::BrokenPipe`] from any method, by the errors of the system for a descriptor
///   that is no open socket, or by any error of [`Transport::poll_recv_ready`] and
///   [`Transport::poll_send_ready`].
/// - [`io::ErrorKind::ConnectionRefused`]: a hint that the port of the peer is closed, which an
///   attacker can forge. It ends connections that have never received anything. Other connections
///   probe their peer, and end if the hint is repeated for a second and the peer stays silent.
/// - The error of the system for a datagram that is too long (`EMSGSIZE`): its size is not used, and
///   smaller datagrams are sent.
/// - [`io::ErrorKind::NetworkUnreachable`] and its like from [`Transport::try_send`]: ends a
///   connection whose first datagrams they are.
/// - Any other error is a lost datagram. After several receive errors in a row, receiving pauses.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// The local address, as streams and listeners report it.
    ///
    /// # Errors
    ///
    /// The transport has no address, or has lost it.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Ready when a call of [`Transport::try_recv`] may succeed. Only the driver polls this, so
    /// keeping the last waker is enough.
    ///
    /// # Errors
    ///
    /// The transport is closed.
    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ready when a call of [`Transport::try_send`] may succeed. Only the driver polls this, so
    /// keeping the last waker is enough.
    ///
    /// # Errors
    ///
    /// The transport is closed.
    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Receives available datagrams and returns the number of buffers filled.
    ///
    /// Each buffer takes one datagram, or several datagrams of equal size one after the other, of
    /// which the last may be shorter. The entry of `received` with the same index describes it.
    /// Both slices have the same length, at least 1; each buffer has room for 65 536 bytes.
    /// Datagrams from an address that cannot be answered are dropped and counted: port 0, and an
    /// unspecified, multicast or broadcast address.
    ///
    /// # Errors
    ///
    /// Those of the trait.
    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize>;

    /// Sends all datagrams of a run, or none. A run has at most [`Transport::max_run`] datagrams.
    ///
    /// # Errors
    ///
    /// Those of the trait.
    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()>;

    /// Takes the peers whose hosts have reported, since the last call, that no socket listens at their
    /// port. The reports have the effect of [`io::ErrorKind::ConnectionRefused`] on the connections
    /// with these peers. Attackers can forge them.
    ///
    /// `None`, which is the default, if the transport has one peer, or if it cannot tell which
    /// peer a report is about: it returns the error then.
    fn take_refusals(&self) -> Option<HashSet<SocketAddr>> {
        None
    }

    /// The largest number of datagrams in one call of [`Transport::try_send`]; 1 by default.
    fn max_run(&self) -> usize {
        1
    }
}

/// Whether an error means that the transport is closed. All other errors are temporary.
pub(in crate::net) fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
        || error
            .raw_os_error()
            .is_some_and(|code| NO_SOCKET.contains(&code))
}

/// Whether a send error means that the local address of the socket is gone, or that there is no
/// route from it. A single datagram may get such an error for other reasons.
pub(in crate::net) fn is_unroutable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::InvalidInput
    )
}

/// Whether a send error means that the datagram is longer than the system sends there.
pub(in crate::net) fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(TOO_LONG)
}

/// EMSGSIZE.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TOO_LONG: i32 = 90;
/// WSAEMSGSIZE.
#[cfg(windows)]
const TOO_LONG: i32 = 10040;
/// EMSGSIZE of the BSDs and macOS.
#[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
const TOO_LONG: i32 = 40;

/// The two addresses between which datagrams travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Path {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The local address that the peer knows: a host with several addresses must answer from the
    /// same one. `None` leaves the choice to the system.
    pub local: Option<IpAddr>,
}

impl Path {
    /// A path to or from `peer` on which the system chooses our address.
    #[must_use]
    pub const fn new(peer: SocketAddr) -> Self {
        Self { peer, local: None }
    }

    /// The same from or to that address of ours.
    #[must_use]
    pub const fn with_local(mut self, local: Option<IpAddr>) -> Self {
        self.local = local;
        self
    }

    /// Whether datagrams can be sent to the peer's address.
    pub(in crate::net) fn is_answerable(&self) -> bool {
        let ip = self.peer.ip().to_canonical();
        let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        self.peer.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
    }
}

/// The content of a receive buffer.
///
/// Later versions may describe datagrams further; a [`Transport`] makes it with [`Received::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The source of the datagrams, and the local address they were sent to, if known.
    pub path: Path,
    /// Bytes of all datagrams in the buffer together.
    pub len: usize,
    /// Bytes of each datagram except the last, which may be shorter; equal to `len` for a single
    /// one.
    pub stride: usize,
}

impl Received {
    /// One datagram of `len` bytes.
    #[must_use]
    pub const fn new(path: Path, len: usize) -> Self {
        Self {
            path,
            len,
            stride: len,
        }
    }

    /// Several datagrams side by side, of `stride` bytes each but the last, which may be shorter.
    #[must_use]
    pub const fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }
}

impl Default for Received {
    /// No datagram, from an unspecified address.
    fn default() -> Self {
        Self::new(Path::new((Ipv6Addr::UNSPECIFIED, 0).into()), 0)
    }
}

/// The descriptor is closed (EBADF), or no longer refers to a socket (ENOTSOCK).
#[cfg(windows)]
const NO_SOCKET: [i32; 2] = [10_009, 10_038];
#[cfg(any(target_os = "linux", target_os = "android"))]
const NO_SOCKET: [i32; 2] = [9, 88];
#[cfg(not(any(windows, target_os = "linux", target_os = "android")))]
const NO_SOCKET: [i32; 2] = [9, 38];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_can_be_sent_to_are_answerable() {
        let answerable = |peer: &str| {
            let peer = peer.parse().expect("an address");
            Path { peer, local: None }.is_answerable()
        };
        for peer in ["10.0.0.1:1", "[fe80::1%2]:65535", "[::ffff:10.0.0.1]:9"] {
            assert!(answerable(peer), "{peer}");
        }
        for peer in [
            "10.0.0.1:0",
            "[::1]:0",
            "0.0.0.0:1",
            "[::]:1",
            "[::ffff:0.0.0.0]:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "[::ffff:239.1.1.1]:1",
            "255.255.255.255:1",
        ] {
            assert!(!answerable(peer), "{peer}");
        }
    }
}
