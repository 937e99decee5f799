//! Unreliable datagrams beside a stream.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::session::State;

use super::connection::{Connection, end};
use super::sync::{Awaited, Place, Ticket, Waiting, budgeted, lock};

/// Unreliable datagrams beside the stream of a connection: kcp-go's out-of-band data.
///
/// They are neither repeated nor put in order, and share the connection's path and cipher. Cheap to
/// clone, and independent of who reads and writes the stream; it does not keep the connection
/// alive.
///
/// Sending needs [`Config::fec`](crate::config::Config::fec) on our side, since the header is
/// FEC's. Receiving needs nothing.
#[derive(Clone, Debug)]
pub struct Datagrams {
    connection: Arc<Connection>,
}

impl Datagrams {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// Sends one datagram; never waits. When too many are queued the oldest is dropped.
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::Unsupported`]: FEC is off on our side.
    /// - [`io::ErrorKind::InvalidInput`]: longer than [`max_size`](Self::max_size).
    /// - The error that ended the connection.
    ///
    /// The source of the first two is a [`DatagramError`](crate::error::DatagramError).
    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        self.connection.send_datagram(data)
    }

    /// Waits for the next datagram.
    ///
    /// At most 64 are kept for it; beyond that the oldest is dropped and counted.
    ///
    /// # Errors
    ///
    /// The error that ended the connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no datagram: whoever waits next gets it.
    pub async fn recv(&self) -> io::Result<Vec<u8>> {
        self.connection.recv_datagram().await
    }

    /// Polls for the next datagram; several tasks may wait at a time, and each is given others.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        budgeted(cx, |cx| self.connection.poll_for(&mut Place::Task, cx))
    }

    /// Most bytes of a datagram: what one packet holds. `None` if FEC is off on our side, so that
    /// none can be sent.
    #[must_use]
    pub fn max_size(&self) -> Option<usize> {
        self.connection.max_datagram_size()
    }
}

impl Connection {
    pub(super) fn max_datagram_size(&self) -> Option<usize> {
        lock(&self.inner).session.max_out_of_band_len()
    }

    pub(super) fn send_datagram(&self, data: &[u8]) -> io::Result<()> {
        let now = self.endpoint.clock.now();
        let mut inner = lock(&self.inner);
        if let State::Closed(error) = inner.session.state() {
            return Err(end(error));
        }
        inner.session.send_out_of_band(now, data)?;
        drop(inner);
        self.endpoint.transmit(self);
        Ok(())
    }

    pub(super) async fn recv_datagram(&self) -> io::Result<Vec<u8>> {
        Waiting::new(self).await
    }
}

/// Its datagrams.
impl Awaited for Connection {
    type Output = io::Result<Vec<u8>>;

    fn poll_for(&self, place: &mut Place, cx: &Context<'_>) -> Poll<Self::Output> {
        let mut inner = lock(&self.inner);
        if let Some(data) = inner.session.poll_out_of_band() {
            return Poll::Ready(Ok(data));
        }
        if let State::Closed(error) = inner.session.state() {
            return Poll::Ready(Err(end(error)));
        }
        inner.datagram_readers.register(place, cx);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let waker = lock(&self.inner).datagram_readers.leave(ticket);
        drop(waker);
    }
}
