//! From what a user names to addresses.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::runtime;

use crate::error::{ConnectError, ConnectErrorReason};

use super::addrs::ToAddrs;
use super::within::within;

/// Finds the addresses of `target`, in the order in which to try them. At least one.
///
/// # Errors
///
/// [`ConnectError`], but for [`ConnectErrorReason::Failed`].
///
/// # Cancel safety
///
/// A lookup that has begun on one of the runtime's threads goes on, and nothing reads its result.
pub(super) async fn resolve(
    runtime: &runtime::Handle,
    target: impl ToAddrs,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let host = checked_host(&target, NO_HOST)?;
    let found = match within(runtime, limit, lookup_host(target)).await {
        Some(Ok(found)) => interleave(found),
        Some(Err(error)) => return Err(refusal(error, host)),
        None => return Err(named(ConnectErrorReason::ResolveTimeout(limit), host)),
    };
    if found.is_empty() {
        return Err(named(ConnectErrorReason::NoAddress, host));
    }
    Ok(found)
}

/// Calls `bind` with one address of `target` after the other until it can be bound to.
///
/// # Errors
///
/// [`ConnectError`] of finding addresses, and else that of binding to the last of them.
pub(in crate::net) async fn bind_to<T>(
    target: impl ToAddrs,
    mut bind: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let host = checked_host(&target, NO_HOST_TO_BIND)?;
    let found = lookup_host(target).await;
    let found = found.map_err(|error| refusal(error, host.clone()))?;
    let mut last = named(ConnectErrorReason::NoAddress, host).into();
    for addr in found {
        match bind(addr) {
            Ok(bound) => return Ok(bound),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("cannot bind to {addr}: {error}"));
            }
        }
    }
    Err(last)
}

/// The host if it was given as text. An empty one is refused here, because systems differ in what they
/// find for it: on Linux nothing, on Windows the addresses of this system.
fn checked_host(
    target: &impl ToAddrs,
    refusal: &'static str,
) -> Result<Option<Box<str>>, ConnectError> {
    match target.host() {
        Some("") => {
            let error = io::Error::new(io::ErrorKind::InvalidInput, refusal);
            Err(ConnectErrorReason::InvalidAddress(error).into())
        }
        host => Ok(host.map(Box::from)),
    }
}

fn refusal(error: io::Error, host: Option<Box<str>>) -> ConnectError {
    match error.kind() {
        io::ErrorKind::InvalidInput => ConnectErrorReason::InvalidAddress(error).into(),
        _ => named(ConnectErrorReason::Resolve(error), host),
    }
}

fn named(reason: ConnectErrorReason, host: Option<Box<str>>) -> ConnectError {
    let error = ConnectError::from(reason);
    match host {
        Some(host) => error.with_target(host),
        None => error,
    }
}

/// Puts addresses in the order in which to try them: both families in turns, starting with that of
/// the first, each in its own order, none twice (RFC 8305, section 4).
fn interleave(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut known = HashSet::new();
    let mut addresses: Vec<_> = addresses
        .into_iter()
        .filter(|addr| known.insert(*addr))
        .collect();
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (other, same): (Vec<_>, Vec<_>) = addresses
        .drain(..)
        .partition(|addr| addr.is_ipv6() != first);
    let mut other = other.into_iter();
    for addr in same {
        addresses.push(addr);
        addresses.extend(other.next());
    }
    addresses.extend(other);
    addresses
}

const NO_HOST: &str = "no host before the port";

/// Go programs listen on ":4000".
const NO_HOST_TO_BIND: &str =
    "no host before the port, where \"[::]:4000\" stands for all addresses";

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(target: impl ToAddrs) -> Result<Vec<SocketAddr>, ConnectError> {
        let limit = Duration::from_secs(60);
        resolve(&runtime::Handle::current(), target, limit).await
    }

    #[tokio::test]
    async fn text_without_port_is_refused_with_the_form_that_is_allowed() {
        for text in ["example.com", "127.0.0.1", "127.0.0.1:", "a:b"] {
            let error = find(text).await.expect_err(text);
            assert!(
                matches!(error.reason(), ConnectErrorReason::InvalidAddress(_)),
                "{text}: {error}"
            );
            assert!(error.to_string().contains("example.com:4000"), "{error}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[tokio::test]
    async fn text_without_host_is_refused_with_the_form_that_is_allowed() {
        let errors = [
            find(":4000").await.unwrap_err(),
            find(("", 4000)).await.unwrap_err(),
        ];
        for error in errors {
            assert!(
                matches!(error.reason(), ConnectErrorReason::InvalidAddress(_)),
                "{error}"
            );
            assert_eq!(
                error.to_string(),
                "no host before the port: expected host and port, such as \"example.com:4000\" or \
                 \"[::1]:4000\""
            );
        }
    }

    #[tokio::test]
    async fn unknown_host_is_an_error_of_its_own() {
        // RFC 6761, section 6.4: no name under `invalid` exists.
        let error = find("no-such-host.invalid:9").await.unwrap_err();
        assert!(
            matches!(error.reason(), ConnectErrorReason::Resolve(_)),
            "{error}"
        );
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn target_without_addresses_is_an_error_of_its_own() {
        let none: &[SocketAddr] = &[];
        let error = find(none).await.unwrap_err();
        assert!(
            matches!(error.reason(), ConnectErrorReason::NoAddress),
            "{error}"
        );
    }

    #[tokio::test]
    async fn addresses_are_passed_through() {
        let addr: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(find(addr).await.unwrap(), [addr]);
        assert_eq!(find("127.0.0.1:9").await.unwrap(), [addr]);
        assert_eq!(find(("127.0.0.1", 9)).await.unwrap(), [addr]);
    }

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns_and_keep_their_own_order() {
        let given = addrs(&["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"]);
        let tried = addrs(&["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        assert_eq!(interleave(given), tried);
        let given = addrs(&["1.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]);
        let tried = addrs(&["1.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(interleave(given), tried);
        assert_eq!(interleave([]), []);
    }

    #[test]
    fn address_given_twice_is_tried_once() {
        let given = addrs(&["1.0.0.1:1", "1.0.0.1:1", "1.0.0.1:2"]);
        assert_eq!(interleave(given), addrs(&["1.0.0.1:1", "1.0.0.1:2"]));
    }
}
