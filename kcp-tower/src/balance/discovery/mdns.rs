//! Endpoints from multicast DNS on the local network.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{DaemonEvent, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};

use super::Changes;
use crate::BoxError;
use crate::balance::Endpoint;

/// A server that is announced on the local network by multicast DNS, for
/// [`Discovery::mdns`](super::Discovery::mdns), until this is dropped.
///
/// It has a thread that answers queries on UDP port 5353, which other programs of the machine can use at
/// the same time.
///
/// ```no_run
/// use kcp_tower::balance::{Endpoint, MdnsRegistration};
///
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = Endpoint::parse("kcp://192.168.1.7:4000 weight=3")?;
/// let registration = MdnsRegistration::new("_greeter._udp", &endpoint)?;
/// # Ok(())
/// # }
/// ```
pub struct MdnsRegistration {
    daemon: Daemon,
    service: String,
}

impl MdnsRegistration {
    /// Announces an endpoint, with its weight, zone, priority and state, as an instance of a service
    /// such as `_greeter._udp`.
    ///
    /// Its host is an address of this machine, and the networks of that address get the announcement.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`]: the host of the endpoint is not an address, it has no port, or
    /// the name of the service does not begin with `_` and end with `._udp` or `._tcp`; the name before
    /// that has at most 15 bytes. Others: the thread cannot be started.
    pub fn new(service: impl Into<String>, endpoint: &Endpoint) -> io::Result<Self> {
        let this = Self {
            daemon: Daemon::start()?,
            service: full_name(&service.into()).map_err(invalid)?,
        };
        this.update(endpoint)?;
        Ok(this)
    }

    /// Announces another weight, zone, priority or state of the endpoint. Another address or port is
    /// announced beside the one before it.
    ///
    /// # Errors
    ///
    /// As [`MdnsRegistration::new`].
    pub fn update(&self, endpoint: &Endpoint) -> io::Result<()> {
        let info = describe(&self.service, endpoint).map_err(invalid)?;
        self.daemon.0.register(info).map_err(io::Error::other)
    }
}

impl fmt::Debug for MdnsRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MdnsRegistration")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

fn invalid(error: BoxError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Reports the instances of a service for ever.
pub(super) async fn follow(service: String, scheme: String, mut changes: Changes) {
    loop {
        if let Err(error) = browse(&service, &scheme, &mut changes).await {
            changes.failed(format!("mDNS {service}: {error}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reports the instances of a service until an error.
async fn browse(service: &str, scheme: &str, changes: &mut Changes) -> Result<(), BoxError> {
    let service = full_name(service)?;
    let daemon = Daemon::start()?;
    let problems = daemon.0.monitor()?;
    let events = daemon.0.browse(&service)?;
    // Until the first answers have arrived, what was known before stays.
    let settled = tokio::time::sleep(SETTLE);
    let mut settled = std::pin::pin!(settled);
    let mut settling = Some(BTreeMap::new());
    loop {
        let event = tokio::select! {
            event = events.recv_async() => event?,
            problem = problems.recv_async() => {
                if let DaemonEvent::Error(error) = problem? {
                    changes.failed(error);
                }
                continue;
            }
            () = &mut settled, if settling.is_some() => {
                changes.replace(settling.take().unwrap_or_default());
                continue;
            }
        };
        match event {
            ServiceEvent::ServiceResolved(found) => match endpoint(&found, scheme) {
                Ok(endpoint) => {
                    if let Some(settling) = &mut settling {
                        settling.insert(found.fullname.clone(), endpoint.clone());
                    }
                    changes.insert(found.fullname, endpoint);
                }
                Err(error) => changes.failed(error),
            },
            ServiceEvent::ServiceRemoved(_, name) => {
                if let Some(settling) = &mut settling {
                    settling.remove(&name);
                }
                changes.remove(&name);
            }
            ServiceEvent::SearchStopped(_) => return Err("the search has ended".into()),
            _ => {}
        }
    }
}

/// The thread of mDNS, until this is dropped. Services that it announces are withdrawn then.
struct Daemon(ServiceDaemon);

impl Daemon {
    fn start() -> io::Result<Self> {
        ServiceDaemon::new().map(Self).map_err(io::Error::other)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It fails if the thread has ended.
        let _ = self.0.shutdown();
    }
}

/// The name of a service with its domain.
fn full_name(service: &str) -> Result<String, BoxError> {
    let name = service.trim_end_matches('.').trim_end_matches(".local");
    let kind = name.strip_suffix("._udp").or(name.strip_suffix("._tcp"));
    let valid = |kind: &str| kind.starts_with('_') && (2..=16).contains(&kind.len());
    if !kind.is_some_and(valid) {
        return Err(format!("{service:?} is no service of mDNS, such as _greeter._udp").into());
    }
    Ok(format!("{name}.local."))
}

/// What is announced of an endpoint: an address record, and the options of its text form as properties.
fn describe(service: &str, endpoint: &Endpoint) -> Result<ServiceInfo, BoxError> {
    let uri = endpoint.uri();
    let host = uri.host().unwrap_or_default();
    let addr = host.trim_start_matches('[').trim_end_matches(']');
    let addr: IpAddr = addr
        .parse()
        .map_err(|_| format!("the host of {uri} is not an address, which mDNS announces"))?;
    let port = uri
        .port_u16()
        .ok_or_else(|| format!("{uri} has no port, which mDNS announces"))?;
    let text = endpoint.to_string();
    let options = text.split(' ').skip(1);
    let properties: Vec<_> = options
        .map(|option| option.split_once('=').unwrap_or((option, "")))
        .collect();
    let name = format!("{addr}-{port}").replace([':', '.'], "-");
    let host = format!("kcp-{}.local.", addr.to_string().replace([':', '.'], "-"));
    let info = ServiceInfo::new(service, &name, &host, addr, port, &properties[..]);
    Ok(info?)
}

/// The endpoint of an instance. IPv4 comes first, because link-local addresses of IPv6 need a scope, which
/// a URI has not.
fn endpoint(found: &ResolvedService, scheme: &str) -> Result<Endpoint, BoxError> {
    let usable = |addr: &IpAddr| match addr {
        IpAddr::V4(_) => true,
        IpAddr::V6(addr) => !addr.is_unicast_link_local(),
    };
    let addresses = found.addresses.iter().map(|it| it.to_ip_addr());
    let name = &found.fullname;
    let addr = addresses.filter(usable).min();
    let addr = addr.ok_or_else(|| format!("mDNS: {name} has no address that a URI can have"))?;
    let addr = std::net::SocketAddr::new(addr, found.port);
    let mut text = format!("{scheme}://{addr}");
    for property in found.txt_properties.iter() {
        match (property.key(), property.val_str()) {
            ("inactive", _) => text.push_str(" inactive"),
            (key @ ("weight" | "zone" | "priority"), value) => {
                text.push_str(&format!(" {key}={value}"));
            }
            _ => {}
        }
    }
    text.parse()
        .map_err(|error| format!("mDNS: wrong properties of {name}: {error}").into())
}

/// Two queries are sent and answered within this time.
const SETTLE: Duration = Duration::from_secs(2);

/// Between searches, of which the first one has failed.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_found() {
        for text in [
            "kcp://10.0.0.7:4000",
            "kcp://10.0.0.7:4000 weight=3 zone=eu%201 priority=1 inactive",
            "kcp://[fd00::7]:4000 weight=0",
        ] {
            let announced = describe("_greeter._udp.local.", &text.parse().unwrap()).unwrap();
            let found = announced.as_resolved_service();
            assert_eq!(endpoint(&found, "kcp").unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_services_and_endpoints_are_refused_with_the_reason() {
        for service in [
            "greeter",
            "_._udp",
            "_a-name-of-sixteen._udp",
            "_greeter._sctp",
        ] {
            let error = full_name(service).unwrap_err().to_string();
            assert!(
                error.ends_with("is no service of mDNS, such as _greeter._udp"),
                "{error}"
            );
        }
        for same in [
            "_greeter._udp",
            "_greeter._udp.local",
            "_greeter._udp.local.",
        ] {
            assert_eq!(full_name(same).unwrap(), "_greeter._udp.local.");
        }
        for (text, problem) in [
            (
                "kcp://a.example:4000",
                "the host of kcp://a.example:4000/ is not an address",
            ),
            ("kcp://10.0.0.7", "kcp://10.0.0.7/ has no port"),
        ] {
            let error = describe("_greeter._udp.local.", &text.parse().unwrap());
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(problem), "{error}");
        }
    }

    #[test]
    fn instance_without_an_address_that_a_uri_can_have_is_an_error() {
        let link_local = "kcp://[fe80::1]:4000".parse().unwrap();
        let found = describe("_greeter._udp.local.", &link_local).unwrap();
        let error = endpoint(&found.as_resolved_service(), "kcp").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has no address that a URI can have")
        );
    }
}
