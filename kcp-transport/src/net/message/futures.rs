//! Messages as `Stream` and `Sink`.

/// Implements `Sink` for a type whose `queued_parts()` are a
/// [`Connection`](crate::net::connection::Connection) and the message that waits to be sent.
macro_rules! impl_sink {
    ($type:ty) => {
        /// Sends messages. One message is taken while others have no room in the send buffer;
        /// closing shuts down sending, as `shutdown` does.
        impl futures_sink::Sink<bytes::Bytes> for $type {
            type Error = std::io::Error;

            fn poll_ready(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.get_mut().poll_queued(cx)
            }

            fn start_send(
                self: std::pin::Pin<&mut Self>,
                message: bytes::Bytes,
            ) -> std::io::Result<()> {
                self.get_mut().queued = Some(message);
                Ok(())
            }

            fn poll_flush(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                self.get_mut().poll_queued(cx)
            }

            fn poll_close(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                let this = self.get_mut();
                std::task::ready!(this.poll_queued(cx))?;
                this.connection().poll_shutdown(cx)
            }
        }
    };
}
pub(super) use impl_sink;

/// Implements `Stream` for a type with `poll_recv`.
macro_rules! impl_stream {
    ($type:ty) => {
        /// Receives messages. Ends after the last message of a peer that has shut down, and after an
        /// error.
        impl futures_core::Stream for $type {
            type Item = std::io::Result<bytes::BytesMut>;

            fn poll_next(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                let this = self.get_mut();
                if this.ended {
                    return std::task::Poll::Ready(None);
                }
                let mut message = Vec::new();
                let received = std::task::ready!(this.poll_recv(cx, &mut message));
                this.ended = received.is_err();
                std::task::Poll::Ready(match received {
                    Ok(_) => Some(Ok(bytes::Bytes::from(message).into())),
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => None,
                    Err(error) => Some(Err(error)),
                })
            }
        }
    };
}
pub(super) use impl_stream;
