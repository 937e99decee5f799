//! Halves of a stream that borrow it.

use crate::net::connection::Connection;
use crate::net::stream::{KcpStream, ReadView};
use crate::net::stream::{impl_addrs, impl_buf_read, impl_read, impl_ready, impl_write};

/// The reading half of a [`KcpStream`] that [`KcpStream::split`] has borrowed.
#[derive(Debug)]
pub struct ReadHalf<'a> {
    connection: &'a Connection,
    view: &'a mut ReadView,
}

/// The writing half of a [`KcpStream`] that [`KcpStream::split`] has borrowed.
///
/// Dropping it does not shut down writing; call `shutdown` for that.
#[derive(Debug)]
pub struct WriteHalf<'a> {
    connection: &'a Connection,
}

impl KcpStream {
    /// Splits the stream into halves for use in one task at the same time. That costs nothing; for
    /// halves that can move to different tasks see [`KcpStream::into_split`]. The reading half is an
    /// `AsyncBufRead`, so that lines can be read from it as it is.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(mut stream: kcp_transport::KcpStream) -> std::io::Result<()> {
    /// let (mut reader, mut writer) = stream.split();
    /// tokio::io::copy(&mut reader, &mut writer).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        let (connection, view) = self.view();
        (ReadHalf { connection, view }, WriteHalf { connection })
    }
}

impl ReadHalf<'_> {
    fn connection(&self) -> &Connection {
        self.connection
    }

    fn view(&mut self) -> (&Connection, &mut ReadView) {
        (self.connection, self.view)
    }
}

impl WriteHalf<'_> {
    fn connection(&self) -> &Connection {
        self.connection
    }
}

impl_addrs!(ReadHalf<'_>);
impl_ready!(ReadHalf<'_>);
impl_read!(ReadHalf<'_>);
impl_buf_read!(ReadHalf<'_>);

impl_addrs!(WriteHalf<'_>);
impl_ready!(WriteHalf<'_>);
impl_write!(WriteHalf<'_>);
