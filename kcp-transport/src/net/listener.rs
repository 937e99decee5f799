//! Accepting connections.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime;

use crate::config::{Config, ListenerConfig};
use crate::crypto::Security;
use crate::error::ResetCode;
use crate::stats::{EndpointStats, Stats};

use super::connect::{ToAddrs, bind_to};
use super::connection::{Connection, Handle};
use super::driver::{Driver, Registry, close, shut_down, wait_idle};
use super::endpoint::Endpoint;
use super::io::{Socket, SocketHook, SocketMaker, Transport};
use super::stream::KcpStream;
use super::sync::{Awaited, Waiter, Waiting, budgeted};

/// Accepts KCP connections on a UDP socket.
///
/// Sessions are identified by the address of the peer and the conversation id. Only a packet that
/// looks like the first of a conversation opens a session; stray packets and late packets of a
/// closed session open none. All sessions of a listener share its cipher and [`Config`].
///
/// Dropping the listener stops accepting. Accepted sessions continue, and keep the socket open
/// until the last of them has ended. [`KcpListener::shutdown`] ends them too, within a time. If the
/// runtime ends, peers of this crate get one reset each; if the process is killed, they
/// are not.
///
/// # Examples
///
/// ```no_run
/// use kcp_transport::{KcpListener, Security};
///
/// # async fn example() -> std::io::Result<()> {
/// let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
/// let listener = KcpListener::bind("[::]:4000", &security).await?;
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
    /// Listens on `addr` with the default options; port 0 picks a free one. `[::]` takes IPv4 peers
    /// too.
    ///
    /// `addr` is anything that tokio resolves; of several addresses it takes the first that can be
    /// bound to. For other options see [`KcpListener::builder`].
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for no host and port, [`io::ErrorKind::NotFound`] for an
    /// unknown host, and errors of binding the socket, [`io::ErrorKind::AddrInUse`] among them. Must
    /// be called within a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Waits for the lookup of a name alone; dropping the future before that leaves nothing bound.
    pub async fn bind(addr: impl ToAddrs, security: &Security) -> io::Result<Self> {
        Self::builder(security).bind(addr).await
    }

    /// Starts from the default options of a listener and its connections.
    pub fn builder(security: &Security) -> ListenerBuilder {
        ListenerBuilder {
            security: security.clone(),
            config: Config::default(),
            listener: ListenerConfig::default(),
            maker: SocketMaker::default(),
        }
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

    /// Stops accepting; connections that were accepted continue, as after a drop.
    ///
    /// Connections that wait to be accepted are reset, and new ones refused, with
    /// [`ResetCode::GOING_AWAY`]; peers without extensions get no answer. [`KcpListener::accept`]
    /// fails with [`io::ErrorKind::NotConnected`] from now on. The socket is closed after the last
    /// connection has ended.
    pub fn stop_accepting(&self) {
        for registry in &self.registries {
            registry.stop_accepting();
        }
    }

    /// Ends the listener and all of its connections at once, and discards undelivered data.
    ///
    /// Peers of this crate get `code` in [`ConnectionError::Reset`]; others detect the end by their
    /// time-outs. Streams of this side fail with [`ConnectionError::EndpointClosed`]. The resets are
    /// repeated in the background for up to 3 s, and the socket is closed after that:
    /// [`KcpListener::wait_idle`] waits for it.
    ///
    /// [`ConnectionError::Reset`]: crate::error::ConnectionError::Reset
    /// [`ConnectionError::EndpointClosed`]: crate::error::ConnectionError::EndpointClosed
    pub fn close(&self, code: ResetCode) {
        close(&self.registries, code);
    }

    /// Shuts down in good order: refuses new connections at once, as
    /// [`KcpListener::stop_accepting`] does, gives those that were accepted `drain` to end, resets
    /// the others with [`ResetCode::GOING_AWAY`], and closes the socket. Its port is free when this
    /// returns.
    ///
    /// A connection ends when its stream is dropped or shut down and its data has arrived, as always;
    /// this does not tell the code that uses the stream. The resets take up to 3 s more than `drain`.
    ///
    /// # Cancel safety
    ///
    /// After the first poll no new connection is accepted. Dropping the future later leaves the
    /// connections as they are; call it again to go on, with the whole time again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use kcp_transport::{KcpListener, Security};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let listener = KcpListener::bind("127.0.0.1:0", &Security::Plaintext).await?;
    /// let addr = listener.local_addr()?;
    /// listener.shutdown(Duration::from_secs(5)).await;
    /// // The port is free again.
    /// KcpListener::bind(addr, &Security::Plaintext).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self, drain: Duration) {
        shut_down(&self.registries, drain).await;
    }

    /// Waits until no connection is left, those that linger in the background included. After
    /// [`KcpListener::close`] also until the socket is closed.
    ///
    /// Closes nothing by itself: without [`KcpListener::close`] it waits for the peers and for the
    /// code that uses the streams.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn wait_idle(&self) {
        wait_idle(&self.registries).await;
    }

    /// The address the listener is bound to, or was if it is closed.
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

/// Everything about a listener but what it listens on: made by [`KcpListener::builder`].
///
/// # Examples
///
/// ```no_run
/// use kcp_transport::{Config, KcpListener, ListenerConfig, Preset, Security};
///
/// # async fn example(security: &Security) -> std::io::Result<()> {
/// let listener = KcpListener::builder(security)
///     .config(&Config::builder().preset(Preset::Fast3).build()?)
///     .listener_config(&ListenerConfig::builder().shards(4).build()?)
///     .bind("[::]:4000")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is bound"]
pub struct ListenerBuilder {
    security: Security,
    config: Config,
    listener: ListenerConfig,
    maker: SocketMaker,
}

impl ListenerBuilder {
    /// The options of the connections. Default: [`Config::default`].
    pub fn config(mut self, config: &Config) -> Self {
        self.config = config.clone();
        self
    }

    /// The options of the listener itself. Default: [`ListenerConfig::default`].
    pub fn listener_config(mut self, config: &ListenerConfig) -> Self {
        self.listener = config.clone();
        self
    }

    /// Calls `hook` with each socket that is made, before it is bound. Its error is one of binding.
    ///
    /// For what must be done to a socket before it is used: binding to a network device, marks for
    /// routing.
    pub fn prepare_socket(
        mut self,
        hook: impl Fn(&UdpSocket) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.maker = SocketMaker::new(SocketHook::new(hook));
        self
    }

    /// Listens on `addr`. See [`KcpListener::bind`].
    ///
    /// # Errors
    ///
    /// As [`KcpListener::bind`]; and [`io::ErrorKind::InvalidInput`] if the mtu has no room for data
    /// under this cipher.
    ///
    /// # Cancel safety
    ///
    /// As [`KcpListener::bind`].
    pub async fn bind(self, addr: impl ToAddrs) -> io::Result<KcpListener> {
        self.check()?;
        let (shards, shared) = (self.listener.shards(), self.listener.share_port());
        let bind = |addr| self.maker.bind_shards(addr, shards, shared, &self.config);
        let sockets = bind_to(addr, bind).await?;
        let transports = sockets
            .into_iter()
            .map(|it| Arc::new(it) as Arc<dyn Transport>);
        self.on_transports(transports.collect())
    }

    /// Listens on a socket that the caller made, which should be bound; it is made non-blocking and
    /// gets the socket options of the [`Config`].
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn on_socket(self, socket: UdpSocket) -> io::Result<KcpListener> {
        self.check()?;
        let socket = Arc::new(Socket::adopt(socket, &self.config)?);
        self.on_transport(socket)
    }

    /// Listens on any transport of datagrams. The socket options of the [`Config`] are
    /// not applied to it.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub fn on_transport(self, transport: Arc<dyn Transport>) -> io::Result<KcpListener> {
        self.on_transports(vec![transport])
    }

    /// Listens on several transports of datagrams that have one address, as sockets with
    /// `SO_REUSEPORT` do, with a task for each; at most 256.
    ///
    /// A peer's datagrams may come in by any of them. They should use one: a datagram that arrives by
    /// another is passed to the task of the first, which takes a queue and a copy.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] if there are none or too many, and as [`bind`](Self::bind).
    pub fn on_transports(self, transports: Vec<Arc<dyn Transport>>) -> io::Result<KcpListener> {
        self.check()?;
        let runtime = runtime::Handle::try_current().map_err(io::Error::other)?;
        if transports.is_empty() {
            let reason = "a listener needs a transport";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let endpoints =
            Endpoint::listening(transports, &self.security, &self.config, &self.listener)?;
        let registries = Registry::listening(endpoints);
        for registry in &registries {
            runtime.spawn(Driver::new(Arc::clone(registry), RECEIVE_SLOTS));
        }
        Ok(KcpListener { registries })
    }

    /// What cannot work should cost neither a lookup nor a socket.
    fn check(&self) -> io::Result<()> {
        self.config.layout(self.security.overhead())?;
        runtime::Handle::try_current().map_err(io::Error::other)?;
        Ok(())
    }
}

impl Drop for KcpListener {
    fn drop(&mut self) {
        self.stop_accepting();
    }
}

fn accepted(connection: Arc<Connection>) -> (KcpStream, SocketAddr) {
    let peer = connection.path().peer;
    (KcpStream::new(Handle(connection)), peer)
}

/// Receive buffers of a listener: as many as one call can fill.
const RECEIVE_SLOTS: usize = 32;
