//! From what a user names to addresses.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{ToSocketAddrs, lookup_host};
use tokio::runtime;

use crate::error::{ConnectError, ConnectErrorReason};

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
    target: impl ToSocketAddrs,
    limit: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = within(runtime, limit, lookup_host(target)).await;
    let found = found.ok_or(ConnectErrorReason::ResolveTimeout(limit))?;
    let addresses = interleave(found.map_err(refusal)?);
    if addresses.is_empty() {
        return Err(ConnectErrorReason::NoAddress.into());
    }
    Ok(addresses)
}

/// Calls `bind` with one address of `target` after the other until it can be bound to.
///
/// # Errors
///
/// [`ConnectError`] of finding addresses, and else that of binding to the last of them.
pub(in crate::net) async fn bind_to<T>(
    target: impl ToSocketAddrs,
    mut bind: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = ConnectErrorReason::NoAddress.into();
    for addr in lookup_host(target).await.map_err(refusal)? {
        match bind(addr) {
            Ok(bound) => return Ok(bound),
            Err(error) => {
                last = io::Error::new(error.kind(), format!("cannot bind to {addr}: {error}"));
            }
        }
    }
    Err(last)
}

fn refusal(error: io::Error) -> ConnectError {
    let reason = match error.kind() {
        io::ErrorKind::InvalidInput => ConnectErrorReason::InvalidAddress(error),
        _ => ConnectErrorReason::Resolve(error),
    };
    reason.into()
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(target: impl ToSocketAddrs) -> Result<Vec<SocketAddr>, ConnectError> {
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
