//! Server and client in one process, with a lossy relay between them.

use indicatif::ProgressBar;
use kcp_tonic::KcpIncoming;
use serde::Serialize;
use tokio::task::JoinSet;

use super::{Connections, GreeterError, Outcome, Plan, StreamOutcome, Totals, drive, open, serve};
use crate::options::Transport;
use crate::relay::{Relay, RelayConfig};
use crate::report::{Latencies, Table, milliseconds};
use crate::stop::Stop;

/// Calls and path of a demonstration.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// Number of unary calls.
    pub calls: usize,
    /// Maximum number of unary calls in flight.
    pub workers: usize,
    /// The path between client and server.
    pub relay: RelayConfig,
    /// Cipher and configuration of both sides.
    pub transport: Transport,
    /// Advances by one with each unary call.
    pub progress: ProgressBar,
    /// Ends the calls early when requested.
    pub stop: Stop,
}

/// Runs server, relay and client until the client has finished or been stopped.
///
/// # Errors
///
/// If a socket cannot be bound, or the client cannot connect.
pub async fn demo(config: DemoConfig) -> Result<Summary, GreeterError> {
    let Transport {
        security,
        config: kcp,
    } = &config.transport;
    let server_side = Connections::default();
    let incoming = KcpIncoming::builder(security)
        .config(kcp)
        .bind("127.0.0.1:0")
        .await?;
    let server = incoming.local_addr()?;
    let mut serving = JoinSet::new();
    serving.spawn(serve(
        incoming,
        Some(server_side.clone()),
        std::future::pending(),
    ));

    let relay = Relay::start(server, config.relay)?;
    let client_side = Connections::default();
    let relayed = relay.local_addr().into();
    let channel = open(&relayed, &config.transport, &client_side).await?;
    let plan = Plan {
        calls: config.calls,
        workers: config.workers,
        progress: config.progress,
        stop: config.stop,
    };
    let outcome = drive(channel, plan).await;
    let totals = client_side.totals() + server_side.totals();
    Ok(Summary::new(outcome, totals))
}

/// The summary that the greeter programs print at the end.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Unary calls made.
    pub calls: usize,
    /// Calls, streams included, that failed or had a wrong reply.
    pub errors: usize,
    /// Median latency of the unary calls, in microseconds.
    pub p50_us: u64,
    /// 99th percentile of the unary calls' latencies, in microseconds.
    pub p99_us: u64,
    /// Segments sent, retransmissions included.
    pub segments: u64,
    /// Segments retransmitted.
    pub retransmitted: u64,
    /// Packets rebuilt from parity.
    pub fec_recovered: u64,
    /// The first error.
    #[serde(skip)]
    pub first_error: Option<String>,
    /// Result of the server-streaming call.
    #[serde(skip)]
    pub server_stream: StreamOutcome,
    /// Result of the bidirectional call.
    #[serde(skip)]
    pub bidi_stream: StreamOutcome,
}

impl Summary {
    /// Summarizes the results of a client and the statistics of its connections. `totals` may include the
    /// server's connections.
    #[must_use]
    pub fn new(outcome: Outcome, totals: Totals) -> Self {
        let latencies = Latencies::new(outcome.latencies);
        Self {
            calls: outcome.calls,
            errors: outcome.errors,
            p50_us: latencies.percentile_us(50),
            p99_us: latencies.percentile_us(99),
            segments: totals.segments,
            retransmitted: totals.retransmitted,
            fec_recovered: totals.fec_recovered,
            first_error: outcome.first_error,
            server_stream: outcome.server_stream,
            bidi_stream: outcome.bidi_stream,
        }
    }

    /// The summary as a table.
    #[must_use]
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .row([&"calls", &self.calls])
            .row([&"server stream", &self.server_stream])
            .row([&"bidi stream", &self.bidi_stream])
            .row([&"errors", &self.errors])
            .row([&"p50", &milliseconds(self.p50_us)])
            .row([&"p99", &milliseconds(self.p99_us)])
            .row([&"segments sent", &self.segments])
            .row([&"retransmitted", &self.retransmitted])
            .row([&"rebuilt by FEC", &self.fec_recovered]);
        table
    }
}
