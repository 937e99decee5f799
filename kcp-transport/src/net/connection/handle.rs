//! Ownership of a session.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use super::Connection;

/// Owns a session. Dropping it releases the session, which lingers until its data has drained.
#[derive(Debug)]
pub(in crate::net) struct Handle(pub(in crate::net) Arc<Connection>);

impl Handle {
    /// Waits for the peer's first answer.
    pub(in crate::net) async fn connected(&self) -> io::Result<()> {
        poll_fn(|cx| self.0.poll_connected(cx)).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
