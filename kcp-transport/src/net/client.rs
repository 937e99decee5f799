//! Many outgoing connections on one socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime;
use tokio::sync::oneshot;

use crate::config::Config;
use crate::crypto::Security;
use crate::session::Role;
use crate::stats::{EndpointStats, Stats};

use super::connection::Handle;
use super::driver::{Driver, OpenRequest, Registry};
use super::endpoint::{Endpoint, Purpose};
use super::io::{Path, Socket, Transport};
use super::stream::KcpStream;

/// Opens any number of connections from one socket, driven by one task.
///
/// Use it where sockets are scarce, or where all connections should leave from one port. A server
/// of this crate tells connections from one address apart by their conversation id. **A kcp-go server
/// does not**: it has one session for each address, so that a second connection would end the first.
/// Use [`KcpStream::connect`] for those, which takes a socket for each connection.
///
/// The socket is not connected: that nobody listens at a peer is seen by the time-out only.
/// [`Config::conversation`] is not used.
///
/// Dropping the endpoint ends no connection. The last of them closes the socket.
#[derive(Debug)]
pub struct KcpEndpoint {
    registry: Arc<Registry>,
}

impl KcpEndpoint {
    /// An endpoint on `addr`; port 0 picks a free one. From a v6 wildcard address it reaches v4 peers
    /// too where the system can.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the mtu has no room for data under this cipher, and errors
    /// of binding the socket. Must be called within a tokio runtime.
    pub fn bind(addr: SocketAddr, security: &Security, config: &Config) -> io::Result<Self> {
        config.layout(security.overhead())?;
        runtime::Handle::try_current().map_err(io::Error::other)?;
        let socket = Socket::bind(addr, config)?;
        let endpoint = Endpoint::on_socket(socket, security, config, Purpose::Connect)?;
        Self::start(endpoint)
    }

    /// An endpoint on any transport of datagrams.
    ///
    /// # Errors
    ///
    /// As [`KcpEndpoint::bind`].
    pub fn from_transport(
        transport: Arc<dyn Transport>,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        let endpoint = Endpoint::new(transport, security, config, Purpose::Connect)?;
        Self::start(endpoint)
    }

    fn start(endpoint: Endpoint) -> io::Result<Self> {
        let runtime = runtime::Handle::try_current().map_err(io::Error::other)?;
        let registry = Registry::new(Arc::new(endpoint));
        runtime.spawn(Driver::new(Arc::clone(&registry), RECEIVE_SLOTS));
        Ok(Self { registry })
    }

    /// Connects to `peer` and returns once it has answered.
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::TimedOut`]: no answer within [`Config::connect_timeout`].
    /// - [`io::ErrorKind::InvalidInput`]: a v4 socket reaches no v6 peer.
    /// - That of the socket if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up and leaves nothing behind.
    pub async fn connect(&self, peer: SocketAddr) -> io::Result<KcpStream> {
        let handle = self.open(peer, Role::Connect).await?;
        handle.connected().await?;
        Ok(KcpStream::new(handle))
    }

    /// As [`KcpEndpoint::connect`], without asking the peer.
    ///
    /// # Errors
    ///
    /// As [`KcpEndpoint::connect`], but for the first.
    ///
    /// # Cancel safety
    ///
    /// As [`KcpEndpoint::connect`]. Waits for the driver only.
    pub async fn connect_lazy(&self, peer: SocketAddr) -> io::Result<KcpStream> {
        let handle = self.open(peer, Role::ConnectLazy).await?;
        Ok(KcpStream::new(handle))
    }

    async fn open(&self, peer: SocketAddr, role: Role) -> io::Result<Handle> {
        let peer = reachable(self.local_addr()?, peer)?;
        let path = Path { peer, local: None };
        let (answer, answered) = oneshot::channel();
        self.registry.request(OpenRequest { path, role, answer });
        answered.await.unwrap_or_else(|_| {
            let kind = self.registry.endpoint.mailbox.ended();
            let kind = kind.unwrap_or(io::ErrorKind::NotConnected);
            Err(io::Error::new(kind, "the endpoint's socket is closed"))
        })
    }

    /// Goes on from another socket, bound to `addr`: for a client whose network has changed. Port 0
    /// picks a free one.
    ///
    /// Connections whose peers follow, which takes [`Extensions::Migration`] on both sides, go on
    /// where they were as soon as the peer has seen that the new address is theirs: about two round
    /// trips. What was on its way to the old address is sent again. Others end by their time-outs.
    ///
    /// [`Extensions::Migration`]: crate::config::Extensions::Migration
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::Unsupported`]: the endpoint was made
    ///   [from a transport](KcpEndpoint::from_transport), which may change its addresses by itself.
    /// - [`io::ErrorKind::InvalidInput`]: `addr` is of the other family than the address before.
    /// - Errors of binding the socket; the endpoint stays where it is. Must be called within a tokio
    ///   runtime.
    pub fn rebind(&self, addr: SocketAddr) -> io::Result<()> {
        runtime::Handle::try_current().map_err(io::Error::other)?;
        self.registry.endpoint.rebind(|| {
            if self.local_addr()?.is_ipv6() != addr.is_ipv6() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "an endpoint stays with v4 or v6, as its connections know their peers by it",
                ));
            }
            Socket::bind(addr, &self.registry.endpoint.config)
        })
    }

    /// The address connections leave from.
    ///
    /// # Errors
    ///
    /// That of asking the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.registry.endpoint.transport().local_addr()
    }

    /// What the socket received, and what of it was dropped before it reached a connection.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.registry.endpoint.stats()
    }

    /// The sum over all connections there are and were. Looks at each of those there are.
    ///
    /// What is read from a connection after it has ended, as far as it had arrived, is not in it.
    #[must_use]
    pub fn totals(&self) -> Stats {
        self.registry.totals()
    }
}

impl Drop for KcpEndpoint {
    fn drop(&mut self) {
        self.registry.release();
    }
}

/// The peer's address in the form in which the socket reports it.
fn reachable(local: SocketAddr, peer: SocketAddr) -> io::Result<SocketAddr> {
    match (local, peer) {
        (SocketAddr::V6(_), SocketAddr::V4(v4)) => Ok((v4.ip().to_ipv6_mapped(), v4.port()).into()),
        (SocketAddr::V4(_), SocketAddr::V6(_)) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a v6 peer cannot be reached from a v4 address",
        )),
        _ => Ok(peer),
    }
}

/// Receive buffers: as many as one call can fill.
const RECEIVE_SLOTS: usize = 32;
