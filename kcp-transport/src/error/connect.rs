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
///     for attempt in ConnectError::from_io(error).map_or(&[][..], ConnectError::attempts) {
///         println!("{}: {}", attempt.addr(), attempt.error());
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ConnectError {
    target: Option<Box<str>>,
    reason: ConnectErrorReason,
}

/// What went wrong, in a [`ConnectError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectErrorReason {
    /// The target is not host and port. [`io::ErrorKind::InvalidInput`].
    InvalidAddress(io::Error),
    /// The host's addresses could not be found. [`io::ErrorKind::NotFound`], or the system's own
    /// kind if it gave one.
    Resolve(io::Error),
    /// The host has no address. [`io::ErrorKind::NotFound`].
    NoAddress,
    /// Finding the host's addresses took the whole connect time-out. [`io::ErrorKind::TimedOut`].
    ResolveTimeout(Duration),
    /// No address led to a connection: each of them with its reason, in the order in which the
    /// attempts ended. The kind is that of the last.
    Failed(Vec<ConnectAttempt>),
}

/// An address that could not be connected to.
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

    /// Adds the host, and the port if there is one, to the message.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<Box<str>>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// The host, and the port if there is one, if they were [added](Self::with_target). kcp-tower and
    /// kcp-tonic add them to all errors, this crate adds the host to errors of finding its addresses, if
    /// it was given as text.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// What went wrong.
    #[must_use]
    pub fn reason(&self) -> &ConnectErrorReason {
        &self.reason
    }

    /// What went wrong, to be owned.
    #[must_use]
    pub fn into_reason(self) -> ConnectErrorReason {
        self.reason
    }

    /// The addresses that were tried, in the order in which their attempts ended. None unless the
    /// reason is [`ConnectErrorReason::Failed`].
    #[must_use]
    pub fn attempts(&self) -> &[ConnectAttempt] {
        match &self.reason {
            ConnectErrorReason::Failed(attempts) => attempts,
            _ => &[],
        }
    }

    /// The kind an [`io::Error`] made of this has.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match &self.reason {
            ConnectErrorReason::InvalidAddress(_) => io::ErrorKind::InvalidInput,
            ConnectErrorReason::Resolve(error) => match error.kind() {
                // Only some of what a resolver reports has a kind; none of it can be matched on.
                kind @ (io::ErrorKind::TimedOut
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::OutOfMemory
                | io::ErrorKind::Interrupted) => kind,
                _ => io::ErrorKind::NotFound,
            },
            ConnectErrorReason::NoAddress => io::ErrorKind::NotFound,
            ConnectErrorReason::ResolveTimeout(_) => io::ErrorKind::TimedOut,
            ConnectErrorReason::Failed(attempts) => attempts
                .last()
                .map_or(io::ErrorKind::NotFound, |it| it.error.kind()),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.target().unwrap_or("the host");
        match &self.reason {
            ConnectErrorReason::InvalidAddress(error) => write!(
                f,
                "{error}: expected host and port, such as \"example.com:4000\" or \"[::1]:4000\""
            ),
            ConnectErrorReason::Resolve(error) => {
                write!(f, "cannot resolve {host}: {error}")
            }
            ConnectErrorReason::NoAddress => write!(f, "{host} has no address"),
            ConnectErrorReason::ResolveTimeout(limit) => write!(
                f,
                "resolving {host} took longer than the connect time-out of {limit:?}"
            ),
            ConnectErrorReason::Failed(attempts) => self.fmt_attempts(f, attempts),
        }
    }
}

impl ConnectError {
    fn fmt_attempts(&self, f: &mut fmt::Formatter<'_>, attempts: &[ConnectAttempt]) -> fmt::Result {
        match (self.target(), attempts) {
            (None, [only]) => return write!(f, "no connection to {only}"),
            (Some(target), [only]) if only.addr.to_string() == target => {
                return write!(f, "no connection to {only}");
            }
            (Some(target), _) => write!(f, "no connection to {target}")?,
            (None, _) => write!(f, "no connection to any of {} addresses", attempts.len())?,
        }
        for (index, attempt) in attempts.iter().enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            write!(f, "{before}{attempt}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

impl From<ConnectErrorReason> for ConnectError {
    fn from(reason: ConnectErrorReason) -> Self {
        Self {
            target: None,
            reason,
        }
    }
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<ConnectErrorReason> for io::Error {
    fn from(reason: ConnectErrorReason) -> Self {
        ConnectError::from(reason).into()
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

impl fmt::Display for ConnectAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.addr, self.error)
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
            ConnectErrorReason::Failed(vec![attempt(1, ConnectionError::Refused)]).into();
        assert_eq!(one.kind(), io::ErrorKind::ConnectionRefused);
        let refused = ConnectionError::Refused;
        assert_eq!(
            one.to_string(),
            format!("no connection to 10.0.0.1:9: {refused}")
        );
        let timeout = ConnectionError::ConnectTimeout;
        let both: io::Error =
            ConnectErrorReason::Failed(vec![attempt(1, refused), attempt(2, timeout)]).into();
        assert_eq!(both.kind(), io::ErrorKind::TimedOut);
        assert_eq!(
            both.to_string(),
            format!(
                "no connection to any of 2 addresses: 10.0.0.1:9: {refused}; 10.0.0.2:9: {timeout}"
            )
        );
    }

    #[test]
    fn target_that_was_added_is_in_the_text_unless_it_is_the_address() {
        let text = |target: &str, reason: ConnectErrorReason| {
            let error = ConnectError::from(reason).with_target(target);
            assert_eq!(error.target(), Some(target));
            error.to_string()
        };
        let refused = || attempt(1, ConnectionError::Refused);
        let reason = ConnectionError::Refused;
        let one = || ConnectErrorReason::Failed(vec![refused()]);
        assert_eq!(
            text("10.0.0.1:9", one()),
            format!("no connection to 10.0.0.1:9: {reason}")
        );
        assert_eq!(
            text("a.example:9", one()),
            format!("no connection to a.example:9: 10.0.0.1:9: {reason}")
        );
        let both = ConnectErrorReason::Failed(vec![refused(), refused()]);
        assert_eq!(
            text("a.example:9", both),
            format!("no connection to a.example:9: 10.0.0.1:9: {reason}; 10.0.0.1:9: {reason}")
        );
        let none = ConnectErrorReason::NoAddress;
        assert_eq!(text("a.example", none), "a.example has no address");
        let unknown = ConnectErrorReason::Resolve(io::Error::other("no name server"));
        assert_eq!(
            text("a.example", unknown),
            "cannot resolve a.example: no name server"
        );
    }

    #[test]
    fn chain_prints_each_reason_once() {
        let error: io::Error =
            ConnectErrorReason::Failed(vec![attempt(1, ConnectionError::Refused)]).into();
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
        let kind = |error| ConnectError::from(ConnectErrorReason::Resolve(error)).kind();
        assert_eq!(kind(system), io::ErrorKind::NotFound);
        assert_eq!(
            kind(io::ErrorKind::TimedOut.into()),
            io::ErrorKind::TimedOut
        );
    }
}
