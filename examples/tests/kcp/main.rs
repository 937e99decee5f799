//! The program `kcp`, run as a user runs it.

#[path = "../support/mod.rs"]
mod support;

mod document;
mod perf;
mod ping;
mod refusals;
mod relay;

use std::process::Output;

use support::{Server, run};

const KCP: &str = env!("CARGO_BIN_EXE_kcp");

/// A running `kcp perf server`.
fn server() -> Server {
    Server::start(KCP, "perf server --listen 127.0.0.1:0 --json", None)
}

/// Runs the program with the server's address after the subcommand.
fn client(subcommand: &str, server: &Server, options: &str) -> Output {
    run(KCP, &format!("{subcommand} {} {options}", server.address))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("is text")
}
