//! How many connections a server has, and how long.

mod expiry;
mod requests;

use std::time::Duration;

use kcp_transport::ConfigError;

pub use self::expiry::Expiry;
pub use self::requests::{Counted, OpenRequest, OpenRequests};

/// Limits of a server's connections: how many, how old, and how long without a request.
///
/// By default there are none, as in gRPC: the transport finds dead clients by itself, and a client
/// that keeps a connection open has a reason. Limits of one connection's streams, headers and bodies
/// are HTTP's, see [`Serve::configure`](crate::Serve::configure).
///
/// A connection that reaches its age or its idle time ends in good order: HTTP/2 sends GOAWAY, HTTP/1
/// closes after the response in progress. Requests that have begun finish, and clients send the next
/// ones over another connection.
///
/// ```
/// use std::time::Duration;
///
/// use kcp_tower::ConnectionLimits;
///
/// # fn main() -> Result<(), kcp_tower::ConfigError> {
/// let limits = ConnectionLimits::builder()
///     .max_connections(10_000)
///     .max_age(Duration::from_secs(3600))
///     .age_grace(Duration::from_secs(60))
///     .max_idle(Duration::from_secs(900))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    max_connections: Option<usize>,
    max_age: Option<Duration>,
    age_grace: Option<Duration>,
    max_idle: Option<Duration>,
}

impl ConnectionLimits {
    /// Starts without limits.
    pub fn builder() -> ConnectionLimitsBuilder {
        ConnectionLimitsBuilder::default()
    }

    /// Most open connections. Default `None`, no limit; at least 1.
    #[must_use]
    pub fn max_connections(&self) -> Option<usize> {
        self.max_connections
    }

    /// The age at which a connection ends in good order. Default `None`, no limit; at least 1 s.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        self.max_age
    }

    /// How long requests may take to finish after [`max_age`](Self::max_age). Default `None`, no limit.
    #[must_use]
    pub fn age_grace(&self) -> Option<Duration> {
        self.age_grace
    }

    /// How long a connection may be without an open request. Default `None`, no limit; at least 1 s.
    #[must_use]
    pub fn max_idle(&self) -> Option<Duration> {
        self.max_idle
    }
}

/// Makes [`ConnectionLimits`].
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct ConnectionLimitsBuilder {
    limits: ConnectionLimits,
}

impl ConnectionLimitsBuilder {
    /// Most open connections. Default `None`, no limit; at least 1.
    ///
    /// Further clients wait in the listener's
    /// [backlog](kcp_transport::ListenerConfig::backlog) until a connection has ended. Connections that
    /// were upgraded to another protocol do not count.
    #[doc(alias = "LimitListener")]
    pub fn max_connections(mut self, connections: impl Into<Option<usize>>) -> Self {
        self.limits.max_connections = connections.into();
        self
    }

    /// The age at which a connection ends in good order. Default `None`, no limit; at least 1 s.
    ///
    /// Up to a tenth is added to or taken from it, so that clients that have connected together do not
    /// reconnect together. The difference follows from the connection's conversation id.
    #[doc(alias = "MaxConnectionAge")]
    pub fn max_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.limits.max_age = age.into();
        self
    }

    /// How long requests may take to finish after [`max_age`](Self::max_age); a connection that is
    /// still open then is closed. Default `None`, no limit; zero closes at once.
    #[doc(alias = "MaxConnectionAgeGrace")]
    pub fn age_grace(mut self, grace: impl Into<Option<Duration>>) -> Self {
        self.limits.age_grace = grace.into();
        self
    }

    /// How long a connection may be without an open request before it ends in good order. Default
    /// `None`, no limit; at least 1 s.
    ///
    /// A request is open from its headers to the end of the response's body. PINGs do not count, and
    /// neither do connections and streams that were upgraded to another protocol.
    #[doc(alias = "MaxConnectionIdle")]
    pub fn max_idle(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.limits.max_idle = idle.into();
        self
    }

    /// The limits.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] for 0 connections, and for an age or an idle time below 1 s, which
    /// would close connections that have just opened; for a grace without an age.
    pub fn build(self) -> Result<ConnectionLimits, ConfigError> {
        let limits = self.limits;
        if limits.max_connections == Some(0) {
            return Err(out_of_range("max_connections", "0", "at least 1"));
        }
        for (option, value) in [("max_age", limits.max_age), ("max_idle", limits.max_idle)] {
            if let Some(value) = value.filter(|value| *value < SHORTEST) {
                return Err(out_of_range(option, format!("{value:?}"), "at least 1s"));
            }
        }
        match (limits.max_age, limits.age_grace) {
            (None, Some(grace)) => Err(out_of_range(
                "age_grace",
                format!("{grace:?} without max_age"),
                "only together with max_age",
            )),
            _ => Ok(limits),
        }
    }
}

fn out_of_range(
    option: &'static str,
    given: impl Into<String>,
    allowed: &'static str,
) -> ConfigError {
    ConfigError::OutOfRange {
        option,
        given: given.into(),
        allowed,
    }
}

/// Several round trips of slow links, so that a new connection has sent its first request.
const SHORTEST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_would_serve_nobody_are_refused() {
        let builder = ConnectionLimits::builder;
        let second = Duration::from_secs(1);
        for (refused, message) in [
            (
                builder().max_connections(0),
                "max_connections is 0; allowed: at least 1",
            ),
            (
                builder().max_age(Duration::ZERO),
                "max_age is 0ns; allowed: at least 1s",
            ),
            (
                builder().max_idle(second / 2),
                "max_idle is 500ms; allowed: at least 1s",
            ),
            (
                builder().age_grace(second),
                "age_grace is 1s without max_age; allowed: only together with max_age",
            ),
        ] {
            assert_eq!(refused.build().unwrap_err().to_string(), message);
        }
        let limits = builder().max_connections(1).max_age(second);
        let limits = limits.age_grace(Duration::ZERO).max_idle(second).build();
        assert_eq!(limits.unwrap().age_grace(), Some(Duration::ZERO));
        assert_eq!(builder().build().unwrap(), ConnectionLimits::default());
    }
}
