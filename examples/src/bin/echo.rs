//! Echo over KCP: a server, and a client that measures.

use std::process::ExitCode;
use std::time::Duration;

use clap::CommandFactory;
use kcp_examples::address::HostPort;
use kcp_examples::cli::{self, Failure, ServerArgs};
use kcp_examples::echo::{Meter, Plan, connect, measure_with, serve_until};
use kcp_examples::options::{self, within};
use kcp_examples::stop::Stop;
use kcp_transport::net::{ConnectionInfo, KcpListener};
use kcp_transport::session::State;
use tokio::time::{sleep, timeout};

/// Echo server and client over KCP. They interoperate with any KCP peer that has the same cipher and key
#[derive(Debug, clap::Parser)]
#[command(
    name = "echo",
    subcommand_required = true,
    arg_required_else_help = false
)]
enum Echo {
    /// Echo received bytes until Ctrl-C or SIGTERM
    Server {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        transport: options::Args,
    },
    /// Send bytes, check that they are echoed unchanged, and measure throughput and round-trip times. Ctrl-C
    /// prints the results so far
    Client {
        #[command(flatten)]
        client: ClientArgs,
        #[command(flatten)]
        transport: options::Args,
    },
}

#[derive(Debug, clap::Args)]
struct ClientArgs {
    /// Host name or IP address of the server, and its UDP port
    #[arg(long, value_name = "HOST:PORT")]
    connect: HostPort,

    /// Bytes to send and read back
    #[arg(long, value_name = "N", default_value_t = 64 << 20, value_parser = within(0..=1_u64 << 50))]
    bytes: u64,

    /// Bytes per write
    #[arg(long, value_name = "N", default_value_t = 16 << 10)]
    #[arg(value_parser = within(1..=64_usize << 20))]
    message: usize,

    /// Round trips of 64 bytes to measure after the transfer, one at a time
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = within(0..=1_000_000_usize))]
    pings: usize,

    /// Print one JSON object instead of the table: bytes seconds mb_per_s (10^6 bytes per second, one direction)
    /// p50_us p99_us
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    cli::main(Echo::command(), |echo| async {
        match echo {
            Echo::Server { server, transport } => run_server(server, transport).await,
            Echo::Client { client, transport } => run_client(client, transport).await,
        }
    })
}

async fn run_server(server: ServerArgs, transport: options::Args) -> Result<(), Failure> {
    let transport = transport.transport()?;
    let address = server.address().await?;
    let stop = server.stop();
    let listener = KcpListener::builder(&transport.security)
        .config(&transport.config)
        .bind(address)
        .await;
    let listener = listener.map_err(server.cannot_listen())?;
    server.announce(listener.local_addr().map_err(server.cannot_listen())?)?;
    let served = serve_until(listener, stop).await;
    let connections = served.map_err(Failure::io("cannot accept"))?;
    cli::note(&format!("stopped; connections served: {connections}"))
}

async fn run_client(client: ClientArgs, transport: options::Args) -> Result<(), Failure> {
    let transport = transport.transport()?;
    let stop = Stop::on_signals();
    let failed = |doing: &str| Failure::io(format!("{doing} {}", client.connect));
    let stream = tokio::select! {
        stream = connect(&client.connect, &transport) => stream,
        () = stop.requested() => return Err(Failure::Interrupted),
    };
    let stream = stream.map_err(failed("cannot connect to"))?;
    let plan = Plan {
        bytes: client.bytes,
        message: client.message,
        pings: client.pings,
    };
    let connection = stream.info();
    let meter = Meter::new(cli::progress(plan.bytes, true));
    let ended = tokio::select! {
        measured = measure_with(stream, plan, &meter) => {
            measured.map_err(failed("echo failed with"))
        }
        () = stop.requested() => Err(Failure::Interrupted),
    };
    if let Err(Failure::Io { .. }) = ended {
        meter.clear();
        return ended;
    }
    let measured = meter.measurement();
    meter.clear();
    if client.json {
        cli::print_json(&measured)?;
    } else {
        cli::print(&measured.table().to_string())?;
    }
    if ended.is_err() {
        closed(&connection).await;
    }
    ended
}

/// Waits until the peer has acknowledged the end of the connection, for two seconds at most.
async fn closed(connection: &ConnectionInfo) {
    let closing = async {
        while !matches!(connection.state(), State::Closed(_)) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(Duration::from_secs(2), closing).await;
}
