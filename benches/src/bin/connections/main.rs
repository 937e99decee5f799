//! Many client connections: memory of each while idle, and rate of opening.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin connections -- idle
//! cargo run --release -p kcp-benches --bin connections -- open
//! ```
//!
//! The server is a separate process. Each connection of `idle` has a socket of its own, like those of
//! `KcpStream::connect`. Memory is the resident size that Linux reports, with the system's allocator.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and binds sockets"
)]

mod idle;
mod open;
mod server;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use kcp_examples::cli::{self, Failure};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Measures client connections: their memory while idle, and the rate at which they open.
#[derive(Debug, Parser)]
#[command(name = "connections")]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Idle(idle::Options),
    Open(open::Options),
    #[command(hide = true)]
    Server,
}

fn main() -> ExitCode {
    cli::main(Options::command(), |options: Options| async move {
        let result = match &options.command {
            Command::Idle(options) => idle::run(options).await,
            Command::Open(options) => open::run(options).await,
            Command::Server => server::serve().await,
        };
        result.map_err(|error| Failure::Check(error.to_string()))
    })
}
