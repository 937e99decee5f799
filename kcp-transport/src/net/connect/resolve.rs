//! From what a user names to addresses.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{ToSocketAddrs, lookup_host};

use crate::error::ConnectError;

use super::address::interleave;

/// Finds the addresses of `target`, in the order in which to try them. At least one.
///
/// # Errors
///
/// [`ConnectError`], but for [`ConnectError::Failed`].
///
/// # Cancel safety
///
/// A lookup that has begun on one of the runtime's threads goes on, and nothing reads its result.
pub(crate) async fn resolve(
    target: impl ToSocketAddrs,
    within: Duration,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = tokio::time::timeout(within, lookup_host(target)).await;
    let found = found.map_err(|_| ConnectError::ResolveTimeout(within))?;
    let addresses = interleave(found.map_err(refusal)?);
    if addresses.is_empty() {
        return Err(ConnectError::NoAddress);
    }
    Ok(addresses)
}

fn refusal(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::InvalidInput => ConnectError::InvalidAddress(error),
        _ => ConnectError::Resolve(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn text_without_port_is_refused_with_the_form_that_is_allowed() {
        for text in ["example.com", "127.0.0.1", "127.0.0.1:", "a:b"] {
            let error = resolve(text, LONG).await.expect_err(text);
            assert!(
                matches!(error, ConnectError::InvalidAddress(_)),
                "{text}: {error}"
            );
            assert!(error.to_string().contains("example.com:4000"), "{error}");
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[tokio::test]
    async fn unknown_host_is_an_error_of_its_own() {
        // RFC 6761, section 6.4: no name under `invalid` exists.
        let error = resolve("no-such-host.invalid:9", LONG).await.unwrap_err();
        assert!(matches!(error, ConnectError::Resolve(_)), "{error}");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn target_without_addresses_is_an_error_of_its_own() {
        let none: &[SocketAddr] = &[];
        let error = resolve(none, LONG).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoAddress), "{error}");
    }

    #[tokio::test]
    async fn addresses_are_passed_through() {
        let addr: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(resolve(addr, LONG).await.unwrap(), [addr]);
        assert_eq!(resolve("127.0.0.1:9", LONG).await.unwrap(), [addr]);
        assert_eq!(resolve(("127.0.0.1", 9), LONG).await.unwrap(), [addr]);
    }
}
