//! Unreliable datagrams beside a stream.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::connection::Connection;
use super::message::KcpMessageStream;
use super::stream::KcpStream;
use super::sync::{Awaited, Waiter, budgeted};

/// Unreliable datagrams beside the stream of a connection: kcp-go's out-of-band data.
///
/// They are neither retransmitted nor ordered, and share the path and the cipher of the connection.
/// A handle is cheap to clone and independent of the owner of the stream; it does not keep the
/// connection alive.
///
/// Sending requires [`Config::fec`](crate::config::Config::fec) on this side, since the datagrams
/// use the header of FEC. Receiving requires nothing.
#[derive(Clone, Debug)]
pub struct Datagrams {
    connection: Arc<Connection>,
}

impl Datagrams {
    fn new(connection: &Arc<Connection>) -> Self {
        let connection = Arc::clone(connection);
        Self { connection }
    }

    /// Queues one datagram for sending; never waits. If too many are queued the oldest is dropped.
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::Unsupported`]: FEC is off on this side.
    /// - [`io::ErrorKind::InvalidInput`]: longer than [`max_size`](Self::max_size).
    /// - The error that ended the connection.
    ///
    /// The source of the first two is a [`DatagramError`](crate::error::DatagramError).
    pub fn send(&self, data: &[u8]) -> io::Result<()> {
        self.connection.send_datagram(data)
    }

    /// Waits for the next datagram.
    ///
    /// At most 64 received datagrams are queued; beyond that the oldest is dropped and counted.
    ///
    /// # Errors
    ///
    /// The error that ended the connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no datagram: the next call receives it.
    pub async fn recv(&self) -> io::Result<Vec<u8>> {
        self.connection.recv_datagram().await
    }

    /// Polls for the next datagram; several tasks may wait at the same time, and each receives
    /// different ones.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        budgeted(cx, |cx| self.connection.poll_for(&mut Waiter::Task, cx))
    }

    /// The largest size of a datagram in bytes: the room of one packet. `None` if FEC is off on
    /// this side, so that none can be sent.
    #[must_use]
    pub fn max_size(&self) -> Option<usize> {
        self.connection.max_datagram_size()
    }
}

impl KcpStream {
    /// Sends one unreliable datagram beside the stream; never waits. See [`Datagrams::send`].
    ///
    /// # Errors
    ///
    /// As [`Datagrams::send`].
    #[doc(alias = "SendOOB")]
    pub fn send_datagram(&self, data: &[u8]) -> io::Result<()> {
        self.connection().send_datagram(data)
    }

    /// Waits for the next unreliable datagram. See [`Datagrams::recv`].
    ///
    /// # Errors
    ///
    /// As [`Datagrams::recv`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no datagram: the next call receives it.
    #[doc(alias = "SetOOBHandler")]
    pub async fn recv_datagram(&self) -> io::Result<Vec<u8>> {
        self.connection().recv_datagram().await
    }

    /// The largest size of an unreliable datagram in bytes, or `None` if FEC is off on this side,
    /// so that none can be sent.
    #[must_use]
    #[doc(alias = "GetOOBMaxSize")]
    pub fn max_datagram_size(&self) -> Option<usize> {
        self.connection().max_datagram_size()
    }

    /// A handle for unreliable datagrams, independent of the owner of the stream or its halves.
    #[must_use]
    pub fn datagrams(&self) -> Datagrams {
        Datagrams::new(self.connection())
    }
}

impl KcpMessageStream {
    /// A handle for unreliable datagrams beside the messages.
    #[must_use]
    pub fn datagrams(&self) -> Datagrams {
        Datagrams::new(self.connection())
    }
}
