//! Halves of a stream.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::connection::{Connection, Handle};
use super::info::ConnectionInfo;
use super::stream::{KcpStream, impl_async_write, poll_read};

/// The reading half of a [`KcpStream`].
#[derive(Debug)]
pub struct OwnedReadHalf {
    handle: Arc<Handle>,
}

/// The writing half of a [`KcpStream`].
///
/// Dropping it does not shut down writing; call `shutdown` for that.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    handle: Arc<Handle>,
}

/// The error of [`OwnedReadHalf::reunite`]: two halves of different streams, which it returns.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves belong to different streams")
    }
}

impl std::error::Error for ReuniteError {}

impl KcpStream {
    /// Splits the stream into halves that can move to different tasks.
    ///
    /// The session is released when both are dropped; dropping the write half alone does not shut
    /// down writing.
    #[must_use]
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let handle = Arc::new(self.into_handle());
        let reader = OwnedReadHalf {
            handle: Arc::clone(&handle),
        };
        (reader, OwnedWriteHalf { handle })
    }
}

impl OwnedReadHalf {
    fn connection(&self) -> &Connection {
        &self.handle.0
    }

    /// Joins the two halves to a stream again.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`] if the halves belong to different streams.
    pub fn reunite(self, other: OwnedWriteHalf) -> Result<KcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.handle, &other.handle) {
            return Err(ReuniteError(self, other));
        }
        drop(other);
        match Arc::try_unwrap(self.handle) {
            Ok(handle) => Ok(KcpStream::new(handle)),
            // There are exactly two halves, and the other is dropped.
            Err(_) => unreachable!("a stream has two halves"),
        }
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// None; the signature is that of the halves of `TcpStream`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection().path().peer)
    }

    /// A handle for inspecting the connection.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(&self.handle.0)
    }
}

impl OwnedWriteHalf {
    fn connection(&self) -> &Connection {
        &self.handle.0
    }

    /// The peer's address.
    ///
    /// # Errors
    ///
    /// None; the signature is that of the halves of `TcpStream`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.connection().path().peer)
    }

    /// A handle for inspecting the connection.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(&self.handle.0)
    }
}

impl AsyncRead for OwnedReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        poll_read(self.connection(), cx, buf)
    }
}

impl_async_write!(OwnedWriteHalf);

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWrite;

    use super::*;

    #[test]
    fn write_half_moves_between_threads() {
        fn check<T: Send + Sync + Unpin + AsyncWrite>() {}
        check::<OwnedWriteHalf>();
    }
}
