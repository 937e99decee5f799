//! Connections for clients of hyper, tonic and tower.

mod builder;
mod poison;
mod resolve;
mod target;

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kcp_transport::{
    Config, ConnectAttempt, ConnectError, ConnectErrorReason, ConnectionInfo, ConnectionState,
    KcpStream, Security, Transport, WeakConnectionInfo,
};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tower_service::Service;

pub use self::builder::KcpConnectorBuilder;
pub use self::poison::{Poison, PoisonFuture, PoisonLayer};
#[cfg(feature = "balance")]
pub(crate) use self::resolve::LookingUp;
pub(crate) use self::resolve::{Lookup, Resolver};
use self::target::Target;
use crate::KcpIo;
use crate::http2::{MAX_STREAM_ERRORS, RESET_STREAMS, Windows};

/// Makes KCP connections.
///
/// It is a `Service<Uri>`, the connector of hyper-util's client and of tonic, and a
/// `Service<SocketAddr>`, which makes it a `MakeConnection<SocketAddr>` of tower. Each connection has
/// a UDP socket of its own, as servers made with kcp-go need it.
///
/// Of a URI it uses host and port. The default port is 80 for `http` and `ws`, and 443 for `https`
/// and `wss`; `kcp` and `kcps` have none. It does no TLS, so URIs of `https`, `wss` and `kcps` are
/// errors unless a layer around the connector does TLS: see [`KcpConnectorBuilder::enforce_http`].
/// HTTP clients send the scheme to the server, so prefer `http://host:port`.
///
/// The addresses of a name are raced, both families in turns, each with a head start of 250 ms over
/// the next (RFC 8305). Over [transports](KcpConnectorBuilder::transport) they are tried one after
/// the other, each for an equal share of the time. [`Config::connect_timeout`] bounds the whole:
/// finding the addresses and trying them. A [`ConnectError`](crate::ConnectError) lists each address
/// with its reason.
#[derive(Clone)]
pub struct KcpConnector {
    shared: Arc<Shared>,
}

struct Shared {
    security: Security,
    config: Config,
    windows: Windows,
    resolver: Arc<dyn Lookup>,
    make_transport: Option<MakeTransport>,
    local_addr: Option<SocketAddr>,
    prepare_socket: Option<PrepareSocket>,
    on_connect: Option<OnConnect>,
    enforce_http: bool,
    made: Made,
}

type MakeTransport = Arc<dyn Fn(SocketAddr) -> io::Result<Arc<dyn Transport>> + Send + Sync>;

type PrepareSocket = Arc<dyn Fn(&UdpSocket) -> io::Result<()> + Send + Sync>;
type OnConnect = Arc<dyn Fn(&ConnectionInfo) + Send + Sync>;

/// The connections that were made.
#[derive(Default)]
struct Made(Mutex<Vec<WeakConnectionInfo>>);

impl KcpConnector {
    /// A connector with the default [`Config`] and the system's name resolution.
    ///
    /// ```
    /// use kcp_tower::{KcpConnector, Security};
    ///
    /// let connector = KcpConnector::new(&Security::Plaintext);
    /// ```
    #[must_use]
    pub fn new(security: &Security) -> Self {
        Self::builder(security).build_with(Windows::default())
    }

    /// Everything else: configuration, resolver, transport.
    pub fn builder(security: &Security) -> KcpConnectorBuilder {
        KcpConnectorBuilder::new(security)
    }

    /// A builder of hyper-util's client, with timers and with the settings of
    /// [`http2`](crate::http2).
    ///
    /// # Idle connections
    ///
    /// They stay for 25 s, because a server made with [`serve`](crate::serve()) closes those of HTTP/1
    /// after 30 s. An idle connection costs memory on both sides and, with
    /// [`Config::keepalive`], a packet in each interval that keeps the bindings of NATs alive; those last
    /// for 30 s and more. Without it, keep idle connections for a shorter time than those bindings:
    /// [`pool_idle_timeout`](legacy::Builder::pool_idle_timeout). Connecting takes one round trip, so
    /// a short time costs little.
    ///
    /// # Dying connections
    ///
    /// The pool hands out no connection that has ended: the transport ends it by
    /// [`Config::user_timeout`] or [`Config::idle_timeout`] once its peer is silent. A
    /// [`PoisonLayer`] around the client takes it out of the pool earlier. An application that
    /// suspects a connection for reasons of its own, because a request takes too long, does so by
    /// [`Connected::poison`](legacy::connect::Connected::poison) of hyper-util. Requests that it has
    /// already go on, and the next ones get another connection:
    ///
    /// ```
    /// use hyper_util::client::legacy::connect::capture_connection;
    ///
    /// let mut request = http::Request::new(());
    /// let captured = capture_connection(&mut request);
    /// // The request is sent, and there is no answer in time.
    /// if let Some(connected) = captured.connection_metadata().as_ref() {
    ///     connected.poison();
    /// }
    /// ```
    ///
    /// # Example
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::Empty;
    /// use kcp_tower::{KcpConnector, Security};
    ///
    /// # #[tokio::main] async fn main() {
    /// let connector = KcpConnector::new(&Security::Plaintext);
    /// let client = connector
    ///     .client_builder()
    ///     .http2_only(true)
    ///     .build::<_, Empty<Bytes>>(connector.clone());
    /// # }
    /// ```
    #[must_use]
    pub fn client_builder(&self) -> legacy::Builder {
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .http2_adaptive_window(false)
            .http2_initial_stream_window_size(self.shared.windows.stream)
            .http2_initial_connection_window_size(self.shared.windows.connection)
            .http2_max_concurrent_reset_streams(RESET_STREAMS)
            .http2_max_local_error_reset_streams(MAX_STREAM_ERRORS);
        builder
    }

    /// Moves all connections that this connector and its clones have made to other sockets, after a
    /// change of network; returns how many have moved.
    ///
    /// A connection stays where it is if its peer does not support migration, see
    /// [`KcpStream::rebind`]; it ends by its time-outs if the old address is gone. Must be called
    /// within a tokio runtime.
    pub fn rebind(&self) -> usize {
        let alive = self.connections();
        alive.iter().filter(|it| it.rebind().is_ok()).count()
    }

    /// The connections that this connector and its clones have made and that have not ended.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.shared.made.alive()
    }

    /// The configuration of connections.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The HTTP/2 windows that fit the configuration of connections.
    #[must_use]
    pub fn http2_windows(&self) -> Windows {
        self.shared.windows
    }
}

impl fmt::Debug for KcpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KcpConnector")
            .field("security", &self.shared.security)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl Service<Uri> for KcpConnector {
    type Response = KcpIo;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Connecting {
        let shared = Arc::clone(&self.shared);
        Connecting::new(async move {
            let target = Target::of(&uri, shared.enforce_http)?;
            let (addresses, config) = shared.addresses(&target).await?;
            shared.connect(&target, &config, addresses).await
        })
    }
}

impl Service<SocketAddr> for KcpConnector {
    type Response = KcpIo;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, addr: SocketAddr) -> Connecting {
        let shared = Arc::clone(&self.shared);
        Connecting::new(async move {
            let target = Target::from(addr);
            shared.connect(&target, &shared.config, vec![addr]).await
        })
    }
}

impl Made {
    fn alive(&self) -> Vec<ConnectionInfo> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().filter_map(alive).collect()
    }

    /// Adds one, and forgets those that have ended.
    fn push(&self, connection: &ConnectionInfo) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|it| alive(it).is_some());
        made.push(connection.downgrade());
    }
}

/// The connection, unless it has ended. A pool or a response may hold the description of one that has.
fn alive(connection: &WeakConnectionInfo) -> Option<ConnectionInfo> {
    let connection = connection.upgrade()?;
    let ended = matches!(connection.state(), ConnectionState::Closed(_));
    (!ended).then_some(connection)
}

impl Shared {
    /// The addresses of a target, and the configuration with the time that is left to try them.
    async fn addresses(&self, target: &Target) -> io::Result<(Vec<SocketAddr>, Config)> {
        if let Some(addr) = target.addr() {
            return Ok((vec![addr], self.config.clone()));
        }
        let unresolved = |error| target.unresolved(ConnectErrorReason::Resolve(error));
        // The time-out needs a runtime, and panics without one.
        Handle::try_current().map_err(|missing| unresolved(io::Error::other(missing)))?;
        let lookup = if target.has_zone() {
            // Zones are names of interfaces, which only the system can resolve.
            Resolver(GaiResolver::new()).lookup(&target.host)
        } else {
            self.resolver.lookup(&target.host)
        };
        let limit = self.config.connect_timeout();
        let end = now() + limit;
        let addresses = tokio::time::timeout_at(end, lookup).await;
        let too_slow = |_| target.unresolved(ConnectErrorReason::ResolveTimeout(limit));
        let addresses = addresses.map_err(too_slow)?.map_err(unresolved)?;
        if addresses.is_empty() {
            return Err(target.unresolved(ConnectErrorReason::NoAddress));
        }
        let addresses = addresses.into_iter().map(|it| target.with_port(it));
        let left = end.saturating_duration_since(now());
        Ok((addresses.collect(), with_time_limit(&self.config, left)?))
    }

    async fn connect(
        &self,
        target: &Target,
        config: &Config,
        addresses: Vec<SocketAddr>,
    ) -> io::Result<KcpIo> {
        let stream = match &self.make_transport {
            Some(make) => self.connect_over(make, config, &addresses).await,
            None => self.connect_from_socket(config, &addresses).await,
        };
        let stream = stream.map_err(|attempts| target.unreachable(attempts))?;
        let info = stream.info();
        self.made.push(&info);
        if let Some(hook) = &self.on_connect {
            hook(&info);
        }
        Ok(KcpIo::new(stream))
    }

    /// Connects to the first address that answers, each from a socket of its own.
    async fn connect_from_socket(
        &self,
        config: &Config,
        addresses: &[SocketAddr],
    ) -> Result<KcpStream, Vec<ConnectAttempt>> {
        let mut builder = KcpStream::builder(&self.security).config(config);
        if let Some(addr) = self.local_addr {
            builder = builder.local_addr(addr);
        }
        if let Some(hook) = &self.prepare_socket {
            let hook = Arc::clone(hook);
            builder = builder.prepare_socket(move |socket| hook(socket));
        }
        let connected = builder.connect(addresses).await;
        connected.map_err(|error| attempts(error, addresses))
    }

    /// Tries the addresses in turn, each over a transport of its own.
    async fn connect_over(
        &self,
        make: &MakeTransport,
        config: &Config,
        addresses: &[SocketAddr],
    ) -> Result<KcpStream, Vec<ConnectAttempt>> {
        let share = share_of(config.connect_timeout(), addresses.len());
        let config = with_time_limit(config, share).map_err(|error| attempts(error, addresses))?;
        let mut failed = Vec::new();
        for &addr in addresses {
            let opened = match make(addr) {
                Ok(transport) => {
                    let builder = KcpStream::builder(&self.security).config(&config);
                    builder.transport(transport).connect(addr).await
                }
                Err(error) => Err(error),
            };
            match opened {
                Ok(stream) => return Ok(stream),
                Err(error) => failed.append(&mut attempts(error, &[addr])),
            }
        }
        Err(failed)
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the lookup takes part of the connect time-out, which the transport counts from its own call"
)]
fn now() -> Instant {
    Instant::now()
}

fn with_time_limit(config: &Config, limit: Duration) -> io::Result<Config> {
    let config = config.to_builder();
    Ok(config.connect_timeout(limit.max(MIN_TIME_LIMIT)).build()?)
}

/// The part of a time that each of several addresses gets.
fn share_of(time: Duration, addresses: usize) -> Duration {
    time / u32::try_from(addresses).unwrap_or(u32::MAX).max(1)
}

/// The attempts that an error of the transport consists of.
fn attempts(error: io::Error, addresses: &[SocketAddr]) -> Vec<ConnectAttempt> {
    let error = match error.downcast::<ConnectError>() {
        Ok(error) if !error.attempts().is_empty() => {
            return match error.into_reason() {
                ConnectErrorReason::Failed(attempts) => attempts,
                _ => Vec::new(),
            };
        }
        Ok(other) => other.into(),
        Err(error) => error,
    };
    let first = addresses
        .first()
        .map(|addr| ConnectAttempt::new(*addr, error));
    first.into_iter().collect()
}

/// A connection that is being made.
///
/// # Cancel safety
///
/// Dropping it gives the connection up and leaves nothing behind; the connector can be called again.
#[must_use = "futures do nothing unless polled"]
pub struct Connecting {
    connecting: Pin<Box<dyn Future<Output = io::Result<KcpIo>> + Send>>,
}

impl Connecting {
    fn new(connecting: impl Future<Output = io::Result<KcpIo>> + Send + 'static) -> Self {
        Self {
            connecting: Box::pin(connecting),
        }
    }
}

impl Future for Connecting {
    type Output = io::Result<KcpIo>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.connecting.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").finish_non_exhaustive()
    }
}

/// Shortest connect time-out that the transport takes.
const MIN_TIME_LIMIT: Duration = Duration::from_millis(10);

/// Shorter than the 30 s that hyper's server waits for the next request of HTTP/1.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_share_the_connect_timeout() {
        let whole = Duration::from_secs(10);
        let share = |addresses| share_of(whole, addresses);
        assert_eq!((share(0), share(1), share(4)), (whole, whole, whole / 4));
        let limited = with_time_limit(&Config::default(), share(usize::MAX)).unwrap();
        assert_eq!(limited.connect_timeout(), MIN_TIME_LIMIT);
    }
}
