//! From host names to addresses.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

/// What [`Resolve::resolve`] returns.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// Finds the addresses of a host name.
///
/// Asked for names only: addresses in a URI never get here. The connector tries the addresses in
/// the order given. Closures are resolvers:
///
/// ```
/// # use kcp_tower::KcpConnector;
/// # use kcp_tower::kcp_transport::crypto::Security;
/// let connector = KcpConnector::new(Security::Plaintext)
///     .with_resolver(|_host: String, port: u16| async move { Ok(vec![([127, 0, 0, 1], port).into()]) });
/// ```
pub trait Resolve: Send + Sync {
    /// Finds the addresses of `host`, with the given port.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the connector gives up, and should leave nothing to be done then.
    fn resolve(&self, host: &str, port: u16) -> Resolving;
}

impl<F, R> Resolve for F
where
    F: Fn(String, u16) -> R + Send + Sync,
    R: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    fn resolve(&self, host: &str, port: u16) -> Resolving {
        Box::pin(self(host.to_owned(), port))
    }
}

/// Asks the operating system, for IPv4 and IPv6. The connector's default.
///
/// A question that was asked is not taken back when its future is dropped: one of the runtime's
/// threads for blocking calls waits for the answer, which nobody reads.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> Resolving {
        let host = host.to_owned();
        Box::pin(async move {
            tokio::net::lookup_host((host, port))
                .await
                .map(Iterator::collect)
        })
    }
}
