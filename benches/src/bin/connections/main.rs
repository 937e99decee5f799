//! Client connections in number: what each of them holds while it is idle, and how fast they open.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin connections -- idle
//! cargo run --release -p kcp-benches --bin connections -- open
//! ```
//!
//! The server is a process of its own. Each connection of `idle` has a socket of its own, as those of
//! `KcpStream::connect` have. Memory is what Linux counts as resident, with the allocator of the system.

#![allow(
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and makes sockets"
)]

mod idle;
mod open;
mod server;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use kcp_examples::cli::{self, Failure};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Measures client connections: their memory while idle, and how many open in a second.
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
