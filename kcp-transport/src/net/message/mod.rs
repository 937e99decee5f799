//! Messages over a connection.

mod futures;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

#[cfg(doc)]
use crate::config::Config;
use crate::config::Mode;
use crate::crypto::Security;
use crate::session::Role;

use super::connect::{ClientBuilder, ToAddrs};
use super::connection::{Connection, Handle};
use super::info::ConnectionInfo;
use super::stream::{KcpStream, ReuniteError, impl_addrs};
use super::sync::budgeted;
use futures::{impl_sink, impl_stream};

/// A connection over KCP that preserves message boundaries: each [`send`](Self::send) is one
/// [`recv`](Self::recv) of the peer.
///
/// Created from a stream by [`KcpStream::into_messages`], on the accepting side too, or by
/// [`KcpMessageStream::connect`]. Messages are reliable and in order; life and errors are those of
/// [`KcpStream`]. KCP peers in C and Go are compatible: `Read` of kcp-go returns one message at a
/// time, while each `Write` of kcp-go arrives as one message per segment.
///
/// It is a `Stream` of messages and a `Sink` for them, too, as its halves are.
///
/// # Cancel safety
///
/// Dropping a future of `send` before it is ready sends nothing of the message; dropping one of
/// `recv` loses nothing. `shutdown` can be called again.
///
/// # Examples
///
/// ```no_run
/// use kcp_transport::{KcpMessageStream, Security};
///
/// # async fn example() -> std::io::Result<()> {
/// let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
/// let mut stream = KcpMessageStream::connect("example.com:4000", &security).await?;
/// stream.send(b"hello").await?;
/// let mut answer = Vec::new();
/// stream.recv(&mut answer).await?;
/// stream.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct KcpMessageStream {
    handle: Handle,
    /// Taken by the sink, and not sent.
    queued: Option<Bytes>,
    /// The end or an error was returned by the stream.
    ended: bool,
}

/// The sending half of a [`KcpMessageStream`]. Dropping it shuts nothing down.
#[derive(Debug)]
pub struct MessageSender {
    handle: Arc<Handle>,
    queued: Option<Bytes>,
}

/// The receiving half of a [`KcpMessageStream`].
#[derive(Debug)]
pub struct MessageReceiver {
    handle: Arc<Handle>,
    ended: bool,
}

impl KcpMessageStream {
    /// Connects to `peer` in message mode with the default [`Config`], and returns once it has
    /// answered. For other options see [`ClientBuilder::connect_messages`].
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`KcpStream::connect`].
    pub async fn connect(peer: impl ToAddrs, security: &Security) -> io::Result<Self> {
        KcpStream::builder(security).connect_messages(peer).await
    }

    fn new(handle: Handle) -> Self {
        handle.0.set_mode(Mode::Message);
        Self {
            handle,
            queued: None,
            ended: false,
        }
    }

    /// Converts the connection to a byte stream.
    ///
    /// Flush it first if it was used as a `Sink`: a message that found no room is lost.
    #[must_use]
    pub fn into_stream(self) -> KcpStream {
        self.handle.0.set_mode(Mode::Stream);
        KcpStream::new(self.handle)
    }

    /// Splits the stream into halves that can move to different tasks.
    ///
    /// The session is released when both are dropped.
    #[must_use]
    pub fn into_split(self) -> (MessageReceiver, MessageSender) {
        let handle = Arc::new(self.handle);
        (
            MessageReceiver {
                handle: Arc::clone(&handle),
                ended: self.ended,
            },
            MessageSender {
                handle,
                queued: self.queued,
            },
        )
    }

    /// A handle for inspecting the connection, which stays valid after the stream is dropped.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(self.connection())
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.handle.0
    }
}

impl ClientBuilder {
    /// As [`connect`](Self::connect), in message mode, whatever the mode of the [`Config`].
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`KcpStream::connect`].
    pub async fn connect_messages(self, peer: impl ToAddrs) -> io::Result<KcpMessageStream> {
        let handle = self.messages()?.open(peer, Role::Connect).await?;
        Ok(KcpMessageStream::new(handle))
    }
}

impl KcpStream {
    /// Converts the stream to messages.
    ///
    /// Data that was written before is sent as one message per segment, and data that the peer
    /// wrote in stream mode is received so.
    #[must_use]
    pub fn into_messages(self) -> KcpMessageStream {
        KcpMessageStream::new(self.into_handle())
    }
}

impl MessageSender {
    /// A handle for inspecting the connection.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(self.connection())
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.handle.0
    }
}

impl MessageReceiver {
    /// Joins the two halves again.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`] if the halves belong to different streams.
    pub fn reunite(
        self,
        other: MessageSender,
    ) -> Result<KcpMessageStream, ReuniteError<Self, MessageSender>> {
        if !Arc::ptr_eq(&self.handle, &other.handle) {
            return Err(ReuniteError(self, other));
        }
        let MessageSender { handle, queued } = other;
        drop(handle);
        match Arc::try_unwrap(self.handle) {
            Ok(handle) => Ok(KcpMessageStream {
                handle,
                queued,
                ended: self.ended,
            }),
            // There are exactly two halves, and the other has given its handle up.
            Err(_) => unreachable!("a stream has two halves"),
        }
    }

    /// A handle for inspecting the connection.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(self.connection())
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.handle.0
    }
}

/// Implements sending for a type whose `connection()` is a [`Connection`].
macro_rules! impl_send {
    ($type:ty) => {
        impl $type {
            /// Sends one message, waiting for room in the send buffer.
            ///
            /// The message is sent at once as far as the windows allow, or by
            /// [`WriteCoalescing`](crate::config::WriteCoalescing).
            ///
            /// A kcp-go peer announces a window of 32 segments until its program has accepted the
            /// session. So the first message that is longer waits until the peer announces its real
            /// window, for little more than a second at most; the peer is probed meanwhile.
            ///
            /// A long message on a narrow path may need more fragments than there may be. It then has
            /// larger ones, which some paths lose: the connection ends by the user time-out with
            /// [`PathTooNarrow`](crate::error::ConnectionError::PathTooNarrow).
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::InvalidInput`] for an empty message and one longer than
            /// [`max_message_len`](Self::max_message_len), with a
            /// [`MessageError`](crate::arq::MessageError) that contains the limit; the stream stays
            /// usable. Otherwise the error that ended the connection.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future before it is ready sends nothing of the message.
            pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
                poll_fn(|cx| self.poll_send(cx, message)).await
            }

            /// Polls for room for one message and sends it. Only the last task to poll is woken.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send).
            pub fn poll_send(
                &mut self,
                cx: &mut Context<'_>,
                message: &[u8],
            ) -> Poll<io::Result<()>> {
                ready!(self.poll_queued(cx))?;
                budgeted(cx, |cx| self.connection().poll_send_message(cx, message))
            }

            /// Sends the message that the sink has taken.
            fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let Some(message) = self.queued.take() else {
                    return Poll::Ready(Ok(()));
                };
                let sent = budgeted(cx, |cx| self.connection().poll_send_message(cx, &message));
                if sent.is_pending() {
                    self.queued = Some(message);
                }
                sent
            }

            /// The largest size of a message in bytes: 255 segments, or the largest window that the
            /// peer has announced if that is less, and no more than the send buffer. Until the peer
            /// announces a window, which it has done once connected, 32 segments. A peer that is
            /// short of memory from the beginning announces a small window first, and a larger one
            /// later.
            #[must_use]
            pub fn max_message_len(&self) -> usize {
                self.connection().max_message_len()
            }

            /// Shuts down sending; returns once all messages that were sent are acknowledged.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::TimedOut`] if that takes longer than [`Config::linger`], and the
            /// error that ended the connection earlier.
            ///
            /// # Cancel safety
            ///
            /// Sending is shut down with the first poll; call it again to wait for its end.
            pub async fn shutdown(&mut self) -> io::Result<()> {
                poll_fn(|cx| {
                    ready!(self.poll_queued(cx))?;
                    self.connection().poll_shutdown(cx)
                })
                .await
            }
        }
    };
}

/// Implements receiving for a type whose `connection()` is a [`Connection`].
macro_rules! impl_recv {
    ($type:ty) => {
        impl $type {
            /// Receives the next message into `message`, replacing its content, and returns its
            /// length in bytes: 0 for an empty one, which peers in C can send.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::InvalidData`] if the peer sends fragments that form no message;
            /// [`io::ErrorKind::UnexpectedEof`] if a peer of this crate has shut down its side; and
            /// the error that ended the connection. All errors come after the messages that had
            /// arrived.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses no message and leaves `message` unchanged.
            pub async fn recv(&mut self, message: &mut Vec<u8>) -> io::Result<usize> {
                poll_fn(|cx| self.poll_recv(cx, message)).await
            }

            /// Polls for the next message. Only the last task to poll is woken.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv).
            pub fn poll_recv(
                &mut self,
                cx: &mut Context<'_>,
                message: &mut Vec<u8>,
            ) -> Poll<io::Result<usize>> {
                let connection = self.connection();
                ready!(budgeted(cx, |cx| connection.poll_recv_message(cx, message)))?;
                Poll::Ready(Ok(message.len()))
            }
        }
    };
}

impl_addrs!(KcpMessageStream);
impl_addrs!(MessageSender);
impl_addrs!(MessageReceiver);
impl_send!(KcpMessageStream);
impl_send!(MessageSender);
impl_recv!(KcpMessageStream);
impl_recv!(MessageReceiver);
impl_sink!(KcpMessageStream);
impl_sink!(MessageSender);
impl_stream!(KcpMessageStream);
impl_stream!(MessageReceiver);
