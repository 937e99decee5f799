//! Where to connect, as read from a URI.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use http::Uri;
use kcp_transport::{ConnectAttempt, ConnectError, ConnectErrorReason};

/// Host and port to connect to. The host is without brackets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) host: String,
    port: u16,
    /// Whether the port was given, and is not the scheme's default.
    explicit_port: bool,
}

impl Target {
    pub(super) fn of(uri: &Uri, enforce_http: bool) -> io::Result<Self> {
        let refused = |problem| {
            let message = format!("cannot connect to {uri:?}: {problem}");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let default_port = match uri.scheme_str() {
            Some("http" | "ws") => Some(80),
            Some("https" | "wss" | "kcps") if enforce_http => return Err(refused(NO_TLS)),
            Some("https" | "wss") => Some(443),
            Some("kcp" | "kcps") | None => None,
            Some(_) => {
                return Err(refused(
                    "unknown scheme; allowed: http, ws, kcp, https, wss, kcps",
                ));
            }
        };
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| refused("the URI has no host"))?;
        let port = uri.port_u16().or(default_port);
        let port =
            port.ok_or_else(|| refused("the URI has no port, and its scheme has no default port"))?;
        let host = match host.strip_prefix('[').and_then(|v6| v6.strip_suffix(']')) {
            Some(v6) => {
                ipv6(v6).ok_or_else(|| refused("the host in brackets is not an IPv6 address"))?
            }
            None => host.to_owned(),
        };
        Ok(Self {
            host,
            port,
            explicit_port: uri.port().is_some(),
        })
    }

    /// The address, if the host is not a name.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        if let Some((ip, zone)) = self.host.split_once('%') {
            let (ip, scope) = (ip.parse().ok()?, zone.parse().ok()?);
            return Some(SocketAddrV6::new(ip, self.port, 0, scope).into());
        }
        let ip = self.host.parse::<IpAddr>().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// Whether the host is an IPv6 address with a zone.
    pub(super) fn has_zone(&self) -> bool {
        self.host.contains('%')
    }

    /// An address that a resolver gave, with the port to connect to.
    pub(super) fn with_port(&self, mut addr: SocketAddr) -> SocketAddr {
        if self.explicit_port || addr.port() == 0 {
            addr.set_port(self.port);
        }
        addr
    }

    /// The error of finding no addresses.
    pub(super) fn unresolved(&self, reason: ConnectErrorReason) -> io::Error {
        let error = ConnectError::from(reason);
        error.with_target(self.host.as_str()).into()
    }

    /// The error of addresses that could not be connected to.
    pub(super) fn unreachable(&self, attempts: Vec<ConnectAttempt>) -> io::Error {
        let target = match self.addr() {
            Some(addr) => addr.to_string(),
            None => format!("{}:{}", self.host, self.port),
        };
        let error = ConnectError::from(ConnectErrorReason::Failed(attempts));
        error.with_target(target).into()
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self {
            host: addr.ip().to_string(),
            port: addr.port(),
            explicit_port: true,
        }
    }
}

/// An IPv6 address without its brackets, in its canonical form, with a zone if it has one.
///
/// In a URI the zone stands after `%25` (RFC 6874); some write a plain `%`.
fn ipv6(host: &str) -> Option<String> {
    let (ip, zone) = match host.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (host, None),
    };
    let ip = ip.parse::<Ipv6Addr>().ok()?;
    match zone {
        Some("") => None,
        Some(zone) => Some(format!("{ip}%{zone}")),
        None => Some(ip.to_string()),
    }
}

const NO_TLS: &str = "its scheme means TLS, which the connector does not do; \
    put a TLS connector around it and set enforce_http(false)";

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str, enforce_http: bool) -> Result<(String, u16), String> {
        let target = Target::of(&uri.parse().unwrap(), enforce_http).map_err(|error| {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            error.to_string()
        })?;
        Ok((target.host, target.port))
    }

    #[test]
    fn port_follows_scheme_unless_given() {
        for (uri, port) in [
            ("http://a.example/x", 80),
            ("ws://a.example/x", 80),
            ("https://a.example", 443),
            ("wss://a.example", 443),
            ("https://a.example:9", 9),
            ("ws://a.example:9", 9),
            ("kcp://a.example:9", 9),
            ("kcps://a.example:9", 9),
            ("a.example:9", 9),
        ] {
            assert_eq!(target(uri, false), Ok(("a.example".into(), port)), "{uri}");
        }
    }

    #[test]
    fn scheme_of_tls_is_an_error_unless_tls_is_done_around_the_connector() {
        for scheme in ["https", "wss", "kcps"] {
            let uri = format!("{scheme}://a.example:9/");
            assert!(target(&uri, false).is_ok());
            let error = target(&uri, true).unwrap_err();
            assert!(error.contains("its scheme means TLS"), "{error}");
        }
        for scheme in ["http", "ws", "kcp"] {
            assert!(target(&format!("{scheme}://a.example:9/"), true).is_ok());
        }
    }

    #[test]
    fn ipv6_addresses_stand_in_brackets() {
        assert_eq!(target("http://[::1]:9", true), Ok(("::1".into(), 9)));
        assert_eq!(target("http://[::1]", true), Ok(("::1".into(), 80)));
        let error = target("http://[v1.a]:9", true).unwrap_err();
        assert!(
            error.ends_with("the host in brackets is not an IPv6 address"),
            "{error}"
        );
    }

    #[test]
    fn zone_of_an_ipv6_address_is_its_scope() {
        let addr = |uri: &str| Target::of(&uri.parse().unwrap(), true).unwrap().addr();
        let expected = SocketAddrV6::new("fe80::1".parse().unwrap(), 9, 0, 3);
        assert_eq!(addr("http://[fe80::1%253]:9"), Some(expected.into()));
    }

    #[test]
    fn uris_without_a_place_to_connect_to_are_refused() {
        for (uri, problem) in [
            ("/only/a/path", "the URI has no host"),
            (
                "kcp://a.example/",
                "the URI has no port, and its scheme has no default port",
            ),
            (
                "ftp://a.example:9/",
                "unknown scheme; allowed: http, ws, kcp, https, wss, kcps",
            ),
        ] {
            assert_eq!(
                target(uri, true),
                Err(format!("cannot connect to {uri}: {problem}"))
            );
        }
    }

    #[test]
    fn port_of_the_uri_replaces_that_of_the_resolver() {
        let port = |uri: &str, resolved: u16| {
            let target = Target::of(&uri.parse().unwrap(), true).unwrap();
            target.with_port(([10, 0, 0, 1], resolved).into()).port()
        };
        assert_eq!(port("http://a.example:9", 7), 9);
        assert_eq!(port("http://a.example", 7), 7);
        assert_eq!(port("http://a.example", 0), 80);
    }
}
