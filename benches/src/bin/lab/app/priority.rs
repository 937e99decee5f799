//! Real-time priority, so that other work on the machine does not show in the figures.

use std::process::{Command, Stdio};

/// Lets the link's threads run before the programs that are measured.
const LINK: &str = "20";
/// Lets these run before everything else.
const PEER: &str = "5";

/// Gives this thread the link's priority, where the system lets us. Without it figures have more
/// noise.
pub(crate) fn raise_this_thread() {
    let thread = rustix::thread::gettid().as_raw_nonzero().to_string();
    let _ = Command::new("chrt")
        .args(["--fifo", "--pid", LINK, &thread])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// What to put before a program's command line, so that it runs with priority; nothing where the
/// system does not let us.
pub(crate) fn prefix() -> &'static [&'static str] {
    const PREFIX: &[&str] = &["chrt", "--rr", PEER];
    let allowed = Command::new("chrt")
        .args(["--rr", PEER, "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if allowed { PREFIX } else { &[] }
}
