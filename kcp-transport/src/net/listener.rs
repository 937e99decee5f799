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
/// Sessions are told apart by the peer's address and the conversation id. A session opens on a
/// first packet that looks like one: stray packets and the late ones of a session that ended open
/// nothing. All sessions of a listener share its cipher and [`Config`].
///
/// Dropping the listener stops accepting. Sessions that were accepted go on, and keep the socket
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
    /// One for each socket, at least one.
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
    /// Never waits: a future that is dropped was not polled, and has bound nothing.
    pub async fn bind(addr: SocketAddr, security: &Security) -> io::Result<Self> {
        Self::bind_with(addr, security, &Config::default()).await
    }

    /// Listens on `addr`; port 0 picks a free one. A v6 wildcard address takes v4 peers too.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if the mtu has no room for data under this cipher, and errors
    /// of binding the socket.
    ///
    /// # Cancel safety
    ///
    /// Never waits: a future that is dropped was not polled, and has bound nothing.
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

    /// Listens on a socket the caller made, which should be bound and is made non-blocking.
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

    /// Listens on any transport of datagrams.
    ///
    /// The socket options of `config` are the transport's own business.
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

    /// Listens on several transports of datagrams that have one address, as sockets with
    /// `SO_REUSEPORT` do, with a task for each. [`Config::shards`] should be their number.
    ///
    /// A peer's datagrams may come in by any of them. They should keep to one: what comes in by
    /// another than the first one did is handed on, at a price.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if there is none, and as [`KcpListener::from_transport`].
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
    /// Only when the socket or the runtime that drives it is gone; nothing a peer does ends it. Every
    /// later call gives the same error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no connection, also if one has come for it: whoever accepts next
    /// gets that one.
    pub async fn accept(&self) -> io::Result<(KcpStream, SocketAddr)> {
        Waiting::new(&*self.first().accept_queue)
            .await
            .map(accepted)
    }

    /// Polls for the next connection; several tasks may wait at a time.
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
    /// That of asking the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.first().endpoint.transport().local_addr()
    }

    /// What the sockets received, and what of it was dropped before it reached a session.
    #[must_use]
    pub fn stats(&self) -> EndpointStats {
        let mut sum = self.first().endpoint.stats();
        let (under_key, memory) = (sum.sealed_under_key, sum.memory);
        for registry in &self.registries[1..] {
            sum += registry.endpoint.stats();
        }
        // All of them count the same packets, and have one budget.
        sum.sealed_under_key = under_key;
        sum.memory = memory;
        sum
    }

    /// The sum over all connections there are and were. Looks at each of those there are.
    ///
    /// What is read from a connection after it has ended, as far as it had arrived, is not in it.
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
        // Nobody will read what those sessions receive.
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
