//! The traits and methods of tokio's streams, for the stream and all of its halves.

/// Implements the addresses of a type whose `connection()` is a
/// [`Connection`](crate::net::connection::Connection).
macro_rules! impl_addrs {
    ($type:ty) => {
        impl $type {
            /// The local address of the stream. On systems other than Linux, Android and Windows, a
            /// stream that has connected knows its port only; the rest of the address is
            /// unspecified.
            ///
            /// # Errors
            ///
            /// The error of the socket.
            pub fn local_addr(&self) -> std::io::Result<std::net::SocketAddr> {
                self.connection().local_addr()
            }

            /// The current address of the peer. At a listener it may change, since a peer may
            /// migrate. See [`Extensions::Migration`](crate::config::Extensions::Migration).
            ///
            /// # Errors
            ///
            /// None; the signature is that of `TcpStream`.
            pub fn peer_addr(&self) -> std::io::Result<std::net::SocketAddr> {
                Ok(self.connection().path().peer)
            }
        }
    };
}
pub(in crate::net) use impl_addrs;

/// Implements reading for a type whose `connection()` is a
/// [`Connection`](crate::net::connection::Connection).
macro_rules! impl_read {
    ($type:ty) => {
        impl $type {
            /// Reads what is there, and never waits. Returns the number of bytes; 0 is end-of-file,
            /// or an empty `buf`.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::WouldBlock`](std::io::ErrorKind::WouldBlock) if nothing is there,
            /// and the error that ended the connection.
            pub fn try_read(&self, mut buf: &mut [u8]) -> std::io::Result<usize> {
                let len = buf.len();
                self.connection()
                    .try_read(len, &mut |bytes| bytes::BufMut::put_slice(&mut buf, bytes))
            }

            /// Waits until [`try_read`](Self::try_read) has a result.
            ///
            /// # Errors
            ///
            /// None; the signature is that of `TcpStream`.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing. Any number of tasks may wait.
            pub async fn readable(&self) -> std::io::Result<()> {
                self.ready(tokio::io::Interest::READABLE).await.map(|_| ())
            }

            /// As [`readable`](Self::readable), for `poll` functions.
            ///
            /// # Errors
            ///
            /// None; the signature is that of `TcpStream`.
            pub fn poll_read_ready(
                &self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let ready = self
                    .connection()
                    .poll_ready(tokio::io::Interest::READABLE, cx);
                ready.map(|_| Ok(()))
            }

            /// Copies the next bytes to `buf` without taking them out of the stream, waiting for the
            /// first of them. Returns their number; 0 is end-of-file, or an empty `buf`.
            ///
            /// # Errors
            ///
            /// The error that ended the connection.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing.
            pub async fn peek(&self, buf: &mut [u8]) -> std::io::Result<usize> {
                loop {
                    self.readable().await?;
                    let mut room = &mut *buf;
                    let len = room.len();
                    let peeked = self.connection().try_peek(len, &mut |bytes| {
                        bytes::BufMut::put_slice(&mut room, bytes);
                    });
                    match peeked {
                        // Another task has read it.
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                        peeked => return peeked,
                    }
                }
            }
        }

        impl tokio::io::AsyncRead for $type {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let connection = self.connection();
                $crate::net::sync::budgeted(cx, |cx| {
                    let room = buf.remaining();
                    connection.poll_read(cx, room, &mut |bytes| buf.put_slice(bytes))
                })
            }
        }
    };
}
pub(in crate::net) use impl_read;

/// Implements buffered reading for a half whose `view()` are a
/// [`Connection`](crate::net::connection::Connection) and a [`ReadView`](super::ReadView).
///
/// The whole stream has none, since `AsyncBufReadExt::split`, which takes it by value, would hide
/// its own `split` wherever that trait is imported.
macro_rules! impl_buf_read {
    ($type:ty) => {
        impl tokio::io::AsyncBufRead for $type {
            fn poll_fill_buf(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<&[u8]>> {
                let (connection, view) = self.get_mut().view();
                view.poll_fill(connection, cx)
            }

            fn consume(self: std::pin::Pin<&mut Self>, len: usize) {
                let (connection, view) = self.get_mut().view();
                view.consume(connection, len);
            }
        }
    };
}
pub(in crate::net) use impl_buf_read;

/// Implements writing for a type whose `connection()` is a
/// [`Connection`](crate::net::connection::Connection).
macro_rules! impl_write {
    ($type:ty) => {
        impl $type {
            /// Writes as much as there is room for in the send buffer, and never waits. Returns the
            /// number of bytes. They leave at the latest with the next turn of the runtime.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::WouldBlock`](std::io::ErrorKind::WouldBlock) if there is no room;
            /// [`io::ErrorKind::BrokenPipe`](std::io::ErrorKind::BrokenPipe) after `shutdown`; and
            /// the error that ended the connection.
            pub fn try_write(&self, buf: &[u8]) -> std::io::Result<usize> {
                self.connection().try_write(std::iter::once(buf))
            }

            /// As [`try_write`](Self::try_write), from several buffers in turn.
            ///
            /// # Errors
            ///
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(
                &self,
                bufs: &[std::io::IoSlice<'_>],
            ) -> std::io::Result<usize> {
                self.connection().try_write(bufs.iter().map(|buf| &**buf))
            }

            /// Waits until [`try_write`](Self::try_write) has a result, and room for a quarter of the
            /// send buffer if it is not an error.
            ///
            /// # Errors
            ///
            /// None; the signature is that of `TcpStream`.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing. Any number of tasks may wait.
            pub async fn writable(&self) -> std::io::Result<()> {
                self.ready(tokio::io::Interest::WRITABLE).await.map(|_| ())
            }

            /// As [`writable`](Self::writable), for `poll` functions.
            ///
            /// # Errors
            ///
            /// None; the signature is that of `TcpStream`.
            pub fn poll_write_ready(
                &self,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let ready = self
                    .connection()
                    .poll_ready(tokio::io::Interest::WRITABLE, cx);
                ready.map(|_| Ok(()))
            }
        }

        impl tokio::io::AsyncWrite for $type {
            fn poll_write(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
                buf: &[u8],
            ) -> std::task::Poll<std::io::Result<usize>> {
                let bufs = std::iter::once(buf);
                $crate::net::sync::budgeted(cx, |cx| self.connection().poll_write(cx, bufs))
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
                $crate::net::sync::budgeted(cx, |cx| self.connection().poll_write(cx, bufs))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }
        }
    };
}
pub(in crate::net) use impl_write;

/// Implements waiting for a type whose `connection()` is a
/// [`Connection`](crate::net::connection::Connection).
macro_rules! impl_ready {
    ($type:ty) => {
        impl $type {
            /// Waits until the stream is ready for one of `interest`, and returns for which it is:
            /// readable if there is data, end-of-file or an error to be read; writable if there is
            /// room for a quarter of the send buffer, or an error.
            ///
            /// # Errors
            ///
            /// None; the signature is that of `TcpStream`.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses nothing. Any number of tasks may wait.
            pub async fn ready(
                &self,
                interest: tokio::io::Interest,
            ) -> std::io::Result<tokio::io::Ready> {
                Ok(self.connection().ready(interest).await)
            }
        }
    };
}
pub(in crate::net) use impl_ready;
