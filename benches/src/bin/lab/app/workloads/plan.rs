//! Plans and results of clients, which are exchanged as JSON.

use serde::{Deserialize, Serialize};

/// The plan of a client process. Go clients read the same JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// Connections, each with a socket of its own.
    pub(crate) connections: u32,
    /// Total number of calls.
    pub(crate) calls: u32,
    /// Bytes per request.
    pub(crate) request: u32,
    /// Bytes per answer.
    pub(crate) answer: u32,
    /// Bytes per write of requests and answers, each flushed; 0 writes them at once.
    pub(crate) piece: u32,
    /// Open loop: time between the calls of a connection.
    pub(crate) interval_us: u64,
    /// Bulk: bytes of each connection; 0 uploads until the limit.
    pub(crate) bytes: u64,
    /// Bulk: time between the starts of the connections.
    pub(crate) stagger_ms: u64,
    /// Calls: whether another connection uploads meanwhile.
    pub(crate) bulk_beside: bool,
    /// Time after which no call and no byte is sent.
    pub(crate) limit_ms: u64,
}

/// Kind of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Each connection makes a call as soon as the previous one is answered.
    Closed,
    /// Calls are due at fixed times. Latency counts from the due time, even if the call is sent later.
    Open,
    /// Each call uses a new connection, whose set-up is part of the latency.
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

/// The results of a client. Go clients print the same JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Latency of each call, in microseconds.
    #[serde(default)]
    pub(crate) latencies_us: Vec<u64>,
    /// Payload that arrived, in both directions, in bytes.
    pub(crate) useful_bytes: u64,
    /// Seconds from the start to the last arrival.
    pub(crate) seconds: f64,
    /// Time of the start, in seconds of the monotonic clock.
    pub(crate) started: f64,
    /// Uploads: bytes that arrived in each 100 ms from the start, one list per connection.
    #[serde(default)]
    pub(crate) flows: Vec<Vec<u64>>,
    /// Uploads: total goodput of all connections.
    #[serde(default)]
    pub(crate) mbit_s: Option<f64>,
    /// Whether the time limit ended the run early.
    #[serde(default)]
    pub(crate) cut_short: bool,
}
