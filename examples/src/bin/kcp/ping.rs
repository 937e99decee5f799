//! `kcp ping`: its options, and what it prints.

use std::time::Duration;

use kcp_examples::address::HostPort;
use kcp_examples::cli::{self, Failure};
use kcp_examples::options::{self, within};
use kcp_examples::perf::output;
use kcp_examples::perf::wire::{MAX_MESSAGE, MIN_MESSAGE};
use kcp_examples::ping::{Ping, Plan};
use kcp_examples::report::one_line;
use kcp_examples::stop::Stop;

/// Options of `kcp ping`.
#[derive(Debug, clap::Args)]
pub(crate) struct PingArgs {
    /// Host name or IP address of a kcp perf server, and its UDP port
    #[arg(value_name = "HOST:PORT")]
    server: HostPort,

    /// Number of messages. Default: until Ctrl-C
    #[arg(short, long, value_name = "N", value_parser = within(1..=10_000_000_u64))]
    count: Option<u64>,

    /// Seconds between two messages
    #[arg(short, long, value_name = "SECONDS", default_value_t = 1.0, value_parser = within(0.001..=3600.0))]
    interval: f64,

    /// Bytes per message
    #[arg(short, long, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = within(MIN_MESSAGE..=MAX_MESSAGE))]
    length: usize,

    /// Seconds to wait for answers after the last message
    #[arg(short = 'W', long, value_name = "SECONDS", default_value_t = 10.0, value_parser = within(0.1..=3600.0))]
    wait: f64,

    /// Print one JSON document instead of text
    #[arg(short = 'J', long)]
    json: bool,

    #[command(flatten)]
    transport: options::Args,
}

impl PingArgs {
    /// Sends messages and prints their round trips.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let plan = Plan {
            server: self.server.clone(),
            transport: self.transport.transport()?,
            count: self.count,
            interval: Duration::from_secs_f64(self.interval),
            length: self.length,
            patience: Duration::from_secs_f64(self.wait),
        };
        let stop = Stop::on_signals();
        let connecting = tokio::select! {
            connected = Ping::connect(plan) => connected,
            () = stop.requested() => return Err(Failure::Interrupted),
        };
        let (ping, stream) = match connecting.map_err(|error| Failure::test(&self.server, error)) {
            Ok(connected) => connected,
            Err(failure) => {
                if self.json {
                    cli::print_json(&output::failed(&one_line(&failure)))?;
                }
                return Err(failure);
            }
        };
        if !self.json {
            cli::print(&ping.header())?;
        }
        let peer = ping.peer();
        let running = ping.run(stream, &stop, |event| {
            if self.json {
                return Ok(());
            }
            cli::print(&event.line(peer, self.length))
        });
        let summary = running.await?;
        if self.json {
            cli::print_json(&summary)?;
        } else {
            cli::print(&summary.text())?;
        }
        if let Some(error) = summary.error() {
            let server = &self.server;
            return Err(Failure::Check(format!("ping of {server} failed: {error}")));
        }
        match (summary.sent, summary.answered) {
            (sent, answered) if answered < sent => {
                let missing = sent - answered;
                Err(Failure::Check(format!(
                    "{missing} of {sent} messages were not answered"
                )))
            }
            (0, _) => Err(Failure::Interrupted),
            _ => Ok(()),
        }
    }
}
