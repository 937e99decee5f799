//! Calls to five servers that are killed and started again, over a lossy path.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin failover -- --quick
//! ```
//!
//! Each server is a process. Clients and servers are in two network namespaces with an emulated link between them,
//! so that KCP and TCP lose the same share of their packets. Prints a table in Markdown. Needs Linux and root.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod app;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    app::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!(
        "error: the program creates network namespaces and TUN devices and runs on Linux only"
    );
    ExitCode::FAILURE
}
