//! A description of the connection, for handlers and clients.

use std::io;
use std::net::SocketAddr;

use kcp_transport::{Config, ConfigError, ConnectionInfo, ConversationId, Stats};

#[cfg(feature = "server")]
use crate::limits::OpenRequests;

/// Addresses, conversation and live statistics of a connection.
///
/// Found in the extensions of each request that [`serve`](crate::serve()) handles, and of each
/// response of a hyper-util client that uses [`KcpConnector`](crate::KcpConnector). Clones are
/// cheap and stay valid when the connection has ended.
#[derive(Clone, Debug)]
pub struct KcpConnectInfo {
    connection: ConnectionInfo,
    #[cfg(feature = "server")]
    requests: OpenRequests,
}

impl KcpConnectInfo {
    /// The peer's present address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.connection.peer_addr()
    }

    /// The address of our socket, if the system reports it.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.connection.local_addr()
    }

    /// The id of the conversation, the same on both sides.
    #[must_use]
    #[doc(alias = "conv")]
    pub fn conversation(&self) -> ConversationId {
        self.connection.conversation()
    }

    /// Moves a client's connection to another socket, after a change of network. See
    /// [`KcpStream::rebind`](crate::KcpStream::rebind).
    ///
    /// # Errors
    ///
    /// As [`KcpStream::rebind`](crate::KcpStream::rebind).
    pub fn rebind(&self) -> io::Result<()> {
        self.connection.rebind()
    }

    /// The current options of the connection.
    #[must_use]
    pub fn config(&self) -> Config {
        self.connection.config()
    }

    /// Changes the options of the open connection. See
    /// [`KcpStream::reconfigure`](crate::KcpStream::reconfigure).
    ///
    /// # Errors
    ///
    /// As [`KcpStream::reconfigure`](crate::KcpStream::reconfigure).
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        self.connection.reconfigure(config)
    }

    /// The connection's counters as of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// Where a server counts the requests of this connection.
    #[cfg(feature = "server")]
    #[doc(hidden)]
    #[must_use]
    pub fn requests(&self) -> &OpenRequests {
        &self.requests
    }

    /// With requests that are counted there.
    #[cfg(feature = "server")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_requests(mut self, requests: &OpenRequests) -> Self {
        self.requests = requests.clone();
        self
    }
}

impl From<ConnectionInfo> for KcpConnectInfo {
    fn from(connection: ConnectionInfo) -> Self {
        Self {
            connection,
            #[cfg(feature = "server")]
            requests: OpenRequests::default(),
        }
    }
}
