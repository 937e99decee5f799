//! Streams and listeners on tokio.
//!
//! # How it works
//!
//! One task drives each UDP socket or other [`Transport`], whatever the number of sessions on it. It receives a batch,
//! opens it, and feeds each session its run of datagrams under one lock; it also owns the timers.
//! Readers and writers lock only their own session. A write that fills segments, or a flush, sends
//! from the caller's task at once; what the socket does not take is left to the driver.

mod backlog;
mod budget;
mod census;
mod client;
mod clock;
mod connect;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod control;
mod cookie;
mod coop;
mod datagrams;
mod door;
mod driver;
mod endpoint;
mod group;
mod inbound;
mod info;
mod listener;
mod message;
mod movable;
mod outbox;
mod rate;
mod replays;
mod roaming;
mod sessions;
mod shared;
mod socket;
mod split;
mod stream;
mod table;
mod timers;
mod transport;
mod waiters;

pub use client::KcpEndpoint;
pub use datagrams::Datagrams;
pub use info::{ConnectionInfo, WeakConnectionInfo};
pub use listener::KcpListener;
pub use message::{KcpMessageStream, MessageReceiver, MessageSender};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReuniteError};
pub use stream::KcpStream;
pub use transport::{Path, Received, Transport};
