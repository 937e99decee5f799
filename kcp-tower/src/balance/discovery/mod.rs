//! Where the endpoints of a set come from.

mod addresses;
mod changes;
#[cfg(feature = "dns")]
mod dns;
mod file;
mod follow;
#[cfg(feature = "mdns")]
mod mdns;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::sync::mpsc;
use tower::discover::Change;
use tower_service::Service;

pub use self::changes::Changes;
use self::changes::Found;
#[cfg(feature = "dns")]
pub use self::dns::DnsResolver;
pub(super) use self::follow::follow;
#[cfg(feature = "mdns")]
pub use self::mdns::MdnsRegistration;
use super::Endpoint;
use crate::BoxError;
use crate::connector::{Lookup, Resolver};

/// Endpoints from a file, from DNS, or from any registry that can be read.
///
/// It is a [`Discover`](super::Discover) for [`BalanceBuilder::discover`](super::BalanceBuilder::discover) and
/// for the channels of kcp-tonic, and a stream of changes otherwise. It works only while it is polled,
/// and within a tokio runtime.
///
/// A source that cannot be read leaves the endpoints as they are, at the start as an empty set. The
/// error is reported once, until it changes or the source can be read again. A balancer logs it as a
/// warning, names it in the errors of requests that find no endpoint, and has it in
/// [`BalanceStats::problem`](super::BalanceStats::problem).
///
/// ```no_run
/// use std::time::Duration;
///
/// use kcp_tower::balance::Discovery;
///
/// let file = Discovery::file("/etc/greeter/servers", Duration::from_secs(1));
/// ```
#[must_use = "a discovery does nothing unless polled"]
pub struct Discovery {
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    found: mpsc::UnboundedReceiver<Found>,
}

impl Discovery {
    /// The endpoints of a file, which is read again after each `interval`. Changes of the content
    /// count, not those of its times.
    ///
    /// Each line has one endpoint in the text form of [`Endpoint`]; empty lines and those that begin
    /// with `#` are ignored:
    ///
    /// ```text
    /// # Frankfurt
    /// kcp://10.0.0.7:4000 weight=3 zone=eu-1
    /// kcp://10.0.0.8:4000 zone=eu-1 inactive
    /// # only if none of the others is usable
    /// kcp://10.1.0.7:4000 zone=us-1 priority=1
    /// ```
    ///
    /// A file that is missing, is longer than 1 MiB, has a wrong line, a duplicate or no endpoint at
    /// all is an error, and the endpoints stay as they are. A file that is written in place is empty for a
    /// moment; replace it by renaming another one. To take all servers out of use, mark them `inactive`.
    pub fn file(path: impl Into<PathBuf>, interval: Duration) -> Self {
        let path = path.into();
        Self::poll(interval, move || file::read(path.clone()))
    }

    /// The addresses of the host of a URI, such as `kcp://greeter.example:4000`, resolved again after
    /// each `interval` by the operating system. Each address is an endpoint of weight 1 with the scheme
    /// and port of the URI.
    ///
    /// A name without addresses is an error, and the endpoints stay as they are. With TLS inside,
    /// configure the name to check in the certificates, because the endpoints are addresses.
    pub fn dns(uri: Uri, interval: Duration) -> Self {
        Self::dns_with(GaiResolver::new(), uri, interval)
    }

    /// As [`Discovery::dns`], by a resolver of hyper-util's kind.
    pub fn dns_with<R>(resolver: R, uri: Uri, interval: Duration) -> Self
    where
        R: Service<Name> + Clone + Send + Sync + 'static,
        R::Response: Iterator<Item = std::net::SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send,
    {
        let resolver = Resolver(resolver);
        Self::poll(interval, move || {
            let host = addresses::host(&uri);
            let looking_up = host.as_deref().map(|host| resolver.lookup(host));
            addresses::resolve(uri.clone(), looking_up)
        })
    }

    /// The targets of the SRV records of a name, such as `_greeter._udp.example.com`, resolved again
    /// after each `interval`. The endpoints have the scheme `scheme`, such as `kcp`, and the weights and
    /// [priorities](Endpoint::priority) of the records; a weight of 0 counts as 1. Their hosts are names,
    /// which connectors resolve when they connect.
    ///
    /// A name without records is an error, and the endpoints stay as they are. A record whose target is
    /// the root means that there is no server, and leads to an empty set.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use kcp_tower::balance::{Discovery, DnsResolver};
    ///
    /// # fn run() -> std::io::Result<()> {
    /// let (resolver, interval) = (DnsResolver::system()?, Duration::from_secs(5));
    /// let discovery = Discovery::srv(resolver, "_greeter._udp.example.com", "kcp", interval);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "dns")]
    #[cfg_attr(docsrs, doc(cfg(feature = "dns")))]
    pub fn srv(
        resolver: DnsResolver,
        name: impl Into<String>,
        scheme: impl Into<String>,
        interval: Duration,
    ) -> Self {
        let (name, scheme) = (name.into(), scheme.into());
        Self::poll(interval, move || {
            resolver.clone().srv(name.clone(), scheme.clone())
        })
    }

    /// The instances of a service such as `_greeter._udp` that announce themselves on the local networks by
    /// multicast DNS, as they come and go. The endpoints have the scheme `scheme`, such as `kcp`, an address
    /// of the instance, IPv4 if it has one, and the `weight`, `zone`, `priority` and `inactive` of its
    /// properties. [`MdnsRegistration`] announces a server.
    ///
    /// A thread queries the networks while the discovery is polled, until it is dropped. The set counts as
    /// known after two seconds. A server that ends withdraws its announcement; one that is killed stays for up
    /// to two minutes, in which connections to it fail.
    ///
    /// Anyone on the network can announce an instance: use a cipher with a key, or TLS.
    ///
    /// ```no_run
    /// use kcp_tower::balance::Discovery;
    ///
    /// let discovery = Discovery::mdns("_greeter._udp", "kcp");
    /// ```
    #[cfg(feature = "mdns")]
    #[cfg_attr(docsrs, doc(cfg(feature = "mdns")))]
    pub fn mdns(service: impl Into<String>, scheme: impl Into<String>) -> Self {
        let (service, scheme) = (service.into(), scheme.into());
        Self::watch(move |changes| mdns::follow(service, scheme, changes))
    }

    /// The endpoints that `read` returns, which is called again after each `interval`, at least 100 ms
    /// after its end. Endpoints with the same URI are an error.
    ///
    /// This is the way to a registry that has no watch:
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use kcp_tower::balance::{Discovery, Endpoint};
    ///
    /// # async fn instances() -> Result<Vec<String>, std::io::Error> { Ok(Vec::new()) }
    /// let discovery = Discovery::poll(Duration::from_secs(5), || async {
    ///     let instances = instances().await?;
    ///     let endpoints = instances.iter().map(Endpoint::parse);
    ///     Ok::<_, kcp_tower::BoxError>(endpoints.collect::<Result<_, _>>()?)
    /// });
    /// ```
    pub fn poll<F, E>(interval: Duration, mut read: impl FnMut() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Vec<Endpoint>, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let interval = interval.max(SHORTEST_INTERVAL);
        Self::watch(move |mut changes| async move {
            loop {
                match read().await.map_err(Into::into) {
                    Ok(endpoints) => changes.replace_all(endpoints),
                    Err(error) => changes.failed(error),
                }
                tokio::time::sleep(interval).await;
            }
        })
    }

    /// What a task reports, which is a future that is polled with the discovery. It should return only
    /// when the source has ended for good.
    ///
    /// This is the way to a registry that has a watch:
    ///
    /// ```no_run
    /// use kcp_tower::balance::{Changes, Discovery, Endpoint};
    ///
    /// # struct Registry;
    /// # impl Registry {
    /// #     async fn next(&mut self) -> Result<(String, Option<Endpoint>), std::io::Error> {
    /// #         std::future::pending().await
    /// #     }
    /// # }
    /// # fn run(mut registry: Registry) {
    /// let discovery = Discovery::watch(|mut changes| async move {
    ///     loop {
    ///         match registry.next().await {
    ///             Ok((key, Some(endpoint))) => changes.insert(key, endpoint),
    ///             Ok((key, None)) => changes.remove(&key),
    ///             Err(error) => changes.failed(error),
    ///         }
    ///     }
    /// });
    /// # }
    /// ```
    pub fn watch<F>(task: impl FnOnce(Changes) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, found) = mpsc::unbounded_channel();
        Self {
            task: Some(Box::pin(task(Changes::new(sender)))),
            found,
        }
    }

    /// The next change or error; `None` when the source has ended.
    #[cfg(test)]
    async fn next(&mut self) -> Option<Found> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Discovery {
    type Item = Result<Change<String, Endpoint>, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let found @ Poll::Ready(Some(_)) = self.found.poll_recv(cx) {
            return found;
        }
        if let Some(task) = &mut self.task
            && task.as_mut().poll(cx).is_ready()
        {
            self.task = None;
        }
        self.found.poll_recv(cx)
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").finish_non_exhaustive()
    }
}

/// A source is not read in a loop without a pause.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
