//! gRPC's greeter over KCP: a demonstration through a lossy relay in one process, or a server and a
//! client in processes of their own.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Command, CommandFactory};
use indicatif::ProgressBar;
use kcp_examples::address::HostPort;
use kcp_examples::cli::{self, Failure, ServerArgs};
use kcp_examples::greeter::{Connections, DemoConfig, Plan, Summary, demo, drive, open, serve};
use kcp_examples::options::{self, Transport, within};
use kcp_examples::relay::RelayConfig;
use kcp_examples::stop::Stop;
use kcp_tonic::KcpIncoming;

/// gRPC's greeter over KCP.
///
/// Without a subcommand, server and client run in this process, connected through a relay that loses,
/// delays and reorders packets. The default of 1000 calls, with round trips of at least 40 ms and
/// --workers calls in flight, takes about 10 seconds.
#[derive(Debug, clap::Parser)]
#[command(name = "greeter", args_conflicts_with_subcommands = true)]
struct Greeter {
    #[command(subcommand)]
    role: Option<Role>,

    #[command(flatten)]
    demo: DemoArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Serve the greeter until Ctrl-C or SIGTERM
    Server {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        transport: options::Args,
    },
    /// Call a greeter server and measure latency
    Client {
        /// Host name or IP address of the server, and its UDP port
        #[arg(long, value_name = "HOST:PORT")]
        connect: HostPort,
        #[command(flatten)]
        calls: CallArgs,
        #[command(flatten)]
        transport: options::Args,
    },
}

#[derive(Debug, clap::Args)]
struct CallArgs {
    /// Number of unary calls. One server-streaming and one bidirectional call follow them
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = within(1..=10_000_000_usize))]
    calls: usize,

    /// Maximum number of unary calls in flight
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = within(1..=100_usize))]
    workers: usize,

    /// Print one JSON object as the last line, instead of the table: calls errors p50_us p99_us segments
    /// retransmitted fec_recovered
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct DemoArgs {
    #[command(flatten)]
    calls: CallArgs,

    /// Packet loss in each direction, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0, value_parser = within(0.0..=90.0))]
    loss: f64,

    /// One-way delay, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = within(0..=10_000_u64))]
    delay: u64,

    /// Share of packets reordered in each direction, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    #[arg(value_parser = within(0.0..=90.0))]
    reorder: f64,

    /// Seed of the relay's random losses and delays
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = within(0..=u64::MAX))]
    seed: u64,

    #[command(flatten)]
    transport: options::Args,
}

fn main() -> ExitCode {
    cli::main(command(), |greeter: Greeter| async {
        match greeter.role {
            None => run_demo(greeter.demo).await,
            Some(Role::Server { server, transport }) => run_server(server, transport).await,
            Some(Role::Client {
                connect,
                calls,
                transport,
            }) => run_client(connect, calls, transport).await,
        }
    })
}

/// The demonstration uses an AEAD cipher and FEC by default; the `server` and `client` subcommands have
/// the defaults of the other programs.
fn command() -> Command {
    Greeter::command()
        .mut_arg("crypt", |arg| arg.default_value("aes-128-gcm"))
        .mut_arg("datashard", |arg| arg.default_value("10"))
        .mut_arg("parityshard", |arg| arg.default_value("3"))
}

async fn run_demo(args: DemoArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals();
    let relay = RelayConfig {
        loss: args.loss / 100.0,
        delay: Duration::from_millis(args.delay),
        jitter: Duration::from_millis(args.delay / 10),
        reorder: args.reorder / 100.0,
        seed: args.seed,
        ..RelayConfig::default()
    };
    let config = DemoConfig {
        calls: args.calls.calls,
        workers: args.calls.workers,
        relay,
        transport: args.transport.transport()?,
        progress: args.calls.progress(),
        stop: stop.clone(),
    };
    let summary = demo(config).await?;
    args.calls.report(&summary, &stop)
}

async fn run_server(server: ServerArgs, transport: options::Args) -> Result<(), Failure> {
    let Transport { security, config } = transport.transport()?;
    let stop = server.stop();
    let incoming = KcpIncoming::builder(&security)
        .config(&config)
        .bind(server.address().await?)
        .await;
    let incoming = incoming.map_err(server.cannot_listen())?;
    server.announce(incoming.local_addr().map_err(server.cannot_listen())?)?;
    let connections = serve(incoming, None, stop.requested()).await?;
    cli::note(&format!("stopped; connections served: {connections}"))
}

async fn run_client(
    connect: HostPort,
    calls: CallArgs,
    transport: options::Args,
) -> Result<(), Failure> {
    let connections = Connections::default();
    let stop = Stop::on_signals();
    let transport = transport.transport()?;
    let channel = tokio::select! {
        channel = open(&connect, &transport, &connections) => channel?,
        () = stop.requested() => return Err(Failure::Interrupted),
    };
    let plan = Plan {
        calls: calls.calls,
        workers: calls.workers,
        progress: calls.progress(),
        stop: stop.clone(),
    };
    let outcome = drive(channel, plan).await;
    calls.report(&Summary::new(outcome, connections.totals()), &stop)
}

impl CallArgs {
    fn progress(&self) -> ProgressBar {
        cli::progress(self.calls as u64, false)
    }

    fn report(&self, summary: &Summary, stop: &Stop) -> Result<(), Failure> {
        if self.json {
            cli::print_json(summary)?;
        } else {
            cli::print(&summary.table().to_string())?;
        }
        match &summary.first_error {
            None if stop.is_requested() => Err(Failure::Interrupted),
            None => Ok(()),
            Some(error) => Err(Failure::Check(format!(
                "{} calls failed; the first error: {error}",
                summary.errors
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Greeter {
        let arguments = [&["greeter"], arguments].concat();
        cli::parse(command(), arguments).unwrap()
    }

    #[test]
    fn command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn demonstration_defaults_to_aead_and_fec_and_its_subcommands_to_kcptuns_cipher() {
        let greeter = parse(&["--calls", "5"]);
        assert_eq!(greeter.demo.calls.calls, 5);
        let transport = greeter.demo.transport.transport().unwrap();
        assert_eq!(transport.security.name(), "aes-128-gcm");
        assert!(transport.config.fec().is_some());
        match parse(&["client", "--connect", "127.0.0.1:1", "--calls", "5"]).role {
            Some(Role::Client {
                calls, transport, ..
            }) => {
                assert_eq!(calls.calls, 5);
                let transport = transport.transport().unwrap();
                assert_eq!(transport.security.name(), "aes");
                assert!(transport.config.fec().is_none());
            }
            other => panic!("{other:?}"),
        }
    }
}
