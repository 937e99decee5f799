//! One program for KCP paths: measures throughput and latency, and relays through a bad path.

mod perf;
mod ping;
mod relay;

use std::process::ExitCode;

use clap::{Command, CommandFactory};
use kcp_examples::cli;

/// Measures KCP between two machines, and impairs a path for tests
#[derive(Debug, clap::Parser)]
#[command(
    name = "kcp",
    subcommand_required = true,
    arg_required_else_help = false
)]
enum Kcp {
    /// Measure throughput, or the latency of messages, as iperf3 does for TCP
    #[command(subcommand)]
    Perf(perf::Perf),
    /// Measure the round trips of small messages to a kcp perf server
    Ping(Box<ping::PingArgs>),
    /// Relay UDP packets of any protocol between clients and a server, with loss, delay and limited bandwidth, until
    /// Ctrl-C or SIGTERM
    Relay(Box<relay::RelayArgs>),
}

fn main() -> ExitCode {
    cli::main(command(), |kcp| async {
        match kcp {
            Kcp::Perf(perf) => perf.run().await,
            Kcp::Ping(ping) => ping.run().await,
            Kcp::Relay(relay) => relay.run().await,
        }
    })
}

/// The server listens on a fixed port by default.
fn command() -> Command {
    Kcp::command().mut_subcommand("perf", |perf| {
        // A missing subcommand is an error, as everywhere.
        perf.arg_required_else_help(false)
            .mut_subcommand("server", |server| {
                server.mut_arg("listen", |listen| {
                    listen.required(false).default_value(perf::LISTEN)
                })
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        command().debug_assert();
    }
}
