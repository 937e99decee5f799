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
    /// The stream has its own UDP socket and random conversation id, which kcp-go servers require.
    /// The peer is known to be there once it answers a window probe.
    ///
    /// # Errors
    ///
    /// - [`io::ErrorKind::InvalidInput`]: the mtu has no room for data under this cipher.
    /// - [`io::ErrorKind::TimedOut`]: no answer within [`Config::connect_timeout`]. A peer with
    ///   another key or cipher does not answer either.
    /// - [`io::ErrorKind::ConnectionRefused`]: the host of the peer reports a closed port. Detected
    ///   on Linux, Android and Windows; on other systems the attempt times out.
    /// - Errors of creating the socket.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the attempt and leaves nothing behind.
    pub async fn connect_with(
        peer: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        let handle = connect::open(peer, security, config, Role::Connect)?;
        handle.connected().await?;
        Ok(Self::new(handle))
    }

    /// As [`KcpStream::connect_with`], without waiting for an answer of the peer. It saves a round
    /// trip; a missing peer is reported only when written data stays unacknowledged.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for an mtu without room for data, and errors of creating the
    /// socket. Must be called within a tokio runtime.
    pub fn connect_lazy(
        peer: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        connect::open(peer, security, config, Role::ConnectLazy).map(Self::new)
    }

    /// Connects to `peer` over any [`Transport`], and returns once the peer has answered.
    ///
    /// The socket options of `config` are not applied to the transport. Datagrams from other
    /// addresses than `peer` are dropped.
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect_with`]. Must be called within a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future aborts the attempt; the transport is dropped once the session has ended.
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

    /// Moves the stream to another socket on a free port: for a client whose network has changed,
    /// and whose old socket may be bound to an address that it no longer has.
    ///
    /// The peer moves the connection once it has validated the new address: after about two round
    /// trips. Datagrams that were sent to the old address are retransmitted; no data is lost or
    /// read twice.
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
    /// # async fn example(stream: kcp_transport::net::KcpStream) -> std::io::Result<()> {
    /// // The system reports a new route.
    /// stream.rebind()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn rebind(&self) -> io::Result<()> {
        self.connection().rebind()
    }

    /// The local address of the stream. On systems other than Linux, Android and Windows, a stream
    /// that has connected knows its port only; the rest of the address is unspecified.
    ///
    /// # Errors
    ///
    /// The error of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.connection().local_addr()
    }

    /// The current address of the peer. At a listener it may change, since a peer may migrate. See
    /// [`Extensions::Migration`](crate::config::Extensions::Migration).
    ///
    /// # Errors
    ///
    /// None; the signature is that of `TcpStream`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection().path().peer)
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

/// Implements `AsyncWrite` for a type whose `connection()` is a [`Connection`].
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
