//! Making UDP sockets.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, Protocol, SockRef, Type};

use crate::config::Config;

use super::address::{as_seen_from, canonical, check_peer};
use super::socket::Socket;

/// How the sockets of an endpoint are made.
#[derive(Clone, Debug, Default)]
pub(in crate::net) struct SocketMaker {
    hook: Option<SocketHook>,
}

/// Is called with each socket before it is bound or connected.
#[derive(Clone)]
pub(in crate::net) struct SocketHook(Arc<Prepare>);

type Prepare = dyn Fn(&UdpSocket) -> io::Result<()> + Send + Sync;

impl SocketHook {
    pub(in crate::net) fn new(
        hook: impl Fn(&UdpSocket) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(hook))
    }
}

impl fmt::Debug for SocketHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketHook").finish_non_exhaustive()
    }
}

impl SocketMaker {
    pub(in crate::net) fn new(hook: SocketHook) -> Self {
        Self { hook: Some(hook) }
    }

    /// A socket for exchanging datagrams with `peer` from `local` or from a free port, and the peer's
    /// address in the form in which the socket reports it. Where [`MAY_CONNECT`], it is connected:
    /// the kernel drops datagrams from other addresses and reports a refused port.
    pub(in crate::net) fn connect(
        &self,
        local: Option<SocketAddr>,
        peer: SocketAddr,
        config: &Config,
    ) -> io::Result<(Socket, SocketAddr)> {
        check_peer(peer)?;
        let peer = canonical(peer);
        let local = local.unwrap_or(match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        });
        let peer = as_seen_from(local, peer)?;
        let socket = self.open(local, Sharing::No)?;
        if MAY_CONNECT {
            SockRef::from(&socket).connect(&peer.into())?;
        }
        Ok((Socket::adopt(socket, config)?, peer))
    }

    /// A socket bound to `addr`. A v6 wildcard address also receives from v4 peers where the system
    /// supports it.
    pub(in crate::net) fn bind(&self, addr: SocketAddr, config: &Config) -> io::Result<Socket> {
        Socket::adopt(self.open(addr, Sharing::No)?, config)
    }

    /// A socket for any number of peers, bound to `addr` or to a free port of all
    /// addresses: of both families where the system can.
    pub(in crate::net) fn bind_client(
        &self,
        addr: Option<SocketAddr>,
        config: &Config,
    ) -> io::Result<Socket> {
        if let Some(addr) = addr {
            return self.bind(addr, config);
        }
        self.bind((Ipv6Addr::UNSPECIFIED, 0).into(), config)
            .or_else(|_| self.bind((Ipv4Addr::UNSPECIFIED, 0).into(), config))
    }

    /// That many sockets, all bound to `addr`. Nothing else may be bound to it, unless it is
    /// `shared`.
    pub(in crate::net) fn bind_shards(
        &self,
        addr: SocketAddr,
        shards: u16,
        shared: bool,
        config: &Config,
    ) -> io::Result<Vec<Socket>> {
        if shards == 1 && !shared {
            return Ok(vec![self.bind(addr, config)?]);
        }
        let first = self.open(
            addr,
            if shared {
                Sharing::Before
            } else {
                Sharing::After
            },
        )?;
        // If the system chose the port, the other sockets must use the same one.
        let addr = first.local_addr()?;
        let first = Socket::adopt(first, config);
        let others = (1..shards).map(|_| Socket::adopt(self.open(addr, Sharing::Before)?, config));
        std::iter::once(first).chain(others).collect()
    }

    fn open(&self, addr: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
        let domain = Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            // Fails only where the system has no dual-stack sockets; the socket is v6-only then.
            let _ = socket.set_only_v6(false);
        }
        let socket = UdpSocket::from(socket);
        if let Some(SocketHook(hook)) = &self.hook {
            hook(&socket)?;
        }
        let options = SockRef::from(&socket);
        if sharing == Sharing::Before {
            share_port(&options)?;
        }
        options.bind(&addr.into())?;
        if sharing == Sharing::After {
            share_port(&options)?;
        }
        Ok(socket)
    }
}

/// Whether other sockets may have the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    No,
    /// Those that come later: binding fails if there is one already.
    After,
    /// Those that are there, too.
    Before,
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
        "this system cannot distribute datagrams between sockets of one address; set shards to 1",
    ))
}

/// Whether a connected socket accepts a destination address in a send call, which all our calls
/// carry.
///
/// macOS, iOS and the BSDs fail such calls with EISCONN. An unconnected socket works on all
/// systems.
const MAY_CONNECT: bool = cfg!(any(target_os = "linux", target_os = "android", windows));
