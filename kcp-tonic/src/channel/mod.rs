//! gRPC channels over KCP.

mod builder;
mod destination;
mod error;
mod fan_out;
mod recipe;
mod resend;
mod service;
mod set;
mod stats;
mod status;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use kcp_tower::balance::{Balance, BalanceStats, Endpoint};
use kcp_tower::{BoxError, ConnectionInfo, KcpConnector, Security};
use tonic::transport::Channel;

pub use self::builder::KcpChannelBuilder;
pub use self::error::{ChannelError, ConnectFailure};
pub use self::fan_out::FanOutError;
pub use self::service::CallFuture;
use self::set::Grpc;
pub use self::stats::ChannelStats;
use crate::calls::Calls;

/// A gRPC channel over KCP, for the generated clients of tonic.
///
/// Clones are cheap and share the connection. When the connection is lost, the next call makes a new
/// one.
///
/// # Destinations
///
/// | form | connection |
/// |---|---|
/// | `kcp://host:port`, `host:port` | KCP, protected by [`Security`] |
/// | `kcps://host:port` | the same with TLS inside, with `KcpChannelBuilder::tls_config` of the feature `tls-ring` or `tls-aws-lc` |
/// | `http://`, `https://` | as `kcp` and `kcps`, with the default ports 80 and 443 |
///
/// The server sees the scheme `http` or `https`.
///
/// # Several servers
///
/// [`KcpChannelBuilder::connect_list`] and [`KcpChannelBuilder::connect_discover`] make a channel over
/// a set of servers, fixed or changing. A [`Selection`](crate::Selection) picks one for each call. A
/// call that finds no server fails at once with `Unavailable`; one without the key that its selection
/// needs fails with `InvalidArgument`. A [`Failure`](crate::Failure) decides what happens to a call that
/// fails.
///
/// # Status codes
///
/// The codes are those of gRPC's specification, also where tonic's own channel reports `Unknown` or
/// `Cancelled`:
///
/// - `Unavailable`: there is no connection, it was lost during the call, or the server closed it.
/// - `DeadlineExceeded`: the call took longer than its timeout.
///
/// A call that begins while the server's announcement of the end of the connection is on its way has
/// certainly not been processed. It is sent again on the next connection, within its deadline and up to
/// three times in all, unless more than 64 KiB of it have been read. Over several servers a
/// [`Failure`](crate::Failure) decides about that too.
///
/// # Concurrent calls
///
/// A server limits the open calls of one connection; those of [`server_builder`](crate::server_builder)
/// allow [`MAX_CONCURRENT_STREAMS`](kcp_tower::http2::MAX_CONCURRENT_STREAMS), which is 1024. A call
/// above the limit waits, without an error, until another one ends. [`KcpChannel::stats`] shows how
/// many wait.
///
/// # Example
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use kcp_tonic::{KcpChannel, Security};
///
/// let security = Security::from_password("aes-128-gcm", "a password", b"a salt")?;
/// let channel = KcpChannel::connect("kcp://example.com:4000", &security).await?;
/// // let mut client = GreeterClient::new(channel);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct KcpChannel {
    route: Route,
    calls: Arc<Calls>,
}

/// Where calls go.
#[derive(Clone)]
enum Route {
    One {
        channel: Channel,
        connector: KcpConnector,
        to: Arc<Uri>,
        timeout: Option<Duration>,
    },
    Set(Balance<Grpc>),
}

impl KcpChannel {
    /// Connects with the default configuration.
    ///
    /// # Errors
    ///
    /// As [`KcpChannelBuilder::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`KcpChannelBuilder::connect`].
    pub async fn connect<D>(destination: D, security: &Security) -> Result<Self, ChannelError>
    where
        D: TryInto<Uri>,
        D::Error: Into<BoxError>,
    {
        Self::builder(security).connect(destination).await
    }

    /// A channel that connects at the first call. Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`KcpChannelBuilder::connect_lazy`].
    pub fn connect_lazy<D>(destination: D, security: &Security) -> Result<Self, ChannelError>
    where
        D: TryInto<Uri>,
        D::Error: Into<BoxError>,
    {
        Self::builder(security).connect_lazy(destination)
    }

    /// A builder, for configuration, TLS, timeouts, limits, a resolver, or several servers.
    pub fn builder(security: &Security) -> KcpChannelBuilder {
        KcpChannelBuilder::new(security)
    }

    /// The calls of this channel and its clones. With the feature `metrics`, `ChannelStats::publish` passes
    /// them on.
    #[must_use]
    pub fn stats(&self) -> ChannelStats {
        ChannelStats::of(&self.calls)
    }

    /// The counters of a channel over several servers and of each of them; `None` for a channel to one
    /// destination. With the feature `metrics`, `BalanceStats::publish` passes them on.
    #[must_use]
    pub fn balance_stats(&self) -> Option<BalanceStats> {
        match &self.route {
            Route::One { .. } => None,
            Route::Set(balance) => Some(balance.stats()),
        }
    }

    /// The connections that have not ended, for their addresses and statistics.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        match &self.route {
            Route::One { connector, .. } => connector.connections(),
            Route::Set(balance) => {
                let mut all = Vec::new();
                balance.for_each_origin(|it| all.extend(it.connector().connections()));
                all
            }
        }
    }

    /// The servers that the channel knows now, with their weights and zones.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Endpoint> {
        match &self.route {
            Route::One { to, .. } => vec![Endpoint::new(Uri::clone(to))],
            Route::Set(balance) => balance.endpoints(),
        }
    }

    /// Moves all connections to other sockets, after a change of network; returns how many
    /// connections have moved. Calls and streams in flight go on from the new address.
    ///
    /// See [`KcpConnector::rebind`].
    pub fn rebind(&self) -> usize {
        match &self.route {
            Route::One { connector, .. } => connector.rebind(),
            Route::Set(balance) => {
                let mut moved = 0;
                balance.for_each_origin(|it| moved += it.connector().rebind());
                moved
            }
        }
    }

    /// How long a call may take, if its request has no shorter limit. Those to a set have theirs there.
    fn timeout(&self) -> Option<Duration> {
        match &self.route {
            Route::One { timeout, .. } => *timeout,
            Route::Set(_) => None,
        }
    }

    fn new(
        made: (tonic::transport::Endpoint, KcpConnector),
        channel: Channel,
        timeout: Option<Duration>,
    ) -> Self {
        let (endpoint, connector) = made;
        let route = Route::One {
            channel,
            connector,
            to: Arc::new(endpoint.uri().clone()),
            timeout,
        };
        Self {
            route,
            calls: Arc::default(),
        }
    }

    fn over_set(balance: Balance<Grpc>) -> Self {
        Self {
            route: Route::Set(balance),
            calls: Arc::default(),
        }
    }
}

impl fmt::Debug for KcpChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KcpChannel")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
