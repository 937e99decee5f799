//! Endpoints from DNS, by queries to its servers.

use std::fmt;
use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;
use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use crate::BoxError;
use crate::balance::Endpoint;

/// A resolver that sends queries to DNS servers, for [`Discovery::srv`](super::Discovery::srv).
///
/// It is a resolver of hyper-util's kind too, for [`Discovery::dns_with`](super::Discovery::dns_with)
/// and for connectors. It caches answers for their time to live.
#[derive(Clone)]
pub struct DnsResolver {
    inner: TokioResolver,
}

impl DnsResolver {
    /// With the name servers of the operating system: `/etc/resolv.conf` on Unix, the registry on
    /// Windows.
    ///
    /// # Errors
    ///
    /// The configuration cannot be read.
    pub fn system() -> io::Result<Self> {
        let builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        let inner = builder.build().map_err(io::Error::other)?;
        Ok(Self { inner })
    }

    /// With these name servers, over UDP and, for long answers, over TCP. A query is sent again after
    /// a second without an answer.
    ///
    /// # Errors
    ///
    /// There is no name server.
    pub fn at(name_servers: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let server = |addr: SocketAddr| {
            let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
            (udp.port, tcp.port) = (addr.port(), addr.port());
            NameServerConfig::new(addr.ip(), true, vec![udp, tcp])
        };
        let servers: Vec<_> = name_servers.into_iter().map(server).collect();
        if servers.is_empty() {
            let error = "a DNS resolver needs at least one name server";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        builder.options_mut().timeout = TIMEOUT;
        let inner = builder.build().map_err(io::Error::other)?;
        Ok(Self { inner })
    }

    /// The targets of the SRV records of a name, as endpoints.
    pub(super) async fn srv(self, name: String, scheme: String) -> Result<Vec<Endpoint>, BoxError> {
        let found = self.inner.srv_lookup(name.as_str()).await;
        let found = found.map_err(|error| format!("cannot resolve SRV {name}: {error}"))?;
        let record = |data: &RData| match data {
            RData::SRV(record) => Some(record.clone()),
            _ => None,
        };
        let answers = found.answers().iter();
        let records: Vec<SRV> = answers.filter_map(|it| record(&it.data)).collect();
        endpoints(&records, &scheme)
            .map_err(|error| format!("SRV {name} leads to no endpoint: {error}").into())
    }
}

/// A name server that is near answers in milliseconds, and one that forwards the query in less than this.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A weight of 0 becomes 1: RFC 2782 gives such a target a small share. A single record with the root
/// as its target means that there is no server.
fn endpoints(records: &[SRV], scheme: &str) -> Result<Vec<Endpoint>, BoxError> {
    if let [only] = records
        && only.target.is_root()
    {
        return Ok(Vec::new());
    }
    let endpoint = |record: &SRV| {
        let target = record.target.to_ascii();
        let target = target.trim_end_matches('.');
        let uri = format!("{scheme}://{target}:{}", record.port).parse()?;
        let endpoint = Endpoint::new(uri).weight(u32::from(record.weight.max(1)));
        Ok(endpoint.priority(u32::from(record.priority)))
    };
    records.iter().map(endpoint).collect()
}

impl Service<Name> for DnsResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if let Ok(addr) = name.as_str().parse() {
            return Box::pin(ready(Ok(vec![SocketAddr::new(addr, 0)].into_iter())));
        }
        let resolver = self.inner.clone();
        Box::pin(async move {
            let found = resolver.lookup_ip(name.as_str()).await;
            let found = found.map_err(io::Error::other)?;
            let addresses: Vec<_> = found.iter().map(|ip| SocketAddr::new(ip, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsResolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;

    use super::*;

    fn record(priority: u16, weight: u16, target: &str) -> SRV {
        SRV::new(priority, weight, 4000, Name::from_ascii(target).unwrap())
    }

    #[test]
    fn weights_of_0_become_1_and_the_root_means_no_server() {
        let records = [record(0, 0, "a.example."), record(10, 60, "b.example.")];
        let found = endpoints(&records, "kcp").unwrap();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        let expected = [
            "kcp://a.example:4000",
            "kcp://b.example:4000 weight=60 priority=10",
        ];
        assert_eq!(found, expected);
        assert_eq!(endpoints(&[record(0, 0, ".")], "kcp").unwrap(), []);
        assert!(endpoints(&[record(0, 0, "a.")], "not a scheme").is_err());
    }

    #[test]
    fn resolver_without_name_servers_is_an_error() {
        let error = DnsResolver::at([]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a DNS resolver needs at least one name server"
        );
    }
}
