//! Echo over KCP: a server, and a client that measures.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::CommandFactory;
use kcp_examples::cli::{self, Failure, ServerArgs};
use kcp_examples::echo::{Plan, measure, serve};
use kcp_examples::options::{self, address, within};
use kcp_transport::net::{KcpListener, KcpStream};

/// Echoes bytes over KCP, for any KCP peer with the same cipher and key
#[derive(Debug, clap::Parser)]
#[command(
    name = "echo",
    subcommand_required = true,
    arg_required_else_help = false
)]
enum Echo {
    /// Echo what arrives, until Ctrl-C or SIGTERM
    Server {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        transport: options::Args,
    },
    /// Write and read back, compare, and measure throughput and round trips
    Client {
        #[command(flatten)]
        client: ClientArgs,
        #[command(flatten)]
        transport: options::Args,
    },
}

#[derive(Debug, clap::Args)]
struct ClientArgs {
    /// UDP address of the server
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    connect: SocketAddr,

    /// Bytes to send through the server
    #[arg(long, value_name = "N", default_value_t = 64 << 20, value_parser = within(0..=1_u64 << 50))]
    bytes: u64,

    /// Bytes of one write
    #[arg(long, value_name = "N", default_value_t = 16 << 10)]
    #[arg(value_parser = within(1..=64_usize << 20))]
    message: usize,

    /// Round trips of 64 bytes to time afterwards, one at a time
    #[arg(long, value_name = "N", default_value_t = 200)]
    #[arg(value_parser = within(0..=1_000_000_usize))]
    pings: usize,

    /// Print one JSON object: bytes seconds mb_per_s (10^6 bytes, one direction) p50_us p99_us
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
    let cannot_listen = || Failure::io(format!("cannot listen on {}", server.listen));
    let listener =
        KcpListener::bind_with(server.listen, &transport.security, &transport.config).await;
    let listener = listener.map_err(cannot_listen())?;
    let stopped = server.stopped();
    server.announce(listener.local_addr().map_err(cannot_listen())?)?;
    tokio::select! {
        ended = serve(listener) => ended.map_err(Failure::io("cannot accept")),
        () = stopped => Ok(()),
    }
}

async fn run_client(client: ClientArgs, transport: options::Args) -> Result<(), Failure> {
    let transport = transport.transport()?;
    let stream =
        KcpStream::connect_with(client.connect, &transport.security, &transport.config).await;
    let failed = |doing: &str| Failure::io(format!("{doing} {}", client.connect));
    let stream = stream.map_err(failed("cannot connect to"))?;
    let plan = Plan {
        bytes: client.bytes,
        message: client.message,
        pings: client.pings,
    };
    let measured = measure(stream, plan).await;
    let measured = measured.map_err(failed("lost the echo of"))?;
    if client.json {
        cli::print_json(&measured)
    } else {
        cli::print(&measured.table().to_string())
    }
}
