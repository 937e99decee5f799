//! Why there is no connection.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why no connection was made: inside the [`io::Error`] of a [`KcpConnector`](crate::KcpConnector),
/// which has the kind of the last cause.
///
/// The text names every address that was tried, and what went wrong there.
#[derive(Debug)]
pub struct ConnectError {
    host: String,
    port: u16,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Unresolved(io::Error),
    Unreachable(Vec<(SocketAddr, io::Error)>),
}

impl ConnectError {
    pub(super) fn unresolved(host: &str, error: io::Error) -> io::Error {
        let kind = error.kind();
        let cause = Cause::Unresolved(error);
        Self::new(host, 0, cause).into_io(kind)
    }

    pub(super) fn unreachable(
        host: &str,
        port: u16,
        attempts: Vec<(SocketAddr, io::Error)>,
    ) -> io::Error {
        let last = attempts.last().map(|(_, error)| error.kind());
        let cause = Cause::Unreachable(attempts);
        Self::new(host, port, cause).into_io(last.unwrap_or(io::ErrorKind::NotFound))
    }

    fn new(host: &str, port: u16, cause: Cause) -> Self {
        Self {
            host: host.to_owned(),
            port,
            cause,
        }
    }

    fn into_io(self, kind: io::ErrorKind) -> io::Error {
        io::Error::new(kind, self)
    }

    /// The addresses that were tried, in order, each with its error. None if the name could not be
    /// resolved.
    pub fn attempts(&self) -> impl ExactSizeIterator<Item = (SocketAddr, &io::Error)> {
        let attempts = match &self.cause {
            Cause::Unresolved(_) => &[],
            Cause::Unreachable(attempts) => attempts.as_slice(),
        };
        attempts.iter().map(|(addr, error)| (*addr, error))
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, cause } = self;
        match cause {
            Cause::Unresolved(error) => write!(f, "cannot resolve {host}: {error}"),
            Cause::Unreachable(attempts) => match attempts.as_slice() {
                [(addr, error)] if addr.ip().to_string() == *host => {
                    write!(f, "no KCP connection to {addr}: {error}")
                }
                attempts => {
                    write!(f, "no KCP connection to {host}:{port}")?;
                    for (i, (addr, error)) in attempts.iter().enumerate() {
                        let separator = if i == 0 { ": " } else { "; " };
                        write!(f, "{separator}{addr}: {error}")?;
                    }
                    Ok(())
                }
            },
        }
    }
}

impl Error for ConnectError {
    /// What is below the last cause; the causes themselves are in the text, so that a printed chain
    /// has each of them once.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Cause::Unresolved(error) => error.source(),
            Cause::Unreachable(attempts) => attempts.last()?.1.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn text_names_every_address_with_its_cause() {
        let attempts = vec![
            (([10, 0, 0, 1], 9).into(), io::ErrorKind::TimedOut.into()),
            (
                (Ipv6Addr::LOCALHOST, 9).into(),
                io::ErrorKind::ConnectionRefused.into(),
            ),
        ];
        let error = ConnectError::unreachable("a.example", 9, attempts);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            error.to_string(),
            "no KCP connection to a.example:9: 10.0.0.1:9: timed out; [::1]:9: connection refused"
        );
    }

    #[test]
    fn printed_chain_has_each_cause_once() {
        let cause = || io::Error::other("no route");
        let attempts = vec![(([10, 0, 0, 1], 9).into(), cause())];
        for error in [
            ConnectError::unresolved("a.example", cause()),
            ConnectError::unreachable("10.0.0.1", 9, attempts),
        ] {
            let mut text = error.to_string();
            let mut next = Error::source(&error);
            while let Some(error) = next {
                text = format!("{text}: {error}");
                next = error.source();
            }
            assert_eq!(text.matches("no route").count(), 1, "{text}");
        }
    }
}
