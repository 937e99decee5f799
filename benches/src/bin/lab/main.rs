//! Measures calls and uploads over lossy links, with this workspace and with other transports in the same run.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin lab -- --list
//! cargo run --release -p kcp-benches --bin lab -- --only losses/unary-1k,losses/bulk-10mb --json lab.json --report lab-report
//! cargo run --release -p kcp-benches --bin lab -- --only loss-5/unary-1k/kcp --quick
//! ```
//!
//! Without `--only`, all cells run, which takes about three hours. The second command takes a quarter of an hour.
//!
//! The lab needs Linux and root: it creates two network namespaces connected by an emulated link, and removes them at
//! the end. The kcp-go peers need a Go toolchain. Programs and link run with real-time priority if the system permits
//! it.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod app;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    app::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("error: the lab creates network namespaces and TUN devices and runs on Linux only");
    ExitCode::FAILURE
}
