//! The byte stream.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use crate::config::Config;
use crate::crypto::Security;
use crate::error::ResetCode;
use crate::session::Role;
use crate::stats::Stats;
use crate::wire::ConversationId;

use super::connect;
use super::connection::{Connection, Handle};
use super::info::ConnectionInfo;
use super::io::Transport;
use super::sync::budgeted;

/// A connection over KCP, read and written like a TCP stream.
///
/// # Life and errors
///
/// KCP itself never says that a connection has begun or ended. Between two peers of this crate,
/// [`Extensions`](crate::config::Extensions) do: reads end with end-of-file once the other side has
/// shut down, the other direction goes on, and [`KcpStream::reset`] gives up both at once. With any
/// peer this type finds out by time:
///
/// - A peer that vanishes ends the stream with [`io::ErrorKind::TimedOut`] on reads and writes,
///   never with end-of-file and never with a hang. See [`Config::user_timeout`] and
///   [`Config::idle_timeout`].
/// - A peer that was restarted ends it with [`io::ErrorKind::ConnectionReset`], after the next
///   retransmission or, if nothing is written, after the next [`Config::keepalive`]. A side that has
///   only ever read has sent nothing that the new process could be seen to have forgotten: it gets
///   [`io::ErrorKind::TimedOut`] at the [`Config::idle_timeout`], and without one it waits for ever.
/// - `shutdown` (of `tokio::io::AsyncWriteExt`) returns once the peer has acknowledged everything
///   written. A peer that knows no extensions is not told: KCP's wire has no end-of-file, so let the
///   protocol above say that it is done, as HTTP does.
/// - Dropping the stream lets what was written drain in the background, for up to
///   [`Config::linger`]. That needs the runtime: await `shutdown` before leaving `main`.
/// - After the first error every call fails with the same one, once what had arrived is read.
///
/// The source of an [`io::Error`] that says how the connection ended is a
/// [`ConnectionError`](crate::error::ConnectionError). What the user did has none: a write after
/// `shutdown` fails with [`io::ErrorKind::BrokenPipe`], and what is asked through a handle that
/// outlives the stream, of a session that its user let go of, with [`io::ErrorKind::NotConnected`].
/// Nor has a refusal of [`KcpStream::rebind`].
///
/// # Cancel safety
///
/// Dropping a future of `read`, `write`, `flush` or `shutdown` loses no data: each poll either
/// moves bytes and says so or moves none. `shutdown` has begun with its first poll; call it again
/// to wait on. Futures that make several calls, as those of `read_exact` and `write_all` do, are not
/// cancel safe, as on any stream of tokio: what they moved before they were dropped they do not say.
#[derive(Debug)]
pub struct KcpStream {
    handle: Handle,
}

impl KcpStream {
    /// Connects to `peer` with the default [`Config`].
    ///
    /// See [`KcpStream::connect_with`].
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect_with`].
    ///
    /// # Cancel safety
    ///
    /// As [`KcpStream::connect_with`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use kcp_transport::crypto::Security;
    /// use kcp_transport::net::KcpStream;
    /// use tokio::io::{AsyncReadExt, AsyncWriteExt};
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    /// let mut stream = KcpStream::connect("127.0.0.1:4000".parse().unwrap(), &security).await?;
    /// stream.write_all(b"hello").await?;
    /// let mut answer = [0; 5];
    /// stream.read_exact(&mut answer).await?;
    /// stream.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(peer: SocketAddr, security: &Security) -> io::Result<Self> {
        Self::connect_with(peer, security, &Config::default()).await
    }

    /// Connects to `peer` and returns once it has answered.
    ///
    /// The stream has a UDP socket and a random conversation id of its own, which is what kcp-go
    /// servers need. The proof that the peer is there is its answer to a window probe.
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::InvalidInput`]: the mtu has no room for data under this cipher.
    /// - [`io::ErrorKind::TimedOut`]: no answer within [`Config::connect_timeout`]. A peer with
    ///   another key or cipher also stays silent.
    /// - [`io::ErrorKind::ConnectionRefused`]: the peer's host says that nobody listens. Seen on Linux,
    ///   Android and Windows; elsewhere that ends in the time-out.
    /// - Errors of making the socket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up and leaves nothing behind.
    pub async fn connect_with(
        peer: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        let handle = connect::open(peer, security, config, Role::Connect)?;
        handle.connected().await?;
        Ok(Self::new(handle))
    }

    /// As [`KcpStream::connect_with`], without asking the peer: saves a round trip, and reports a
    /// peer that is not there only when written data stays unacknowledged.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for an mtu without room for data, and errors of making the
    /// socket. Must be called within a tokio runtime.
    pub fn connect_lazy(
        peer: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        connect::open(peer, security, config, Role::ConnectLazy).map(Self::new)
    }

    /// Connects to `peer` over any transport of datagrams, and returns once it has answered.
    ///
    /// The socket options of `config` are the transport's own business. Datagrams that come from
    /// another address than `peer` are dropped.
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect_with`]. Must be called within a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up; the transport is dropped once it has ended.
    pub async fn connect_transport(
        transport: Arc<dyn Transport>,
        peer: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        let handle = connect::open_on(transport, peer, security, config, Role::Connect)?;
        handle.connected().await?;
        Ok(Self::new(handle))
    }

    pub(super) fn new(handle: Handle) -> Self {
        Self { handle }
    }

    pub(super) fn into_handle(self) -> Handle {
        self.handle
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.handle.0
    }

    /// Goes on from another socket, on a free port: for a client whose network has changed, and whose
    /// old socket may belong to an address that it no longer has.
    ///
    /// The peer follows as soon as it has seen that the new address is ours: about two round trips.
    /// What was on its way to the old address is sent again; nothing is lost or read twice.
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::Unsupported`]: the peer does not follow, since it is no peer of this crate
    ///   or [`Extensions::Migration`](crate::config::Extensions::Migration) is not on at both sides, or has not
    ///   answered yet; or the stream was accepted, or runs over a transport of the user's or on a
    ///   [`KcpEndpoint`](super::KcpEndpoint), which [moves](super::KcpEndpoint::rebind) as a whole.
    /// - That of the connection if it has ended.
    /// - Errors of making the socket; the stream stays where it is. Must be called within a tokio
    ///   runtime.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(stream: kcp_transport::net::KcpStream) -> std::io::Result<()> {
    /// // The system says that the route has changed.
    /// stream.rebind()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rebind(&self) -> io::Result<()> {
        self.connection().rebind()
    }

    /// The address the stream sends from. A stream that has connected on a system other than Linux,
    /// Android and Windows knows the port alone; the rest is unspecified.
    ///
    /// # Errors
    ///
    /// That of asking the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.connection().local_addr()
    }

    /// The peer's address: at a listener, the one it has now, since a peer may move. See
    /// [`Extensions::Migration`](crate::config::Extensions::Migration).
    ///
    /// # Errors
    ///
    /// None; the signature is that of TCP's stream.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection().path().peer)
    }

    /// The conversation's id, the same on both sides.
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

    /// A handle for looking at the connection, also after the stream is gone.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(self.connection())
    }

    /// Gives the connection up at once, in both directions, with all that is not delivered.
    ///
    /// A peer of this crate reads and writes [`io::ErrorKind::ConnectionReset`] with `code` in
    /// [`ConnectionError::Reset`](crate::error::ConnectionError::Reset), once what had arrived is
    /// read. Others find out by their time-outs. To end a connection in good order, shut it down.
    pub fn reset(self, code: ResetCode) {
        self.connection().reset(code);
    }
}

pub(super) fn poll_read(
    connection: &Connection,
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    budgeted(cx, |cx| {
        connection.poll_read(cx, buf.remaining(), &mut |bytes| buf.put_slice(bytes))
    })
}

pub(super) fn poll_write<'a>(
    connection: &Connection,
    cx: &mut Context<'_>,
    bufs: impl Iterator<Item = &'a [u8]>,
) -> Poll<io::Result<usize>> {
    budgeted(cx, |cx| connection.poll_write(cx, bufs))
}

/// Implements the tokio traits for a type whose `connection()` is a [`Connection`].
macro_rules! impl_async_write {
    ($type:ty) => {
        impl tokio::io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let bufs = std::iter::once(buf);
                $crate::net::stream::poll_write(self.connection(), cx, bufs)
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.connection().poll_flush()
            }

            fn poll_shutdown(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.connection().poll_shutdown(cx)
            }

            fn poll_write_vectored(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let bufs = bufs.iter().map(|buf| &**buf);
                $crate::net::stream::poll_write(self.connection(), cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }
        }
    };
}
pub(super) use impl_async_write;

impl AsyncRead for KcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        poll_read(self.connection(), cx, buf)
    }
}

impl_async_write!(KcpStream);

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
