//! Looking at a connection from outside.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use crate::session::State;
use crate::stats::{EndpointStats, Stats};
use crate::wire::ConversationId;

use super::connection::Connection;

/// What a stream is, to those who do not read or write it: addresses, conversation, live statistics.
///
/// Cheap to clone, and valid after the stream is gone. As long as there is one, the socket stays
/// open, but the buffers of a connection that is over are given back: [`WeakConnectionInfo`] is for
/// those who keep many for long.
#[derive(Clone)]
pub struct ConnectionInfo {
    connection: Arc<Connection>,
}

impl ConnectionInfo {
    pub(super) fn new(connection: &Arc<Connection>) -> Self {
        let connection = Arc::clone(connection);
        Self { connection }
    }

    /// Our address, if the socket is still there to ask.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.connection.local_addr().ok()
    }

    /// The peer's address.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.connection.path().peer
    }

    /// The conversation's id, the same on both sides.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.connection.conversation
    }

    /// Where the connection is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// The connection's counters as they are now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection.stats()
    }

    /// As [`KcpStream::rebind`](super::KcpStream::rebind), for a stream that is split, carries messages or
    /// belongs to somebody else.
    ///
    /// # Errors
    ///
    /// As [`KcpStream::rebind`](super::KcpStream::rebind).
    pub fn rebind(&self) -> io::Result<()> {
        self.connection.rebind()
    }

    /// A handle that keeps nothing alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakConnectionInfo {
        WeakConnectionInfo {
            connection: Arc::downgrade(&self.connection),
        }
    }

    /// What the socket received that the connection is on, and what of it was dropped.
    #[must_use]
    pub fn endpoint_stats(&self) -> EndpointStats {
        self.connection.endpoint.stats()
    }
}

/// A [`ConnectionInfo`] that keeps nothing of the connection alive, its socket included.
#[derive(Clone)]
pub struct WeakConnectionInfo {
    connection: Weak<Connection>,
}

impl WeakConnectionInfo {
    /// The connection, unless it is over and its stream is gone.
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
