//! Options of the connecting side.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use tokio::runtime;

use crate::config::{Config, Mode};
use crate::crypto::Security;
use crate::error::{ConfigError, ConnectAttempt, ConnectErrorReason};
use crate::net::connection::Handle;
use crate::net::endpoint::{Endpoint, Purpose};
use crate::net::io::{Socket, SocketHook, SocketMaker, Transport, spelled_for};
use crate::session::Role;
use crate::wire::ConversationId;

use super::addrs::ToAddrs;
use super::descriptor::with_descriptor;
use super::race::race;
use super::resolve::resolve;
use super::shared::SharedTransport;
use super::{Limit, Opening, alone, answered};

/// Everything about a connection but its peer: made by [`KcpStream::builder`] and
/// [`KcpEndpoint::builder`].
///
/// Unless one is given, each connection gets a UDP socket of its own, of the peer's family, on a
/// free port. That is what kcp-go servers need. [`local_addr`](Self::local_addr),
/// [`socket`](Self::socket) and [`transport`](Self::transport) exclude each other: the last call
/// counts.
///
/// # Examples
///
/// ```no_run
/// use kcp_transport::{Config, KcpStream, Preset, Security};
///
/// # async fn example(security: &Security) -> std::io::Result<()> {
/// let config = Config::builder().preset(Preset::Fast3).build()?;
/// let stream = KcpStream::builder(security)
///     .config(&config)
///     .local_addr(([192, 0, 2, 7], 0).into())
///     .connect("example.com:4000")
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// [`KcpStream::builder`]: crate::net::KcpStream::builder
/// [`KcpEndpoint::builder`]: crate::net::KcpEndpoint::builder
#[derive(Debug)]
#[must_use = "a builder does nothing until it connects"]
pub struct ClientBuilder {
    options: Options,
    source: Source,
}

/// What all attempts to connect have in common.
#[derive(Debug)]
struct Options {
    security: Security,
    config: Config,
    maker: SocketMaker,
    conversation: Option<ConversationId>,
}

/// What datagrams leave through.
#[derive(Debug)]
enum Source {
    /// Sockets of ours, bound there if it is given.
    Bind(Option<SocketAddr>),
    Socket(UdpSocket),
    Transport(Arc<dyn Transport>),
}

impl ClientBuilder {
    pub(in crate::net) fn new(security: &Security) -> Self {
        Self {
            options: Options {
                security: security.clone(),
                config: Config::default(),
                maker: SocketMaker::default(),
                conversation: None,
            },
            source: Source::Bind(None),
        }
    }

    /// The options of connections. Default: [`Config::default`].
    pub fn config(mut self, config: &Config) -> Self {
        self.options.config = config.clone();
        self
    }

    /// The address to send from; port 0 picks a free one. Default: any address of the peer's family,
    /// and a free port.
    ///
    /// An address of one family reaches peers of that family; `[::]` reaches both where the system
    /// can. With a fixed port, the addresses of a host with several are tried from one socket, and
    /// the connection cannot [move](crate::net::KcpStream::rebind).
    pub fn local_addr(mut self, addr: SocketAddr) -> Self {
        self.source = Source::Bind(Some(addr));
        self
    }

    /// Sends through a socket of the caller's, which is made non-blocking and gets the socket
    /// options of the [`Config`].
    ///
    /// It should be connected to the peer or not at all. The connection cannot
    /// [move](crate::net::KcpStream::rebind) to another socket.
    pub fn socket(mut self, socket: UdpSocket) -> Self {
        self.source = Source::Socket(socket);
        self
    }

    /// Sends through any transport of datagrams.
    ///
    /// The socket options of the [`Config`] are not applied to it. Datagrams from another address
    /// than the peer's are dropped; addresses are compared as they are given.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.source = Source::Transport(transport);
        self
    }

    /// Calls `hook` with each socket that is made, before it is bound or connected; those that a
    /// connection [moves](crate::net::KcpStream::rebind) to are included, a
    /// [socket of the caller's](Self::socket) is not. Its error is one of connecting.
    ///
    /// For what must be done to a socket before it is used: `VpnService.protect(fd)` on Android,
    /// binding to a network device, marks for routing.
    ///
    /// ```no_run
    /// # use kcp_transport::{KcpStream, Security};
    /// # #[cfg(unix)]
    /// # async fn example(
    /// #     security: &Security,
    /// #     protect: fn(i32) -> std::io::Result<()>,
    /// # ) -> std::io::Result<()> {
    /// use std::os::fd::AsRawFd;
    ///
    /// let stream = KcpStream::builder(security)
    ///     .prepare_socket(move |socket| protect(socket.as_raw_fd()))
    ///     .connect("example.com:4000")
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn prepare_socket(
        mut self,
        hook: impl Fn(&UdpSocket) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.options.maker = SocketMaker::new(SocketHook::new(hook));
        self
    }

    /// The conversation id of the connection. Default: a random one.
    ///
    /// Do not use a constant. Late packets and retransmissions of an earlier connection carry the
    /// same id as the new one, and KCP cannot distinguish them: data of the old connection may be
    /// delivered in the new one. A listener of this crate refuses an id for two minutes after its
    /// connection from the same address has ended. A known id also makes forging packets easier.
    /// Set an id only for a peer that requires one, and a new one for each connection.
    ///
    /// An endpoint refuses it, since it draws one for each of its connections. kcp-go `NewConn3` and
    /// `NewConn4` (random otherwise).
    #[doc(alias = "conv")]
    pub fn conversation(mut self, id: impl Into<Option<ConversationId>>) -> Self {
        self.options.conversation = id.into();
        self
    }

    /// Keeps the boundaries of messages.
    pub(in crate::net) fn messages(mut self) -> Result<Self, ConfigError> {
        let config = self.options.config.to_builder().mode(Mode::Message);
        self.options.config = config.build()?;
        Ok(self)
    }

    /// Opens a connection to `target`: to the first of its addresses that answers, or, if the role
    /// does not wait for that, that a socket can be made for.
    pub(in crate::net) async fn open(self, target: impl ToAddrs, role: Role) -> io::Result<Handle> {
        let Self { options, source } = self;
        let runtime = options.check()?;
        let limit = Limit::new(options.config.connect_timeout());
        let addresses = resolve(&runtime, target, limit.left()).await?;
        let opened = match source {
            Source::Bind(local)
                if addresses.len() == 1 || local.is_none_or(|addr| addr.port() == 0) =>
            {
                race(&runtime, addresses, |peer| {
                    options.dial(local, peer, role, limit)
                })
                .await
            }
            source if addresses.len() == 1 => {
                let (endpoint, is_socket) = options.endpoint(source, Purpose::One)?;
                let peer = addresses[0];
                let opened = options.dial_alone(endpoint, is_socket, (peer, role), limit);
                opened
                    .await
                    .map_err(|error| vec![ConnectAttempt::new(peer, error)])
            }
            source => {
                let (endpoint, is_socket) = options.endpoint(source, Purpose::Connect)?;
                let shared = SharedTransport::start(endpoint, is_socket)?;
                race(&runtime, addresses, |peer| {
                    shared.dial(options.opening(peer, role), limit)
                })
                .await
            }
        };
        opened.map_err(|attempts| ConnectErrorReason::Failed(attempts).into())
    }

    /// A transport for any number of connections.
    pub(in crate::net) fn share(self) -> io::Result<SharedTransport> {
        self.options.share(self.source)
    }

    /// As [`Self::share`], bound to that address whatever was given before.
    pub(in crate::net) fn share_bound(&self, addr: SocketAddr) -> io::Result<SharedTransport> {
        self.options.share(Source::Bind(Some(addr)))
    }
}

impl Options {
    /// The runtime, if there can be connections: what cannot work should cost neither a lookup nor a
    /// socket.
    fn check(&self) -> io::Result<runtime::Handle> {
        self.config.layout(self.security.overhead())?;
        runtime::Handle::try_current().map_err(io::Error::other)
    }

    fn share(&self, source: Source) -> io::Result<SharedTransport> {
        self.check()?;
        if self.conversation.is_some() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an endpoint draws a random conversation id for each connection; remove the conversation option",
            ));
        }
        let (endpoint, is_socket) = self.endpoint(source, Purpose::Connect)?;
        SharedTransport::start(endpoint, is_socket)
    }

    /// Connects from a socket of its own.
    async fn dial(
        &self,
        local: Option<SocketAddr>,
        peer: SocketAddr,
        role: Role,
        limit: Limit,
    ) -> io::Result<Handle> {
        let within = limit.check(role)?;
        let connect = || self.maker.connect(local, peer, &self.config);
        let (socket, peer) = with_descriptor(connect).await?;
        let endpoint = self.endpoint_on(socket, Purpose::One)?;
        let handle = alone::open(endpoint, self.opening(peer, role))?;
        answered(handle, role, within).await
    }

    /// Connects over the only transport to the only address.
    async fn dial_alone(
        &self,
        endpoint: Endpoint,
        is_socket: bool,
        (peer, role): (SocketAddr, Role),
        limit: Limit,
    ) -> io::Result<Handle> {
        let within = limit.check(role)?;
        let peer = if is_socket {
            spelled_for(&*endpoint.transport(), peer)?
        } else {
            peer
        };
        let handle = alone::open(endpoint, self.opening(peer, role))?;
        answered(handle, role, within).await
    }

    fn opening(&self, peer: SocketAddr, role: Role) -> Opening {
        Opening {
            peer,
            role,
            conversation: self.conversation,
        }
    }

    /// An endpoint on a source, and whether that is a socket.
    fn endpoint(&self, source: Source, purpose: Purpose) -> io::Result<(Endpoint, bool)> {
        let (transport, is_socket): (Arc<dyn Transport>, _) = match source {
            Source::Bind(local) => {
                let socket = self.maker.bind_client(local, &self.config)?;
                return Ok((self.endpoint_on(socket, purpose)?, true));
            }
            Source::Socket(socket) => (Arc::new(Socket::adopt(socket, &self.config)?), true),
            Source::Transport(transport) => (transport, false),
        };
        let endpoint = Endpoint::new(transport, &self.security, &self.config, purpose)?;
        Ok((endpoint, is_socket))
    }

    /// An endpoint on a socket of ours, which another may take the place of.
    fn endpoint_on(&self, socket: Socket, purpose: Purpose) -> io::Result<Endpoint> {
        let socket = (socket, self.maker.clone());
        Endpoint::on_socket(socket, &self.security, &self.config, purpose)
    }
}
