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
/// of this crate distinguishes connections from one address by their conversation ids. **A kcp-go
/// server does not**: it keeps one session for each address, so a second connection would end the
/// first. Use [`KcpStream::connect`] with such servers, which takes a socket for each connection.
///
/// The socket is not connected, so a closed port at a peer is detected by the time-out only.
/// [`Config::conversation`] is ignored.
///
/// Dropping the endpoint ends no connection. The socket is closed after the last connection has
/// ended.
#[derive(Debug)]
pub struct KcpEndpoint {
    registry: Arc<Registry>,
}

impl KcpEndpoint {
    /// Binds an endpoint to `addr`; port 0 picks a free one. From a v6 wildcard address it also
    /// reaches v4 peers where the system supports it.
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

    /// Creates an endpoint on any [`Transport`].
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
    /// - The error of the socket if it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the attempt and leaves nothing behind.
    pub async fn connect(&self, peer: SocketAddr) -> io::Result<KcpStream> {
        let handle = self.open(peer, Role::Connect).await?;
        handle.connected().await?;
        Ok(KcpStream::new(handle))
    }

    /// As [`KcpEndpoint::connect`], without waiting for an answer of the peer.
    ///
    /// # Errors
    ///
    /// As [`KcpEndpoint::connect`], except the first.
    ///
    /// # Cancel safety
    ///
    /// As [`KcpEndpoint::connect`]. The future waits for the driver only.
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

    /// Moves the endpoint to another socket, bound to `addr`: for a client whose network has
    /// changed. Port 0 picks a free one.
    ///
    /// Connections whose peers support migration, which takes [`Extensions::Migration`] on both
    /// sides, continue once the peer has validated the new address: after about two round trips.
    /// Datagrams that were sent to the old address are retransmitted. Other connections end by
    /// their time-outs.
    ///
    /// [`Extensions::Migration`]: crate::config::Extensions::Migration
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::Unsupported`]: the endpoint was created [from a
    ///   transport](KcpEndpoint::from_transport), which may change its addresses by itself.
    /// - [`io::ErrorKind::InvalidInput`]: `addr` has another address family than the current
    ///   address.
    /// - Errors of binding the socket; the endpoint keeps its current socket. Must be called within
    ///   a tokio runtime.
    pub fn rebind(&self, addr: SocketAddr) -> io::Result<()> {
        runtime::Handle::try_current().map_err(io::Error::other)?;
        self.registry.endpoint.rebind(|| {
            if self.local_addr()?.is_ipv6() != addr.is_ipv6() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "an endpoint cannot change between v4 and v6",
                ));
            }
            Socket::bind(addr, &self.registry.endpoint.config)
        })
    }

    /// The local address of the socket.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.registry.endpoint.transport().local_addr()
    }

    /// Counters of the socket: received datagrams, and those dropped before they reached a
    /// connection.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.registry.endpoint.stats()
    }

    /// The sum of the counters of all connections, open and closed. Visits each open connection.
    ///
    /// Bytes that are read from a connection after it has ended are not included.
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

/// The address of the peer in the form in which the socket reports it.
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
