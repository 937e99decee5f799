//! Why no connection was made.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why connecting to a host failed: the inner error of the [`io::Error`] that `connect` returns.
///
/// The message has the reason in it, for each address that was tried, and this error has no
/// [`source`](std::error::Error::source): printing a whole chain of errors prints each reason once.
///
/// ```
/// use kcp_transport::error::ConnectError;
///
/// fn report(error: &std::io::Error) {
///     if let Some(ConnectError::Failed(attempts)) = ConnectError::from_io(error) {
///         for attempt in attempts {
///             println!("{}: {}", attempt.addr(), attempt.error());
///         }
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The target is no host and port. [`io::ErrorKind::InvalidInput`].
    #[error("{0}: an address is host and port, as \"example.com:4000\" or \"[::1]:4000\"")]
    InvalidAddress(io::Error),
    /// The host's addresses could not be found. [`io::ErrorKind::NotFound`], or the system's own
    /// kind if it gave one.
    #[error("cannot find the addresses of the host: {0}")]
    Resolve(io::Error),
    /// The host has no address. [`io::ErrorKind::NotFound`].
    #[error("the host has no address")]
    NoAddress,
    /// Finding the host's addresses took the whole connect time-out. [`io::ErrorKind::TimedOut`].
    #[error("finding the addresses of the host took longer than the connect time-out of {0:?}")]
    ResolveTimeout(Duration),
    /// No address led to a connection: each of them with its reason. The kind is that of the
    /// attempt that ended last.
    #[error("{}", Attempts(.0))]
    Failed(Vec<ConnectAttempt>),
}

/// An address that was tried in vain.
#[derive(Debug)]
pub struct ConnectAttempt {
    addr: SocketAddr,
    error: io::Error,
}

impl ConnectError {
    /// The [`ConnectError`] inside an [`io::Error`], if it has one.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The kind an [`io::Error`] made of this has.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::InvalidAddress(_) => io::ErrorKind::InvalidInput,
            Self::Resolve(error) => match error.kind() {
                // Only some of what a resolver reports has a kind; none of it can be matched on.
                kind @ (io::ErrorKind::TimedOut
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::Interrupted) => kind,
                _ => io::ErrorKind::NotFound,
            },
            Self::NoAddress => io::ErrorKind::NotFound,
            Self::ResolveTimeout(_) => io::ErrorKind::TimedOut,
            Self::Failed(attempts) => attempts
                .last()
                .map_or(io::ErrorKind::NotFound, |it| it.error.kind()),
        }
    }

    /// The addresses that were tried, in the order in which their attempts ended. None unless this
    /// is [`ConnectError::Failed`].
    #[must_use]
    pub fn attempts(&self) -> &[ConnectAttempt] {
        match self {
            Self::Failed(attempts) => attempts,
            _ => &[],
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl ConnectAttempt {
    /// An attempt that ended with `error`.
    #[must_use]
    pub fn new(addr: SocketAddr, error: io::Error) -> Self {
        Self { addr, error }
    }

    /// The address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address, and why there is no connection to it.
    #[must_use]
    pub fn into_parts(self) -> (SocketAddr, io::Error) {
        (self.addr, self.error)
    }

    /// Why there is no connection to it.
    #[must_use]
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

/// Attempts as one line of text.
struct Attempts<'a>(&'a [ConnectAttempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [only] => write!(f, "no connection to {}: {}", only.addr, only.error),
            attempts => {
                write!(f, "no connection to any of {} addresses", attempts.len())?;
                for (index, attempt) in attempts.iter().enumerate() {
                    let before = if index == 0 { ": " } else { "; " };
                    write!(f, "{before}{}: {}", attempt.addr, attempt.error)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ConnectionError;

    fn attempt(host: u8, error: ConnectionError) -> ConnectAttempt {
        ConnectAttempt::new(([10, 0, 0, host], 9).into(), error.into())
    }

    #[test]
    fn each_address_is_named_once_with_its_reason() {
        let one: io::Error =
            ConnectError::Failed(vec![attempt(1, ConnectionError::Refused)]).into();
        assert_eq!(one.kind(), io::ErrorKind::ConnectionRefused);
        let refused = ConnectionError::Refused;
        assert_eq!(
            one.to_string(),
            format!("no connection to 10.0.0.1:9: {refused}")
        );
        let timeout = ConnectionError::ConnectTimeout;
        let both: io::Error =
            ConnectError::Failed(vec![attempt(1, refused), attempt(2, timeout)]).into();
        assert_eq!(both.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            both.to_string(),
            format!(
                "no connection to any of 2 addresses: 10.0.0.1:9: {refused}; 10.0.0.2:9: {timeout}"
            )
        );
    }

    #[test]
    fn chain_prints_each_reason_once() {
        let error: io::Error =
            ConnectError::Failed(vec![attempt(1, ConnectionError::Refused)]).into();
        let mut chain = error.to_string();
        let mut next = std::error::Error::source(&error);
        while let Some(source) = next {
            chain += &format!(": {source}");
            next = source.source();
        }
        let reason = ConnectionError::Refused.to_string();
        assert_eq!(chain.matches(&reason).count(), 1, "{chain}");
    }

    #[test]
    fn kind_of_a_failed_lookup_can_be_matched_on() {
        let system = io::Error::other("Name or service not known");
        assert_eq!(
            ConnectError::Resolve(system).kind(),
            io::ErrorKind::NotFound
        );
        let slow = io::ErrorKind::TimedOut.into();
        assert_eq!(ConnectError::Resolve(slow).kind(), io::ErrorKind::TimedOut);
    }
}
