//! The byte stream.

mod reunite;
mod traits;
mod view;

use std::io;
#[cfg(doc)]
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::Config;
use crate::crypto::Security;
use crate::error::{ConfigError, ResetCode};
use crate::session::Role;
use crate::stats::Stats;
use crate::wire::ConversationId;

use super::connect::{ClientBuilder, ToAddrs};
use super::connection::{Connection, Handle};
use super::info::ConnectionInfo;
pub use reunite::ReuniteError;
pub(super) use traits::{impl_addrs, impl_buf_read, impl_read, impl_ready, impl_write};
pub(super) use view::ReadView;

/// A connection over KCP, read and written like a TCP stream.
///
/// # Life and errors
///
/// KCP itself has no message for the beginning or end of a connection. Between two peers of this
/// crate, [`Extensions`](crate::config::Extensions) add them: reads end with end-of-file once the
/// other side has shut down, the other direction stays open, and [`KcpStream::reset`] closes both
/// directions at once. With any peer, time-outs detect the end:
///
/// - A peer that vanishes ends the stream with [`io::ErrorKind::TimedOut`] on reads and writes,
///   never with end-of-file and never with a hang. See [`Config::user_timeout`] and
///   [`Config::idle_timeout`].
/// - A peer that was restarted ends the stream with [`io::ErrorKind::ConnectionReset`], after the
///   next retransmission or, if nothing is written, after the next [`Config::keepalive`]. A side
///   that has only ever read has sent no data for the new process to miss: its stream ends with
///   [`io::ErrorKind::TimedOut`] at the [`Config::idle_timeout`], and without one it waits forever.
/// - `shutdown` (of `tokio::io::AsyncWriteExt`) returns once the peer has acknowledged all written
///   data. A peer without extensions does not learn of it: the wire format of KCP has no
///   end-of-file, so the protocol above must signal the end, as HTTP does.
/// - After the stream is dropped, written data drains in the background, for up to
///   [`Config::linger`]. That needs the runtime: await `shutdown` before leaving `main`.
/// - After the first error every call fails with the same one, once data that had arrived is read.
///
/// The source of an [`io::Error`] that ends the connection is a
/// [`ConnectionError`](crate::error::ConnectionError). Errors caused by the caller have no source:
/// a write after `shutdown` fails with [`io::ErrorKind::BrokenPipe`], a call through a handle that
/// outlives the stream with [`io::ErrorKind::NotConnected`], and a refused [`KcpStream::rebind`]
/// with [`io::ErrorKind::Unsupported`].
///
/// # Lines
///
/// The halves that [`KcpStream::split`] and [`KcpStream::into_split`] return implement
/// [`AsyncBufRead`](tokio::io::AsyncBufRead): `lines` and its like read from them without a
/// `BufReader` and its copy of the data. The stream itself does not implement it. Where
/// `AsyncBufReadExt` is imported, its method `split` would be called in place of
/// [`KcpStream::split`].
///
/// # Cancel safety
///
/// Dropping a future of `read`, `write`, `flush` or `shutdown` loses no data: each poll either
/// moves bytes and reports them, or moves none. `shutdown` takes effect with its first poll; call
/// it again to wait for its end. Futures that make several calls, such as those of `read_exact` and
/// `write_all`, are not cancel safe, as on any stream of tokio: after a drop the number of bytes
/// they moved is unknown.
#[derive(Debug)]
pub struct KcpStream {
    handle: Handle,
    view: ReadView,
}

impl KcpStream {
    /// Connects to `peer` with the default [`Config`], and returns once it has answered.
    ///
    /// `peer` is anything that tokio resolves: `"example.com:4000"`, `("::1", 4000)`, a
    /// [`SocketAddr`]. Addresses of a name are raced: both families in turns, each with a head start
    /// of 250 ms over the next (RFC 8305), all within [`Config::connect_timeout`], 10 s by default.
    ///
    /// The stream has a UDP socket and a random conversation id of its own, which is what kcp-go
    /// servers need. The proof that the peer is there is its answer to a window probe. For other
    /// options see [`KcpStream::builder`].
    ///
    /// # Errors
    ///
    /// A [`ConnectError`](crate::error::ConnectError), which lists each address with its reason. The
    /// kind is
    ///
    /// - [`io::ErrorKind::InvalidInput`]: no host and port, or an address at which there can be no
    ///   peer: port 0, multicast, a link-local address without scope id, the wrong family for the
    ///   local address.
    /// - [`io::ErrorKind::NotFound`]: the host is unknown or has no address.
    /// - [`io::ErrorKind::TimedOut`]: no answer within [`Config::connect_timeout`]. A peer with
    ///   another key or cipher also stays silent.
    /// - [`io::ErrorKind::ConnectionRefused`]: the peer's host reports that nothing listens there.
    ///   Seen on Linux, Android and Windows; elsewhere that ends in the time-out. Or a peer of this
    ///   crate is shutting down, or had no room until the time-out:
    ///   [`ConnectionError::Rejected`](crate::error::ConnectionError::Rejected).
    /// - that of the system, if the socket cannot be made or used. Without a free file
    ///   descriptor it waits for one for up to half a second first.
    ///
    /// And a [`ConfigError`](crate::error::ConfigError) of kind [`io::ErrorKind::InvalidInput`] if
    /// the mtu has no room for data under this cipher. Must be called within a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up and leaves nothing behind but the lookup of a
    /// name, which one of the runtime's threads finishes.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use kcp_transport::{KcpStream, Security};
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    /// let mut stream = KcpStream::connect("example.com:4000", &security).await?;
    /// stream.write_all(b"hello").await?;
    /// let mut answer = [0; 5];
    /// stream.read_exact(&mut answer).await?;
    /// stream.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(peer: impl ToAddrs, security: &Security) -> io::Result<Self> {
        Self::builder(security).connect(peer).await
    }

    /// Starts from the default options of a connection.
    pub fn builder(security: &Security) -> ClientBuilder {
        ClientBuilder::new(security)
    }

    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            view: ReadView::default(),
        }
    }

    pub(super) fn into_handle(self) -> Handle {
        self.handle
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.handle.0
    }

    pub(super) fn view(&mut self) -> (&Connection, &mut ReadView) {
        (&self.handle.0, &mut self.view)
    }

    /// Moves the stream to another socket on a free port: for a client whose network has changed,
    /// and whose old socket may be bound to an address that it no longer has.
    ///
    /// The peer moves the connection once it has validated the new address: after about two round
    /// trips. Datagrams that were sent to the old address are retransmitted; no data is lost or
    /// read twice.
    ///
    /// A stream does so by itself when sending fails for 200 ms because its local address or its
    /// route is gone, and again at growing intervals of up to 5 s while that lasts. Where nothing
    /// is written, a keepalive probe has to fail first.
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::Unsupported`]: the peer does not support migration, since it is no peer
    ///   of this crate or [`Extensions::Migration`](crate::config::Extensions::Migration) is not
    ///   enabled on both sides; or it has not answered yet; or the stream was accepted, runs over a
    ///   transport of the caller, or is on a [`KcpEndpoint`](super::KcpEndpoint), which
    ///   [moves](super::KcpEndpoint::rebind) as a whole.
    /// - The error of the connection if it has ended.
    /// - Errors of creating the socket; the stream keeps its current socket. Must be called within
    ///   a tokio runtime.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(stream: kcp_transport::KcpStream) -> std::io::Result<()> {
    /// // The system reports a new route.
    /// stream.rebind()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rebind(&self) -> io::Result<()> {
        self.connection().rebind()
    }

    /// The conversation id, the same on both sides.
    #[must_use]
    #[doc(alias = "conv")]
    pub fn conversation(&self) -> ConversationId {
        self.connection().conversation
    }

    /// A copy of the connection's counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.connection().stats()
    }

    /// A handle for inspecting the connection, which stays valid after the stream is dropped.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(self.connection())
    }

    /// The current options of the connection.
    #[must_use]
    pub fn config(&self) -> Config {
        self.connection().config()
    }

    /// Changes the options of the open connection, all or none of them. No data is lost.
    ///
    /// Can change: the timing (`no_delay`, `flush_interval`, `fast_retransmit_after`, `congestion`,
    /// or a preset), the redundancy, both windows and both buffers, the mtu downward, when acks and
    /// writes are sent, the send rate, and the time limits except for that of connecting. Data that
    /// was received stays, also if the windows are smaller than it. Data that was sent is sent again
    /// in datagrams of the size that it had.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Fixed`] for an option that differs from the current one and cannot change: FEC,
    /// extensions, options of the socket, the stream mode, a larger mtu, a smaller receive window with
    /// messages. [`ConfigError::MtuTooSmall`] if the mtu has no room for data.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # fn example(stream: &kcp_transport::KcpStream) -> std::io::Result<()> {
    /// let narrow = stream.config().to_builder().windows(64, 1024).build()?;
    /// stream.reconfigure(&narrow)?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "SetNoDelay")]
    #[doc(alias = "SetWindowSize")]
    #[doc(alias = "SetMtu")]
    #[doc(alias = "SetACKNoDelay")]
    #[doc(alias = "SetRateLimit")]
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        self.connection().reconfigure(config)
    }

    /// Closes the connection at once, in both directions, and discards all undelivered data.
    ///
    /// A peer of this crate gets [`io::ErrorKind::ConnectionReset`] with `code` in
    /// [`ConnectionError::Reset`](crate::error::ConnectionError::Reset), once data that had arrived
    /// is read. Other peers detect the end by their time-outs. To close a connection in good order,
    /// call `shutdown`.
    pub fn reset(self, code: ResetCode) {
        self.connection().reset(code);
    }
}

impl ClientBuilder {
    /// Connects to `peer` and returns once it has answered. See [`KcpStream::connect`].
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`KcpStream::connect`].
    pub async fn connect(self, peer: impl ToAddrs) -> io::Result<KcpStream> {
        self.open(peer, Role::Connect).await.map(KcpStream::new)
    }

    /// As [`connect`](Self::connect), without waiting for the peer: saves a round trip, and reports
    /// a peer that is not there only when written data stays unacknowledged.
    ///
    /// Of several addresses it takes the first that a socket can be made for.
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect`], but for those that the peer or its silence would give.
    ///
    /// # Cancel safety
    ///
    /// As [`KcpStream::connect`]. Waits for the lookup of a name alone.
    pub async fn connect_lazy(self, peer: impl ToAddrs) -> io::Result<KcpStream> {
        self.open(peer, Role::ConnectLazy).await.map(KcpStream::new)
    }
}

impl_addrs!(KcpStream);
impl_ready!(KcpStream);
impl_read!(KcpStream);
impl_write!(KcpStream);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWrite;

    use super::*;

    #[test]
    fn stream_moves_between_threads() {
        fn check<T: Send + Sync + Unpin + AsyncWrite>() {}
        check::<KcpStream>();
    }
}
