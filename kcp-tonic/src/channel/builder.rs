//! How a channel is made.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, Uri};
use kcp_tower::{BoxError, Config, KcpConnectorBuilder, Security};
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
use tonic::transport::ClientTlsConfig;

use super::destination::Destination;
use super::error::ConnectFailure;
use super::recipe::Recipe;
use super::set::SetOptions;
use super::{ChannelError, KcpChannel};

/// Makes a [`KcpChannel`].
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use kcp_tonic::{Config, KcpChannel, Security};
///
/// let channel = KcpChannel::builder(&Security::Plaintext)
///     .config(&Config::builder().windows(4096, 4096).build()?)
///     .timeout(Duration::from_secs(5))
///     .connect("kcp://example.com:4000")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until it connects"]
pub struct KcpChannelBuilder {
    pub(super) recipe: Recipe,
    pub(super) set: SetOptions,
}

impl KcpChannelBuilder {
    pub(super) fn new(security: &Security) -> Self {
        Self {
            recipe: Recipe::new(security),
            set: SetOptions::default(),
        }
    }

    /// The configuration of the transport. Default [`Config::default`]. The windows of HTTP/2 follow
    /// from it, see [`Windows`](kcp_tower::http2::Windows).
    pub fn config(mut self, config: &Config) -> Self {
        self.recipe.connector = self.recipe.connector.config(config);
        self
    }

    /// Changes the connector: its resolver, its sockets, its transport.
    pub fn connector(
        mut self,
        change: impl FnOnce(KcpConnectorBuilder) -> KcpConnectorBuilder,
    ) -> Self {
        self.recipe.connector = change(self.recipe.connector);
        self
    }

    /// TLS inside the connection, as tonic configures it. For destinations `kcps://` and `https://`,
    /// which need it; with others it is an error, so that TLS is never left out silently.
    ///
    /// The name to check in the server's certificate is the host of the destination, unless
    /// [`ClientTlsConfig::domain_name`] is set.
    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))))]
    pub fn tls_config(mut self, tls: ClientTlsConfig) -> Self {
        self.recipe.tls = Some(tls);
        self
    }

    /// How long a call may take, unless its request has a timeout of its own. Default: no limit.
    ///
    /// The time to connect is not part of it: [`Config::connect_timeout`](crate::Config::connect_timeout) limits that.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.recipe.settings.timeout = Some(timeout);
        self
    }

    /// What stands in the header `user-agent` before tonic's own name.
    pub fn user_agent(mut self, user_agent: HeaderValue) -> Self {
        self.recipe.settings.user_agent = Some(user_agent);
        self
    }

    /// Scheme and authority of requests as the server sees them. Default: those of the destination.
    pub fn origin(mut self, origin: Uri) -> Self {
        self.recipe.settings.origin = Some(origin);
        self
    }

    /// Most calls at a time. A call is counted until its response begins. Default: no limit.
    pub fn concurrency_limit(mut self, calls: usize) -> Self {
        self.recipe.settings.concurrency_limit = Some(calls);
        self
    }

    /// Most calls that begin within a time. Default: no limit.
    pub fn rate_limit(mut self, calls: u64, within: Duration) -> Self {
        self.recipe.settings.rate_limit = Some((calls, within));
        self
    }

    /// Calls that may wait for the connection before further ones are not ready. Default 1024.
    pub fn buffer_size(mut self, calls: usize) -> Self {
        self.recipe.settings.buffer_size = Some(calls);
        self
    }

    /// Largest HTTP/2 frame that the server may send, in bytes, 16 384 to 16 777 215. Default 16 384.
    pub fn max_frame_size(mut self, bytes: u32) -> Self {
        self.recipe.settings.max_frame_size = Some(bytes);
        self
    }

    /// Most bytes of the headers of a response. Default 16 384.
    pub fn max_header_list_size(mut self, bytes: u32) -> Self {
        self.recipe.settings.max_header_list_size = Some(bytes);
        self
    }

    /// Sends an HTTP/2 PING after each interval without received data. Default: none.
    ///
    /// The transport finds dead peers itself, by [`Config::keepalive`], [`Config::user_timeout`] and
    /// [`Config::idle_timeout`], and a PING that queues behind data of a slow link can end a healthy
    /// connection. grpc-go's servers allow no interval under five minutes. It is for middleboxes of HTTP/2
    /// behind the KCP server. The answer may take as long as the interval, and at least 20 s.
    pub fn http2_keep_alive_interval(mut self, interval: Duration) -> Self {
        self.recipe.settings.keep_alive_interval = Some(interval);
        self
    }

    /// Connects, and returns a channel that connects again when the connection is lost.
    ///
    /// # Errors
    ///
    /// - [`ChannelError::Uri`], [`ChannelError::Destination`]: no connection can be made to such a
    ///   destination.
    /// - [`ChannelError::TlsUnused`], [`ChannelError::TlsMissing`]: scheme and TLS do not go together.
    /// - [`ChannelError::Tls`]: the TLS configuration is invalid.
    /// - [`ChannelError::Config`]: the mtu has no room for data under the cipher.
    /// - [`ChannelError::Connect`]: there was no connection; [`ConnectFailure::cause`] leads to the
    ///   [`ConnectError`](crate::ConnectError) that names each address tried.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up and leaves nothing behind.
    pub async fn connect<D>(self, destination: D) -> Result<KcpChannel, ChannelError>
    where
        D: TryInto<Uri>,
        D::Error: Into<BoxError>,
    {
        let timeout = self.recipe.timeout();
        let (endpoint, connector) = self.recipe.build(Destination::parse(destination)?)?;
        let connecting = endpoint.connect_with_connector(connector.clone());
        let channel = connecting.await.map_err(|error| {
            ChannelError::Connect(ConnectFailure::new(endpoint.uri().clone(), error))
        })?;
        Ok(KcpChannel::new((endpoint, connector), channel, timeout))
    }

    /// A channel that connects at the first call. Must be called within a tokio runtime.
    ///
    /// Calls fail with `Unavailable` while no connection can be made.
    ///
    /// # Errors
    ///
    /// As [`KcpChannelBuilder::connect`], but for [`ChannelError::Connect`].
    pub fn connect_lazy<D>(self, destination: D) -> Result<KcpChannel, ChannelError>
    where
        D: TryInto<Uri>,
        D::Error: Into<BoxError>,
    {
        let timeout = self.recipe.timeout();
        let (endpoint, connector) = self.recipe.build(Destination::parse(destination)?)?;
        let channel = endpoint.connect_with_connector_lazy(connector.clone());
        Ok(KcpChannel::new((endpoint, connector), channel, timeout))
    }
}

impl fmt::Debug for KcpChannelBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KcpChannelBuilder")
            .field("connector", &self.recipe.connector)
            .field("selection", &self.set.selection)
            .finish_non_exhaustive()
    }
}
