//! Code that the tests against Go peers share.

#[allow(dead_code, reason = "each test uses some of it")]
pub(crate) mod nat;

use std::io::{self, Write};
use std::path::Path;

use kcp_interop::go::{GoError, Programs};

/// The peers, or `None` on a machine without Go. In that case it prints what is not tested.
///
/// In continuous integration (`CI` is set) Go is required: there, a test that does nothing would not be noticed.
pub(crate) fn peers(left_out: &str) -> Option<&'static Programs> {
    match Programs::build(Path::new(env!("CARGO_BIN_EXE_interop"))) {
        Ok(programs) => Some(programs),
        Err(error @ GoError::Missing) if std::env::var_os("CI").is_none() => {
            // Not `eprintln!`, whose output the test harness captures if the test passes.
            let _ = writeln!(io::stderr(), "NOT TESTED: {left_out}: {error}");
            None
        }
        Err(error) => panic!("cannot build the Go peers: {error}"),
    }
}
