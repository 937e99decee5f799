//! gRPC's greeter over KCP.

mod client;
mod demo;
mod service;

pub use client::{MAX_ERRORS, Outcome, Plan, StreamOutcome, drive, open};
pub use demo::{DemoConfig, Summary, demo};
pub use service::{Greeter, STREAM_REPLIES, serve};

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use kcp_tonic::KcpConnectInfo;

/// Generated from `proto/helloworld.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::nursery,
    clippy::all
)]
pub mod proto {
    tonic::include_proto!("helloworld");
}

/// Why the greeter failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GreeterError {
    /// A socket failed.
    #[error("socket failed")]
    Io(#[from] io::Error),
    /// The client could not connect.
    #[error(transparent)]
    Channel(#[from] kcp_tonic::ChannelError),
    /// The gRPC server failed.
    #[error("gRPC failed")]
    Transport(#[from] tonic::transport::Error),
}

/// The connections that a client has opened or a server has accepted, for their statistics.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    seen: Arc<Mutex<Vec<KcpConnectInfo>>>,
}

impl Connections {
    /// Adds a connection. The collection keeps it until all clones of the collection are dropped.
    pub fn add(&self, connection: KcpConnectInfo) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }

    /// Sums of the statistics of all connections so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .map(KcpConnectInfo::stats)
            .fold(Totals::default(), |totals, stats| Totals {
                segments: totals.segments + stats.segments_sent,
                retransmitted: totals.retransmitted + stats.retransmitted,
                fec_recovered: totals.fec_recovered + stats.fec_recovered,
            })
    }
}

/// Sums over connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Segments sent, retransmissions included.
    pub segments: u64,
    /// Segments retransmitted.
    pub retransmitted: u64,
    /// Packets rebuilt from parity.
    pub fec_recovered: u64,
}

impl std::ops::Add for Totals {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            segments: self.segments + other.segments,
            retransmitted: self.retransmitted + other.retransmitted,
            fec_recovered: self.fec_recovered + other.fec_recovered,
        }
    }
}
