//! Connections for clients of hyper, tonic and tower.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{ConnectionInfo, KcpStream, WeakConnectionInfo};
use tokio::runtime::Handle;
use tower_service::Service;

use crate::{KcpIo, Resolve, SystemResolver, http2};

/// Makes KCP connections.
///
/// It is a `Service<Uri>`, which is what hyper-util's client and tonic ask of a connector, and a
/// `Service<SocketAddr>`, which makes it a `MakeConnection<SocketAddr>` of tower. Each connection
/// has a UDP socket of its own, as servers made with kcp-go need it.
///
/// Of a URI it reads host and port; the scheme `http` means port 80 and `https` port 443 unless a
/// port is given, `kcp` has no default port. It does no TLS: that goes around it. Prefer
/// `http://host:port`, because HTTP clients send the scheme to the server.
///
/// A name can have several addresses. They are tried in order, and share
/// [`Config::connect_timeout`] equally. Finding them may take as long once more, so that connecting
/// by name can take twice the time-out.
#[derive(Clone)]
pub struct KcpConnector {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    security: Security,
    config: Config,
    resolver: Arc<dyn Resolve>,
    made: Arc<Made>,
}

/// The connections that were made.
#[derive(Default)]
struct Made(Mutex<Vec<WeakConnectionInfo>>);

impl KcpConnector {
    /// A connector with the default configuration and the system's name resolution.
    #[must_use]
    pub fn new(security: Security) -> Self {
        Self {
            shared: Arc::new(Shared {
                security,
                config: Config::default(),
                resolver: Arc::new(SystemResolver),
                made: Arc::default(),
            }),
        }
    }

    /// Uses another configuration for the connections made from now on.
    #[must_use]
    pub fn with_config(mut self, config: Config) -> Self {
        Arc::make_mut(&mut self.shared).config = config;
        self
    }

    /// Uses another way to find the addresses of names.
    #[must_use]
    pub fn with_resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        Arc::make_mut(&mut self.shared).resolver = Arc::new(resolver);
        self
    }

    /// Moves all connections that this connector and its clones have made to other sockets, after a
    /// change of network; returns how many have moved.
    ///
    /// The others are those of peers that do not follow, see
    /// [`KcpStream::rebind`](kcp_transport::net::KcpStream::rebind); they end by their time-outs if the old
    /// address is gone. Must be called within a tokio runtime.
    pub fn rebind(&self) -> usize {
        let made = self.shared.made.alive();
        made.iter().filter(|it| it.rebind().is_ok()).count()
    }

    /// The configuration of connections.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
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
            let target = Target::of(&uri)?;
            let addresses = shared.addresses(&target).await?;
            shared.connect(&target, addresses).await
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
            let target = Target {
                host: addr.ip().to_string(),
                port: addr.port(),
            };
            shared.connect(&target, vec![addr]).await
        })
    }
}

impl Made {
    fn alive(&self) -> Vec<ConnectionInfo> {
        let made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter()
            .filter_map(WeakConnectionInfo::upgrade)
            .collect()
    }

    /// Adds one, and forgets those that are over.
    fn push(&self, connection: &ConnectionInfo) {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|it| it.upgrade().is_some());
        made.push(connection.downgrade());
    }
}

impl Shared {
    async fn addresses(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = target.host.parse() {
            return Ok(vec![SocketAddr::new(ip, target.port)]);
        }
        // The time-out needs a runtime, and panics without one.
        Handle::try_current()
            .map_err(|missing| target.failed(Vec::new(), io::Error::other(missing)))?;
        let resolving = self.resolver.resolve(&target.host, target.port);
        let addresses = tokio::time::timeout(self.config.connect_timeout(), resolving)
            .await
            .unwrap_or_else(|elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, elapsed)))
            .map_err(|source| target.failed(Vec::new(), source))?;
        if addresses.is_empty() {
            let source = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            return Err(target.failed(addresses, source));
        }
        Ok(addresses)
    }

    async fn connect(&self, target: &Target, addresses: Vec<SocketAddr>) -> io::Result<KcpIo> {
        let config = self.config_for_one_of(addresses.len())?;
        let mut last = None;
        for &addr in &addresses {
            match KcpStream::connect_with(addr, &self.security, &config).await {
                Ok(stream) => {
                    self.made.push(&stream.info());
                    return Ok(KcpIo::new(stream));
                }
                Err(error) => {
                    tracing::debug!(%addr, %error, "address did not answer");
                    last = Some(error);
                }
            }
        }
        let last = last.unwrap_or_else(|| io::ErrorKind::NotFound.into());
        Err(target.failed(addresses, last))
    }

    fn config_for_one_of(&self, addresses: usize) -> io::Result<Config> {
        let addresses = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
        let share = self.config.connect_timeout() / addresses;
        let config = self.config.to_builder();
        Ok(config.connect_timeout(share.max(MIN_SHARE)).build()?)
    }
}

/// Host and port to connect to. The host is without brackets.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
}

impl Target {
    fn of(uri: &Uri) -> io::Result<Self> {
        let refused = |problem| {
            let message = format!("cannot connect to {uri:?}: {problem}");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let default_port = match uri.scheme_str() {
            Some("http") => Some(80),
            Some("https") => Some(443),
            Some("kcp") | None => None,
            Some(_) => return Err(refused("the scheme is none of http, https and kcp")),
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| refused("it has no host"))?;
        let port = uri.port_u16().or(default_port);
        let port = port.ok_or_else(|| refused("it has no port, and its scheme no default"))?;
        let host = match host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')) {
            Some(v6) => match v6.parse::<Ipv6Addr>() {
                Ok(ip) => ip.to_string(),
                Err(_) => return Err(refused("the host is no IPv6 address")),
            },
            None => host.to_owned(),
        };
        Ok(Self { host, port })
    }

    fn failed(&self, addresses: Vec<SocketAddr>, source: io::Error) -> io::Error {
        io::Error::new(
            source.kind(),
            ConnectError {
                host: self.host.clone(),
                port: self.port,
                addresses,
                source,
            },
        )
    }
}

/// Why no connection was made: inside the [`io::Error`] of a [`KcpConnector`], which has the kind
/// of the last cause.
#[derive(Debug, thiserror::Error)]
pub struct ConnectError {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
    source: io::Error,
}

impl ConnectError {
    /// The addresses that were tried, all in vain. None if the name could not be resolved.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        match self.addresses.as_slice() {
            [] => write!(f, "cannot find the address of {host}: {}", self.source),
            [addr] if addr.ip().to_string() == *host => {
                write!(f, "no KCP connection to {addr}: {}", self.source)
            }
            [first, rest @ ..] => {
                write!(f, "no KCP connection to {host}:{port}, tried {first}")?;
                for addr in rest {
                    write!(f, ", {addr}")?;
                }
                write!(f, ": {}", self.source)
            }
        }
    }
}

/// A connection in the making.
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

/// A builder of hyper-util's client with the settings of [`http2`], timers included.
///
/// Idle connections are closed before a server made with [`serve`](crate::serve()) would do it.
#[must_use]
pub fn client_builder() -> legacy::Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .http2_adaptive_window(false)
        .http2_initial_stream_window_size(http2::STREAM_WINDOW)
        .http2_initial_connection_window_size(http2::CONNECTION_WINDOW)
        .http2_keep_alive_interval(http2::KEEP_ALIVE_INTERVAL)
        .http2_keep_alive_timeout(http2::KEEP_ALIVE_TIMEOUT)
        .http2_keep_alive_while_idle(true);
    builder
}

/// Shortest connect time-out that the transport takes.
const MIN_SHARE: Duration = Duration::from_millis(10);

/// Shorter than the 30 s that hyper's server waits for the next request of HTTP/1.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(25);

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Result<(String, u16), String> {
        let target = Target::of(&uri.parse().unwrap()).map_err(|error| {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            error.to_string()
        })?;
        Ok((target.host, target.port))
    }

    #[test]
    fn port_follows_scheme_unless_given() {
        assert_eq!(target("http://a.example/x"), Ok(("a.example".into(), 80)));
        assert_eq!(target("https://a.example"), Ok(("a.example".into(), 443)));
        assert_eq!(target("https://a.example:9"), Ok(("a.example".into(), 9)));
        assert_eq!(target("kcp://a.example:9"), Ok(("a.example".into(), 9)));
        assert_eq!(target("a.example:9"), Ok(("a.example".into(), 9)));
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(target("http://[::1]:9"), Ok(("::1".into(), 9)));
        assert_eq!(target("http://[::1]"), Ok(("::1".into(), 80)));
        let error = target("http://[v1.a]:9").unwrap_err();
        assert!(error.ends_with("the host is no IPv6 address"), "{error}");
    }

    #[test]
    fn uris_that_name_no_server_are_refused() {
        for (uri, problem) in [
            ("/only/a/path", "it has no host"),
            (
                "kcp://a.example/",
                "it has no port, and its scheme no default",
            ),
            (
                "ftp://a.example:9/",
                "the scheme is none of http, https and kcp",
            ),
        ] {
            assert_eq!(
                target(uri),
                Err(format!("cannot connect to {uri}: {problem}"))
            );
        }
    }

    #[test]
    fn addresses_share_the_connect_timeout() {
        let connector = KcpConnector::new(Security::Plaintext);
        let share = |n| {
            let config = connector.shared.config_for_one_of(n).unwrap();
            config.connect_timeout()
        };
        let whole = connector.config().connect_timeout();
        assert_eq!((share(0), share(1), share(4)), (whole, whole, whole / 4));
        assert_eq!(share(usize::MAX), MIN_SHARE);
    }

    #[test]
    fn error_names_all_addresses_and_the_last_cause() {
        let target = Target {
            host: "a.example".into(),
            port: 9,
        };
        let addresses = vec![([10, 0, 0, 1], 9).into(), (Ipv6Addr::LOCALHOST, 9).into()];
        let error = target.failed(addresses, io::ErrorKind::ConnectionRefused.into());
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            error.to_string(),
            "no KCP connection to a.example:9, tried 10.0.0.1:9, [::1]:9: connection refused"
        );
    }
}
