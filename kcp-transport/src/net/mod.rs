//! Streams and listeners on tokio.
//!
//! # How it works
//!
//! One task drives each UDP socket or other [`Transport`], whatever the number of sessions on it.
//! It receives a batch, decrypts it, and passes each session its run of datagrams under one lock.
//! It also runs the timers. Readers and writers lock their own session only. A write that fills
//! segments, or a flush, sends at once from the task of the caller; the driver sends what the
//! socket does not accept.
//!
//! A quiet socket is received from with 64 KiB of the stack, and owns no buffers: a thread of the
//! runtime needs 128 KiB of stack at least, and has 2 MiB by default.
//!
//! # Modules
//!
//! Each imports only those to its left:
//!
//! `sync` < `io` < `endpoint` < `connection` < `driver` < `connect` < `info` < `stream` < `split` <
//! `message` < `datagrams` < `listener` | `client`
//!
//! An outgoing datagram goes from its `Connection` to the `Egress` of the endpoint and to the
//! [`Transport`]; an incoming one from the transport through the driver to its `Connection`.

mod client;
mod connect;
mod connection;
mod datagrams;
mod driver;
mod endpoint;
mod info;
mod io;
mod listener;
mod message;
mod split;
mod stream;
mod sync;

pub use client::KcpEndpoint;
pub use connect::{ClientBuilder, ToAddrs};
pub use datagrams::Datagrams;
pub use info::{ConnectionInfo, WeakConnectionInfo};
pub use io::{Path, Received, Transport};
pub use listener::{KcpListener, ListenerBuilder};
pub use message::{KcpMessageStream, MessageReceiver, MessageSender};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
pub use stream::{KcpStream, ReuniteError};
