//! Logging to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::Failure;

/// Writes tracing events to standard error.
///
/// `verbosity` is how often `-v` was given, and selects the level. If it is 0, `RUST_LOG` selects the
/// events; without `RUST_LOG`, warnings and errors are written.
pub(super) fn start(verbosity: u8) -> Result<(), Failure> {
    let selected = std::env::var(VARIABLE).unwrap_or_default();
    let filter = match (verbosity, selected.as_str()) {
        (0, "") => EnvFilter::new(LEVELS[0]),
        (0, selected) => EnvFilter::try_new(selected)
            .map_err(|error| Failure::Usage(format!("{VARIABLE} is {selected:?}: {error}")))?,
        (more, _) => EnvFilter::new(LEVELS[usize::from(more).min(LEVELS.len() - 1)]),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // Fails if the process has a subscriber already; that one stays.
    let _ = subscriber.try_init();
    Ok(())
}

const VARIABLE: &str = "RUST_LOG";

/// Level for each count of `-v`.
const LEVELS: [&str; 4] = ["warn", "info", "debug", "trace"];
