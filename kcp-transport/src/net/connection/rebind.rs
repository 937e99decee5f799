//! Moving a connection to another socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::runtime::Handle;

use crate::net::endpoint::Sent;
use crate::session::State;
use crate::time::Time;

use super::{Connection, end_error};

impl Connection {
    /// Moves to a new socket after the local address of the present one has been gone for a while.
    ///
    /// Nothing else changes: where the peer does not follow, the time-outs end the connection.
    pub(super) fn follow_address(&self, now: Time, sent: &Sent) {
        let endpoint = &self.endpoint;
        if !endpoint.is_single() || !(sent.passed || sent.unroutable) {
            return;
        }
        if endpoint.local_errors.note(now, !sent.passed) {
            let _span = self.span().enter();
            match self.rebind() {
                Ok(()) => tracing::debug!("moved to a new socket, since the local address is gone"),
                Err(error) => tracing::debug!(%error, "the local address is gone"),
            }
        }
    }

    /// Moves a connection that has its own socket to a new one.
    pub(in crate::net) fn rebind(&self) -> io::Result<()> {
        Handle::try_current().map_err(io::Error::other)?;
        let unsupported = |why| io::Error::new(io::ErrorKind::Unsupported, why);
        if !self.endpoint.is_single() {
            return Err(unsupported("the connection shares its socket with others"));
        }
        if let State::Closed(error) = self.state() {
            return Err(end_error(error));
        }
        if self.migration_token().is_none() {
            return Err(unsupported(
                "the peer does not support migration, or has not answered yet",
            ));
        }
        let peer = self.path().peer;
        // Of the same family, so that the peer is spelled as before.
        let local = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        self.endpoint.rebind(|maker| {
            let (socket, _) = maker.connect(Some(local), peer, &self.endpoint.config)?;
            Ok(socket)
        })
    }
}
