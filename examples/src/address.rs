//! Addresses on command lines: host names or IP addresses, with a port.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A host name or IP address with a port: `example.com:4000`, `192.0.2.1:4000` or
/// `[2001:db8::1]:4000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort(String);

impl HostPort {
    /// Host and port as given, for functions that resolve names themselves.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Resolves the host to at least one address, in the system's order of preference.
    ///
    /// # Errors
    ///
    /// If the name does not resolve, or resolves to no address.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&self.0).await?.collect();
        if addresses.is_empty() {
            let problem = format!("{self} resolves to no address; check the host name");
            return Err(io::Error::new(io::ErrorKind::NotFound, problem));
        }
        Ok(addresses)
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, String> {
        let (host, port) = given.rsplit_once(':').ok_or(ALLOWED)?;
        port.parse::<u16>().map_err(|_| ALLOWED)?;
        let address = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let allowed = match address {
            Some(address) => {
                let address = address.split('%').next().unwrap_or_default();
                address.parse::<Ipv6Addr>().is_ok()
            }
            None => !host.is_empty() && host.chars().all(is_name_character),
        };
        if allowed {
            Ok(Self(given.to_owned()))
        } else {
            Err(ALLOWED.to_owned())
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Underscores are not valid in DNS host names, but occur in the names of containers and services.
fn is_name_character(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '-' | '.' | '_')
}

const ALLOWED: &str = "expected HOST:PORT, such as example.com:4000, 127.0.0.1:4000 or [::1]:4000, \
    with a port from 0 to 65535";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_with_a_port_are_accepted() {
        for given in [
            "127.0.0.1:0",
            "[::1]:4000",
            "[fe80::1%2]:4000",
            "localhost:1",
            "my_host.example.com.:65535",
        ] {
            let parsed: HostPort = given.parse().unwrap();
            assert_eq!(parsed.to_string(), given);
        }
    }

    #[test]
    fn missing_host_or_port_is_refused_with_the_expected_form() {
        for given in [
            "",
            "4000",
            ":4000",
            "127.0.0.1",
            "127.0.0.1:65536",
            "::1:4000",
            "::1",
            "[::1]",
            "[host]:1",
            "host:",
            "host:http",
            "http://host:80",
            "a b:1",
        ] {
            let problem = given.parse::<HostPort>().unwrap_err();
            assert!(problem.contains("HOST:PORT"), "{given}: {problem}");
        }
    }

    #[tokio::test]
    async fn address_resolves_to_itself() {
        for given in ["127.0.0.1:4000", "[::1]:4000"] {
            let parsed: HostPort = given.parse().unwrap();
            let expected: SocketAddr = given.parse().unwrap();
            assert_eq!(parsed.resolve().await.unwrap(), [expected]);
        }
    }
}
