//! How a connector is made.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use kcp_transport::{Config, ConfigError, ConnectionInfo, Security, Transport};
use tower_service::Service;

use super::resolve::{Lookup, Resolver};
use super::{KcpConnector, Made, MakeTransport, OnConnect, PrepareSocket, Shared};
use crate::BoxError;
use crate::http2::Windows;

/// Makes a [`KcpConnector`].
///
/// ```
/// use kcp_tower::{Config, KcpConnector, Security};
///
/// # fn main() -> Result<(), kcp_tower::ConfigError> {
/// let connector = KcpConnector::builder(&Security::Plaintext)
///     .config(&Config::builder().windows(4096, 4096).build()?)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until it builds"]
pub struct KcpConnectorBuilder {
    security: Security,
    config: Config,
    resolver: Arc<dyn Lookup>,
    make_transport: Option<MakeTransport>,
    local_addr: Option<SocketAddr>,
    prepare_socket: Option<PrepareSocket>,
    on_connect: Option<OnConnect>,
    enforce_http: bool,
}

impl KcpConnectorBuilder {
    pub(super) fn new(security: &Security) -> Self {
        Self {
            security: security.clone(),
            config: Config::default(),
            resolver: Arc::new(Resolver(GaiResolver::new())),
            make_transport: None,
            local_addr: None,
            prepare_socket: None,
            on_connect: None,
            enforce_http: true,
        }
    }

    /// The configuration of connections. Default [`Config::default`].
    pub fn config(mut self, config: &Config) -> Self {
        self.config = config.clone();
        self
    }

    /// The address that connections leave from, usually with port 0: each has a socket of its own.
    /// Default: any address of the peer's family.
    pub fn local_addr(mut self, addr: SocketAddr) -> Self {
        self.local_addr = Some(addr);
        self
    }

    /// Calls `hook` with each socket that is made, before it is bound or connected. See
    /// [`ClientBuilder::prepare_socket`](kcp_transport::ClientBuilder::prepare_socket).
    pub fn prepare_socket(
        mut self,
        hook: impl Fn(&UdpSocket) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.prepare_socket = Some(Arc::new(hook));
        self
    }

    /// How host names become addresses: any resolver for hyper-util's `HttpConnector`. Default: the
    /// operating system's, hyper-util's `GaiResolver`.
    ///
    /// It is called for names only, never for addresses in a URI. The port of the URI replaces that
    /// of the addresses, unless the URI has none and the resolver gives one.
    ///
    /// ```
    /// use std::net::{SocketAddr, UdpSocket};
    ///
    /// use kcp_tower::{KcpConnector, Name, Security};
    ///
    /// let resolver = tower::service_fn(|_: Name| async {
    ///     Ok::<_, std::io::Error>(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 4000))))
    /// });
    /// let builder = KcpConnector::builder(&Security::Plaintext).resolver(resolver);
    /// ```
    pub fn resolver<R>(mut self, resolver: R) -> Self
    where
        R: Service<Name> + Clone + Send + Sync + 'static,
        R::Response: Iterator<Item = SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        self.resolver = Arc::new(Resolver(resolver));
        self
    }

    /// Makes the transport of each connection, given the peer's address. Default: a UDP socket.
    ///
    /// For datagrams that travel otherwise than by UDP, and for networks of tests. Such connections
    /// cannot be moved by [`KcpConnector::rebind`].
    pub fn transport(
        mut self,
        make: impl Fn(SocketAddr) -> io::Result<Arc<dyn Transport>> + Send + Sync + 'static,
    ) -> Self {
        self.make_transport = Some(Arc::new(make));
        self
    }

    /// Calls `hook` with each connection that was made, before it is used: to keep its statistics.
    pub fn on_connect(mut self, hook: impl Fn(&ConnectionInfo) + Send + Sync + 'static) -> Self {
        self.on_connect = Some(Arc::new(hook));
        self
    }

    /// Whether URIs whose scheme means TLS, `https`, `wss` and `kcps`, are errors. Default true.
    ///
    /// The connector does no TLS. Set it to false where a layer around it does, such as hyper-rustls'
    /// `HttpsConnector`. The setting has the same name in hyper-util's `HttpConnector`.
    pub fn enforce_http(mut self, enforce: bool) -> Self {
        self.enforce_http = enforce;
        self
    }

    /// The connector.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MtuTooSmall`] if the mtu has no room for data under the cipher.
    pub fn build(self) -> Result<KcpConnector, ConfigError> {
        let windows = Windows::for_config(&self.config, &self.security)?;
        Ok(self.build_with(windows))
    }

    pub(super) fn build_with(self, windows: Windows) -> KcpConnector {
        KcpConnector {
            shared: Arc::new(Shared {
                security: self.security,
                config: self.config,
                windows,
                resolver: self.resolver,
                make_transport: self.make_transport,
                local_addr: self.local_addr,
                prepare_socket: self.prepare_socket,
                on_connect: self.on_connect,
                enforce_http: self.enforce_http,
                made: Made::default(),
            }),
        }
    }
}

impl fmt::Debug for KcpConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KcpConnectorBuilder")
            .field("security", &self.security)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
