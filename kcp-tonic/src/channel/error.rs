//! Why there is no channel.

use std::error::Error;
use std::fmt;

use http::Uri;
use kcp_tower::balance::SetError;
use kcp_tower::{BoxError, ConfigError, ConnectError};

/// Why a channel could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The destination is not a URI, or the options of an endpoint are wrong.
    #[error("invalid destination: {0}")]
    Uri(#[source] BoxError),
    /// The destination is a URI, but no connection can be made to it.
    #[error("cannot connect to {uri}: {problem}")]
    Destination {
        /// The URI that was given.
        uri: Uri,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// TLS is configured, but the scheme of the destination does not use it.
    #[error("TLS is configured, but {uri} does not use it; use kcps:// or https://")]
    TlsUnused {
        /// The destination.
        uri: Uri,
    },
    /// The scheme of the destination requires TLS, but there is no TLS configuration.
    #[error(
        "{uri} requires TLS, but TLS is not configured; \
         enable tls-ring or tls-aws-lc and call tls_config, or use kcp:// or http://"
    )]
    TlsMissing {
        /// The destination.
        uri: Uri,
    },
    /// The TLS configuration is invalid.
    #[error("the TLS configuration is invalid")]
    Tls(#[source] tonic::transport::Error),
    /// The configuration of the transport does not fit the cipher.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A list of endpoints is empty, has a duplicate, or has an invalid endpoint.
    #[error(transparent)]
    Set(#[from] SetError),
    /// No connection was made.
    #[error(transparent)]
    Connect(ConnectFailure),
}

/// Why the first connection of a channel was not made. The text has the cause; an
/// [`io::Error`](std::io::Error) of the connector, or an error of TLS or HTTP/2.
#[derive(Debug)]
pub struct ConnectFailure {
    uri: Uri,
    error: tonic::transport::Error,
}

impl ConnectFailure {
    pub(super) fn new(uri: Uri, error: tonic::transport::Error) -> Self {
        Self { uri, error }
    }

    /// What went wrong, below the errors that tonic wraps around it.
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + 'static) {
        let mut cause: &(dyn Error + 'static) = &self.error;
        while cause.is::<tonic::transport::Error>() || cause.is::<tonic::ConnectError>() {
            let Some(inner) = cause.source() else { break };
            cause = inner;
        }
        cause
    }
}

impl fmt::Display for ConnectFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause();
        let connect = cause.downcast_ref().and_then(ConnectError::from_io);
        match connect {
            // It names the host.
            Some(error) => write!(f, "{error}"),
            None => write!(f, "cannot connect to {}: {cause}", self.uri),
        }
    }
}

impl Error for ConnectFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause().source()
    }
}
