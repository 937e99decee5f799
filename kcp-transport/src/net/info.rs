//! Inspecting a connection without owning it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use crate::config::Config;
use crate::error::ConfigError;
use crate::session::State;
use crate::stats::{EndpointStats, Stats};
use crate::wire::ConversationId;

use super::connection::Connection;

/// Addresses, conversation id, state and live statistics of a connection, for code that does not
/// read or write it.
///
/// Cheap to clone, and valid after the stream is dropped. A handle keeps neither the socket nor the
/// buffers of a connection that is over. Use [`WeakConnectionInfo`] to keep many handles for long.
#[derive(Clone)]
pub struct ConnectionInfo {
    connection: Arc<Connection>,
}

impl ConnectionInfo {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        let connection = Arc::clone(connection);
        Self { connection }
    }

    /// The local address, or the last one once the socket is closed.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.connection.local_addr().ok()
    }

    /// The peer's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.connection.path().peer
    }

    /// The conversation id, the same on both sides.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.connection.conversation
    }

    /// The state of the connection.
    #[must_use]
    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// A copy of the counters of the connection.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// As [`KcpStream::rebind`](super::KcpStream::rebind), for a stream that is split, carries
    /// messages or is owned by other code.
    ///
    /// # Errors
    ///
    /// As [`KcpStream::rebind`](super::KcpStream::rebind).
    pub fn rebind(&self) -> io::Result<()> {
        self.connection.rebind()
    }

    /// The current options of the connection.
    #[must_use]
    pub fn config(&self) -> Config {
        self.connection.config()
    }

    /// As [`KcpStream::reconfigure`](super::KcpStream::reconfigure), for a stream that is split,
    /// carries messages or is owned by other code.
    ///
    /// # Errors
    ///
    /// As [`KcpStream::reconfigure`](super::KcpStream::reconfigure).
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        self.connection.reconfigure(config)
    }

    /// A handle that keeps neither the connection nor its socket alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakConnectionInfo {
        WeakConnectionInfo {
            connection: Arc::downgrade(&self.connection),
        }
    }

    /// Counters of the socket of the connection: received datagrams, and those dropped before they
    /// reached a connection.
    #[must_use]
    pub fn endpoint_stats(&self) -> EndpointStats {
        self.connection.endpoint.stats()
    }
}

/// A [`ConnectionInfo`] that keeps neither the connection nor its socket alive.
#[derive(Clone)]
pub struct WeakConnectionInfo {
    connection: Weak<Connection>,
}

impl WeakConnectionInfo {
    /// The connection, unless it is over and its stream is dropped.
    #[must_use]
    pub fn upgrade(&self) -> Option<ConnectionInfo> {
        let connection = self.connection.upgrade()?;
        Some(ConnectionInfo { connection })
    }
}

impl fmt::Debug for WeakConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakConnectionInfo").finish_non_exhaustive()
    }
}

impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionInfo")
            .field("peer", &self.peer_addr())
            .field("conversation", &self.conversation())
            .finish_non_exhaustive()
    }
}
