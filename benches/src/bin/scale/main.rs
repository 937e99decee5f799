//! gRPC at scale: many idle channels, many streams, a slow reader, and calls that are given up.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin scale -- idle
//! cargo run --release -p kcp-benches --bin scale -- streams
//! cargo run --release -p kcp-benches --bin scale -- slow
//! cargo run --release -p kcp-benches --bin scale -- cancel
//! ```
//!
//! The server is a separate process. Memory is the resident size that Linux reports, with the system's
//! allocator. Each channel of `idle` has a socket, so it needs `ulimit -n` above their number.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and binds sockets"
)]

mod cancel;
mod idle;
mod process;
mod server;
mod slow;
mod streams;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use kcp_examples::cli::{self, Failure};
use kcp_interop::grpc::proto::EchoRequest;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Measures gRPC at scale: idle channels, streams, a slow reader, and calls that are given up.
#[derive(Debug, Parser)]
#[command(name = "scale")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Idle(idle::Options),
    Streams(streams::Options),
    Slow(slow::Options),
    Cancel(cancel::Options),
    #[command(hide = true)]
    Server,
}

fn main() -> ExitCode {
    cli::main(Options::command(), |options: Options| async move {
        let result = match &options.command {
            Command::Idle(options) => idle::run(options).await,
            Command::Streams(options) => streams::run(options).await,
            Command::Slow(options) => slow::run(options).await,
            Command::Cancel(options) => cancel::run(options).await,
            Command::Server => server::serve().await,
        };
        result.map_err(|error| Failure::Check(error.to_string()))
    })
}

fn request(message: impl Into<String>) -> EchoRequest {
    EchoRequest {
        message: message.into(),
    }
}
