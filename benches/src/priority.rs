//! Real-time priority, so that other load on the machine does not affect the figures.

use std::process::{Command, Stdio};

/// Priority of the link's threads, above that of the measured programs.
const LINK: &str = "20";
/// Priority of the measured programs, above that of normal processes.
const PEER: &str = "5";

/// Gives this thread the priority of the link, if the system permits it. Without it, the figures have more noise.
pub fn raise_this_thread() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let _ = Command::new("chrt")
        .args(["--fifo", "--pid", LINK, &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// The words before a program's command line that run it with priority; empty if the system does not permit it.
pub fn prefix() -> &'static [&'static str] {
    const PREFIX: &[&str] = &["chrt", "--rr", PEER];
    let allowed = Command::new("chrt")
        .args(["--rr", PEER, "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if allowed { PREFIX } else { &[] }
}
