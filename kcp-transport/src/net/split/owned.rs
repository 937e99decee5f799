//! Halves of a stream that own it together.

use std::sync::Arc;

use crate::net::connection::{Connection, Handle};
use crate::net::info::ConnectionInfo;
use crate::net::stream::{KcpStream, ReadView, ReuniteError};
use crate::net::stream::{impl_addrs, impl_buf_read, impl_read, impl_ready, impl_write};

/// The reading half of a [`KcpStream`].
#[derive(Debug)]
pub struct OwnedReadHalf {
    handle: Arc<Handle>,
    view: ReadView,
}

/// The writing half of a [`KcpStream`].
///
/// Dropping it does not shut down writing; call `shutdown` for that.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    handle: Arc<Handle>,
}

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
            view: ReadView::default(),
        };
        (reader, OwnedWriteHalf { handle })
    }
}

impl OwnedReadHalf {
    fn connection(&self) -> &Connection {
        &self.handle.0
    }

    fn view(&mut self) -> (&Connection, &mut ReadView) {
        (&self.handle.0, &mut self.view)
    }

    /// Joins the two halves to a stream again.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`] if the halves belong to different streams.
    pub fn reunite(
        self,
        other: OwnedWriteHalf,
    ) -> Result<KcpStream, ReuniteError<Self, OwnedWriteHalf>> {
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

    /// A handle for inspecting the connection.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(&self.handle.0)
    }
}

impl_addrs!(OwnedReadHalf);
impl_ready!(OwnedReadHalf);
impl_read!(OwnedReadHalf);
impl_buf_read!(OwnedReadHalf);

impl_addrs!(OwnedWriteHalf);
impl_ready!(OwnedWriteHalf);
impl_write!(OwnedWriteHalf);

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
