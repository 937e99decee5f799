//! Messages over a connection.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::config::{Config, Mode};
use crate::crypto::Security;

use super::connection::{Connection, Handle};
use super::info::ConnectionInfo;
use super::stream::KcpStream;
use super::sync::budgeted;

/// A connection over KCP that keeps the boundaries of messages: each [`send`](Self::send) is one
/// [`recv`](Self::recv) of the peer.
///
/// Made from a stream by [`KcpStream::into_messages`], on the accepting side too, or by
/// [`KcpMessageStream::connect`]. Messages are reliable and in order; life and errors are those of
/// [`KcpStream`]. KCP peers in C and Go understand them: kcp-go's `Read` returns one
/// message at a time, while each of its writes arrives as one message per segment.
///
/// # Cancel safety
///
/// Dropping a future of `send` before it is ready sends nothing of the message; of `recv`, loses
/// nothing. `shutdown` can be called again.
///
/// # Examples
///
/// ```no_run
/// use kcp_transport::config::Config;
/// use kcp_transport::crypto::Security;
/// use kcp_transport::net::KcpMessageStream;
///
/// # async fn example() -> std::io::Result<()> {
/// let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
/// let peer = "127.0.0.1:4000".parse().unwrap();
/// let mut stream = KcpMessageStream::connect(peer, &security, &Config::default()).await?;
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
}

/// The sending half of a [`KcpMessageStream`]. Dropping it shuts nothing down.
#[derive(Debug)]
pub struct MessageSender {
    handle: Arc<Handle>,
}

/// The receiving half of a [`KcpMessageStream`].
#[derive(Debug)]
pub struct MessageReceiver {
    handle: Arc<Handle>,
}

impl KcpMessageStream {
    /// Connects to `peer` in message mode, whatever mode `config` has, and returns once it has
    /// answered.
    ///
    /// # Errors
    ///
    /// As [`KcpStream::connect_with`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up and leaves nothing behind.
    pub async fn connect(
        peer: SocketAddr,
        security: &Security,
        config: &Config,
    ) -> io::Result<Self> {
        let config = config.to_builder().mode(Mode::Message).build()?;
        let stream = KcpStream::connect_with(peer, security, &config).await?;
        Ok(stream.into_messages())
    }

    fn new(handle: Handle) -> Self {
        handle.0.set_mode(Mode::Message);
        Self { handle }
    }

    /// Reads and writes bytes from now on.
    #[must_use]
    pub fn into_stream(self) -> KcpStream {
        self.handle.0.set_mode(Mode::Stream);
        KcpStream::new(self.handle)
    }

    /// Splits the stream into halves that can move to different tasks.
    ///
    /// The session is let go of when both are dropped.
    #[must_use]
    pub fn into_split(self) -> (MessageReceiver, MessageSender) {
        let handle = Arc::new(self.handle);
        (
            MessageReceiver {
                handle: Arc::clone(&handle),
            },
            MessageSender { handle },
        )
    }

    /// A handle for looking at the connection, also after the stream is gone.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(self.connection())
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.handle.0
    }
}

impl KcpStream {
    /// Sends and receives messages from now on.
    ///
    /// What was written before is a message of its own for each segment, and what the peer wrote
    /// in stream mode arrives so.
    #[must_use]
    pub fn into_messages(self) -> KcpMessageStream {
        KcpMessageStream::new(self.into_handle())
    }
}

impl MessageSender {
    /// A handle for looking at the connection.
    #[must_use]
    pub fn info(&self) -> ConnectionInfo {
        ConnectionInfo::new(self.connection())
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.handle.0
    }
}

impl MessageReceiver {
    /// A handle for looking at the connection.
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
            /// It leaves at once as far as the windows allow, or by
            /// [`WriteCoalescing`](crate::config::WriteCoalescing).
            ///
            /// A kcp-go peer tells a window of 32 segments until its program has accepted the
            /// session. So the first message that is longer waits, for little more than a second at
            /// most, while the peer is asked again; then what it has told counts.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::InvalidInput`] for an empty message and one longer than
            /// [`max_message_len`](Self::max_message_len), with a
            /// [`MessageError`](crate::arq::MessageError) that says what is allowed; the stream
            /// goes on. Else the error that ended the connection.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future before it is ready sends nothing of the message.
            pub async fn send(&mut self, message: &[u8]) -> io::Result<()> {
                poll_fn(|cx| self.poll_send(cx, message)).await
            }

            /// Polls for room for one message and sends it. The last task to poll is woken.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send).
            pub fn poll_send(
                &mut self,
                cx: &mut Context<'_>,
                message: &[u8],
            ) -> Poll<io::Result<()>> {
                budgeted(cx, |cx| self.connection().poll_send_message(cx, message))
            }

            /// Most bytes of a message: 255 segments, or as many as the largest window the peer has
            /// told, if that is less; 32 until it tells, which is known once connected. Nor more
            /// than the send buffer. A peer whose memory was short from the beginning tells a small
            /// window at first, and a larger one later.
            #[must_use]
            pub fn max_message_len(&self) -> usize {
                self.connection().max_message_len()
            }

            /// Sends no more messages; returns once all that were sent are acknowledged.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::TimedOut`] if that takes longer than
            /// [`Config::linger`], and the error that ended the connection before.
            ///
            /// # Cancel safety
            ///
            /// Sending has ended with the first poll; call it again to wait on.
            pub async fn shutdown(&mut self) -> io::Result<()> {
                poll_fn(|cx| self.connection().poll_shutdown(cx)).await
            }
        }
    };
}

/// Implements receiving for a type whose `connection()` is a [`Connection`].
macro_rules! impl_recv {
    ($type:ty) => {
        impl $type {
            /// Receives the next message into `message`, whose former content goes, and returns its
            /// length in bytes: 0 for an empty one, which peers in C can send.
            ///
            /// # Errors
            ///
            /// [`io::ErrorKind::InvalidData`] if the peer sends fragments that make no message;
            /// [`io::ErrorKind::UnexpectedEof`] if a peer of this crate has shut down its side; and
            /// the error that ended the connection. All once every message that had arrived is read.
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses no message and leaves `message` as it was.
            pub async fn recv(&mut self, message: &mut Vec<u8>) -> io::Result<usize> {
                poll_fn(|cx| self.poll_recv(cx, message)).await
            }

            /// Polls for the next message. The last task to poll is woken.
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

impl_send!(KcpMessageStream);
impl_send!(MessageSender);
impl_recv!(KcpMessageStream);
impl_recv!(MessageReceiver);
