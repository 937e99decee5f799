//! Accepting connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::runtime;

use crate::config::Config;
use crate::crypto::Security;
use crate::stats::{EndpointStats, Stats};

use super::connection::{Connection, Handle};
use super::driver::{Driver, Registry};
use super::endpoint::Endpoint;
use super::io::{Socket, Transport};
use super::stream::KcpStream;
use super::sync::{Awaited, Waiter, Waiting, budgeted};

/// Accepts KCP connections on a UDP socket.
///
/// Sessions are identified by the address of the peer and the conversation id. Only a packet that
/// looks like the first of a conversation opens a session; stray packets and late packets of a
/// closed session open none. All sessions of a listener share its cipher and [`Config`].
///
/// Dropping the listener stops accepting. Accepted sessions continue, and keep the socket open
/// until the last of them has ended.
///
/// # Examples
///
/// ```no_run
/// use kcp_transport::crypto::Security;
/// use kcp_transport::net::KcpListener;
///
/// # async fn example() -> std::io::Result<()> {
/// let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
/// let listener = KcpListener::bind("0.0.0.0:4000".parse().unwrap(), &security).await?;
/// loop {
///     let (mut stream, peer) = listener.accept().await?;
///     println!("{peer} has connected");
///     tokio::spawn(async move {
///         let (mut reader, mut writer) = tokio::io::split(&mut stream);
///         tokio::io::copy(&mut reader, &mut writer).await
///     });
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct KcpListener {
    /// One for each socket; at least one.
    registries: Vec<Arc<Registry>>,
}

impl KcpListener {
    /// Listens on `addr` with the default [`Config`]; port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// As [`KcpListener::bind_with`].
    ///
    /// # Cancel safety
    ///
    /// The future never waits, so it cannot be dropped halfway: once polled, it is ready.
    pub async fn bind(addr: SocketAddr, security: &Security) -> io::Result<Self> {
        Self::bind_with(addr, security, &Config::default()).await
    }

    /// Listens on `addr`; port 0 picks a free one. A v6 wildcard address also accepts v4 peers
    /// where the system supports it.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the mtu has no room for data under this cipher, and errors
    /// of binding the socket.
    ///
    /// # Cancel safety
    ///
    /// The future never waits, so it cannot be dropped halfway: once polled, it is ready.
    #[expect(clippy::unused_async, reason = "the shape of tokio's listeners")]
    pub async fn bind_with(
        addr: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        config.layout(security.overhead())?;
        runtime::Handle::try_current().map_err(io::Error::other)?;
        let sockets = Socket::bind_shards(addr, config)?;
        let transports = sockets
            .into_iter()
            .map(|it| Arc::new(it) as Arc<dyn Transport>);
        Self::from_transports(transports.collect(), security, config)
    }

    /// Listens on a socket that the caller has created and bound. It is set to non-blocking.
    ///
    /// # Errors
    ///
    /// As [`KcpListener::bind_with`]. Must be called within a tokio runtime.
    pub fn from_socket(
        socket: std::net::UdpSocket,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        config.layout(security.overhead())?;
        runtime::Handle::try_current().map_err(io::Error::other)?;
        let socket = Arc::new(Socket::adopt(socket, config)?);
        Self::from_transport(socket, security, config)
    }

    /// Listens on any [`Transport`].
    ///
    /// The socket options of `config` are not applied to the transport.
    ///
    /// # Errors
    ///
    /// As [`KcpListener::bind_with`]. Must be called within a tokio runtime.
    pub fn from_transport(
        transport: Arc<dyn Transport>,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        Self::from_transports(vec![transport], security, config)
    }

    /// Listens on several transports that share one address, as sockets with `SO_REUSEPORT` do,
    /// with a task for each. [`Config::shards`] should be their number.
    ///
    /// The datagrams of a peer may arrive at any of the transports, but should keep to one:
    /// datagrams that arrive at another one than the first are forwarded, at a cost.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if `transports` is empty, and as
    /// [`KcpListener::from_transport`].
    pub fn from_transports(
        transports: Vec<Arc<dyn Transport>>,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        let runtime = runtime::Handle::try_current().map_err(io::Error::other)?;
        if transports.is_empty() {
            let reason = "a listener needs a transport";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let endpoints = Endpoint::listening(transports, security, config)?;
        let registries = Registry::listening(endpoints);
        for registry in &registries {
            runtime.spawn(Driver::new(Arc::clone(registry), RECEIVE_SLOTS));
        }
        Ok(Self { registries })
    }

    fn first(&self) -> &Registry {
        &self.registries[0]
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// Only if the socket is closed or the runtime that drives it has ended; no peer can cause an
    /// error. Each later call returns the same error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection, even if one has arrived: the next call accepts it.
    pub async fn accept(&self) -> io::Result<(KcpStream, SocketAddr)> {
        Waiting::new(&*self.first().accept_queue)
            .await
            .map(accepted)
    }

    /// Polls for the next connection; several tasks may wait at the same time.
    ///
    /// # Errors
    ///
    /// As [`KcpListener::accept`].
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(KcpStream, SocketAddr)>> {
        let accept_queue = &self.first().accept_queue;
        let accepting = budgeted(cx, |cx| accept_queue.poll_for(&mut Waiter::Task, cx));
        accepting.map_ok(accepted)
    }

    /// The address the listener is bound to.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first().endpoint.transport().local_addr()
    }

    /// Counters of the sockets: received datagrams, and those dropped before they reached a
    /// session.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let mut sum = self.first().endpoint.stats();
        let (under_key, memory) = (sum.sealed_under_key, sum.memory);
        for registry in &self.registries[1..] {
            sum += registry.endpoint.stats();
        }
        // All endpoints seal under the same key and share one budget.
        sum.sealed_under_key = under_key;
        sum.memory = memory;
        sum
    }

    /// The sum of the counters of all connections, open and closed. Visits each open connection.
    ///
    /// Bytes that are read from a connection after it has ended are not included.
    #[must_use]
    pub fn totals(&self) -> Stats {
        let mut sum = Stats::default();
        for registry in &self.registries {
            sum += registry.totals();
        }
        sum
    }
}

impl Drop for KcpListener {
    fn drop(&mut self) {
        // These sessions have no reader.
        for registry in &self.registries {
            for connection in registry.release() {
                drop(Handle(connection));
            }
        }
    }
}

fn accepted(connection: Arc<Connection>) -> (KcpStream, SocketAddr) {
    let peer = connection.path().peer;
    (KcpStream::new(Handle(connection)), peer)
}

/// Receive buffers of a listener: as many as one call can fill.
const RECEIVE_SLOTS: usize = 32;
