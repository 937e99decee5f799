//! Streams and listeners on tokio.
//!
//! # How it works
//!
//! One task drives each UDP socket or other [`Transport`], whatever the number of sessions on it. It receives a batch,
//! opens it, and feeds each session its run of datagrams under one lock; it also owns the timers.
//! Readers and writers lock only their own session. A write that fills segments, or a flush, sends
//! from the caller's task at once; what the socket does not take is left to the driver.
//!
//! # Floors
//!
//! Each module imports only those to its left:
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
pub use datagrams::Datagrams;
pub use info::{ConnectionInfo, WeakConnectionInfo};
pub use io::{Path, Received, Transport};
pub use listener::KcpListener;
pub use message::{KcpMessageStream, MessageReceiver, MessageSender};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use stream::KcpStream;
