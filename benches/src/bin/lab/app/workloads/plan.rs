//! What a client does, as it is passed to it.

use serde::{Deserialize, Serialize};

/// The work of one client process. Go clients read the same JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// Connections, each with a socket of its own.
    pub(crate) connections: u32,
    /// Calls of all connections together.
    pub(crate) calls: u32,
    /// Bytes of a request and of its answer.
    pub(crate) request: u32,
    pub(crate) answer: u32,
    /// Each is written in pieces of so many bytes, flushed one by one; 0 writes it at once.
    pub(crate) piece: u32,
    /// Open loop: time from one call of a connection to its next.
    pub(crate) interval_us: u64,
    /// Bulk: bytes of each connection; 0 writes until the limit.
    pub(crate) bytes: u64,
    /// Bulk: how much later each connection begins than the one before.
    pub(crate) stagger_ms: u64,
    /// Calls: another connection uploads meanwhile.
    pub(crate) bulk_beside: bool,
    /// No call and no byte begins later than this.
    pub(crate) limit_ms: u64,
}

/// How calls follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Each connection makes a call when it has the answer to the one before.
    Closed,
    /// Calls are due at fixed times. Latency counts from then, whether the call could be made or not.
    Open,
    /// Each call has a connection of its own, whose set-up counts.
    First,
    /// Uploads.
    Bulk,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            kind: Kind::Closed,
            connections: 4,
            calls: 600,
            request: 1024,
            answer: 1024,
            piece: 0,
            interval_us: 0,
            bytes: 0,
            stagger_ms: 0,
            bulk_beside: false,
            limit_ms: 60_000,
        }
    }
}

/// What a client has measured. Go clients print the same JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Of each call, in microseconds.
    #[serde(default)]
    pub(crate) latencies_us: Vec<u64>,
    /// Payload that arrived, both directions.
    pub(crate) useful_bytes: u64,
    /// From the first byte to the last arrival.
    pub(crate) seconds: f64,
    /// When it began, in seconds of the monotonic clock.
    pub(crate) started: f64,
    /// Uploads: what arrived in each 100 ms from the start, one list for each connection.
    #[serde(default)]
    pub(crate) flows: Vec<Vec<u64>>,
    /// Uploads: goodput of all connections together.
    #[serde(default)]
    pub(crate) mbit_s: Option<f64>,
    /// Whether the limit ended it early.
    #[serde(default)]
    pub(crate) cut_short: bool,
}
