//! Calls and uploads over lossy links, ours beside others, in turn and in one run.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin lab -- --list
//! cargo run --release -p kcp-benches --bin lab -- --only losses/unary-1k,losses/bulk-10mb --json lab.json --report lab-report
//! cargo run --release -p kcp-benches --bin lab -- --only loss-5/unary-1k/kcp --quick
//! ```
//!
//! Without `--only` it runs all cells, which takes about three hours. The second command takes a
//! quarter of an hour.
//!
//! Runs as root on Linux: it makes two network namespaces joined by a link of its own, and removes
//! them at the end. Go builds the peers of kcp-go. Programs and link run with real-time priority
//! where the system lets them.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod app;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    app::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("error: the lab makes network namespaces and TUN devices and runs on Linux only");
    ExitCode::FAILURE
}
