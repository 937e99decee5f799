//! Many outgoing connections on one socket.

use std::io;
use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime;

use crate::crypto::Security;
use crate::error::ResetCode;
use crate::session::Role;
use crate::stats::{EndpointStats, Stats};

use super::connect::{ClientBuilder, SharedTransport, ToAddrs, bind_to};
use super::driver::{Registry, close, shut_down, wait_idle};
use super::stream::KcpStream;

/// Opens any number of connections from one socket, driven by one task.
///
/// Use it where sockets are scarce, or where all connections should leave from one port. A server
/// of this crate distinguishes connections from one address by their conversation ids. **A kcp-go
/// server does not**: it keeps one session for each address, so a second connection would end the
/// first. Use [`KcpStream::connect`] with such servers, which takes a socket for each connection.
///
/// Connections to the same host learn of losses from each other: where some lose, a new one is
/// protected from its first datagram on. See [`Redundancy`](crate::config::Redundancy).
///
/// The socket is not connected, so a closed port at a peer is detected by the time-out only.
///
/// Dropping the endpoint ends no connection. The socket is closed after the last connection has
/// ended.
///
/// # Examples
///
/// ```no_run
/// use kcp_transport::{KcpEndpoint, Security};
///
/// # async fn example(security: &Security) -> std::io::Result<()> {
/// let endpoint = KcpEndpoint::bind("[::]:0", security).await?;
/// let first = endpoint.connect("one.example.com:4000").await?;
/// let second = endpoint.connect("two.example.com:4000").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KcpEndpoint {
    transport: SharedTransport,
}

impl KcpEndpoint {
    /// An endpoint on `addr` with the default [`Config`](crate::config::Config); port 0 picks a free
    /// one. From `[::]` it reaches IPv4 peers too where the system can.
    ///
    /// Of several addresses it takes the first that can be bound to. For other options see
    /// [`KcpEndpoint::builder`].
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for no host and port, [`io::ErrorKind::NotFound`] for an
    /// unknown host, and errors of binding the socket. Must be called within a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Waits for the lookup of a name alone; dropping the future before that leaves nothing bound.
    pub async fn bind(addr: impl ToAddrs, security: &Security) -> io::Result<Self> {
        Self::builder(security).bind(addr).await
    }

    /// Starts from the default options of connections.
    pub fn builder(security: &Security) -> ClientBuilder {
        ClientBuilder::new(security)
    }

    /// Connects to `peer` and returns once it has answered. Its addresses are raced as by
    /// [`KcpStream::connect`].
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect`]; that nothing listens at the peer is seen by the time-out alone.
    /// [`io::ErrorKind::InvalidInput`] also if the socket is of the wrong family for the peer, and
    /// that of the socket if it is closed.
    ///
    /// # Cancel safety
    ///
    /// As [`KcpStream::connect`].
    pub async fn connect(&self, peer: impl ToAddrs) -> io::Result<KcpStream> {
        let handle = self.transport.connect(peer, Role::Connect).await?;
        Ok(KcpStream::new(handle))
    }

    /// As [`KcpEndpoint::connect`], without waiting for the peer.
    ///
    /// # Errors
    ///
    /// As [`KcpEndpoint::connect`], but for those that the peer or its silence would give.
    ///
    /// # Cancel safety
    ///
    /// As [`KcpStream::connect`]. Waits for the lookup of a name and for the driver alone.
    pub async fn connect_lazy(&self, peer: impl ToAddrs) -> io::Result<KcpStream> {
        let handle = self.transport.connect(peer, Role::ConnectLazy).await?;
        Ok(KcpStream::new(handle))
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
    /// - [`io::ErrorKind::Unsupported`]: the endpoint is on a socket or transport of the caller's.
    /// - [`io::ErrorKind::InvalidInput`]: `addr` has another address family than the current
    ///   address.
    /// - Errors of binding the socket; the endpoint keeps its current socket. Must be called within
    ///   a tokio runtime.
    pub fn rebind(&self, addr: SocketAddr) -> io::Result<()> {
        runtime::Handle::try_current().map_err(io::Error::other)?;
        let endpoint = &self.transport.registry.endpoint;
        endpoint.rebind(|maker| {
            if self.local_addr()?.is_ipv6() != addr.is_ipv6() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "an endpoint cannot change between IPv4 and IPv6; bind to an address of the same family",
                ));
            }
            maker.bind(addr, &endpoint.config)
        })
    }

    /// Ends the endpoint and all of its connections at once, and discards undelivered data. As
    /// [`KcpListener::close`](super::KcpListener::close); connecting fails from now on with
    /// [`io::ErrorKind::NotConnected`].
    pub fn close(&self, code: ResetCode) {
        close(self.registries(), code);
    }

    /// Shuts down in good order: refuses to connect, gives the connections `drain` to end, resets
    /// the others with [`ResetCode::GOING_AWAY`], and closes the socket. As
    /// [`KcpListener::shutdown`](super::KcpListener::shutdown).
    ///
    /// # Cancel safety
    ///
    /// After the first poll there are no new connections. Dropping the future later leaves the others
    /// as they are; call it again to go on, with the whole time again.
    pub async fn shutdown(&self, drain: Duration) {
        shut_down(self.registries(), drain).await;
    }

    /// Waits until no connection is left, those that linger in the background included. After
    /// [`KcpEndpoint::close`] also until the socket is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    ///
    /// Before leaving `main`, so that what was written last arrives:
    ///
    /// ```no_run
    /// # async fn example(endpoint: kcp_transport::KcpEndpoint) {
    /// endpoint.wait_idle().await;
    /// # }
    /// ```
    pub async fn wait_idle(&self) {
        wait_idle(self.registries()).await;
    }

    fn registries(&self) -> &[Arc<Registry>] {
        slice::from_ref(&self.transport.registry)
    }

    /// The local address of the socket, or the last one if it is closed.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.transport.local_addr()
    }

    /// Counters of the socket: received datagrams, and those dropped before they reached a
    /// connection.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        self.transport.registry.endpoint.stats()
    }

    /// The sum of the counters of all connections, open and closed. Visits each open connection.
    ///
    /// Bytes that are read from a connection after it has ended are not included.
    #[must_use]
    pub fn totals(&self) -> Stats {
        self.transport.registry.totals()
    }
}

impl ClientBuilder {
    /// An endpoint on `addr`, with the options of its connections. See [`KcpEndpoint::bind`].
    ///
    /// # Errors
    ///
    /// As [`KcpEndpoint::bind`]; and [`io::ErrorKind::InvalidInput`] if the mtu has no room for data
    /// under this cipher, or if a [conversation](Self::conversation) was given.
    ///
    /// # Cancel safety
    ///
    /// As [`KcpEndpoint::bind`].
    pub async fn bind(self, addr: impl ToAddrs) -> io::Result<KcpEndpoint> {
        let transport = bind_to(addr, |addr| self.share_bound(addr)).await?;
        Ok(KcpEndpoint { transport })
    }

    /// An endpoint on the [local address](Self::local_addr), [socket](Self::socket) or
    /// [transport](Self::transport) that was given, else on a free port.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn endpoint(self) -> io::Result<KcpEndpoint> {
        let transport = self.share()?;
        Ok(KcpEndpoint { transport })
    }
}
