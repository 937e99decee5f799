//! What programs log, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use super::Failure;

/// Sends events to standard error: of the level that `-v` selects, given `verbosity` times, else
/// those that `RUST_LOG` selects, else warnings and errors.
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
    // Fails where a test or another program has set one up already, which then stays.
    let _ = subscriber.try_init();
    Ok(())
}

const VARIABLE: &str = "RUST_LOG";

/// By how often `-v` is given.
const LEVELS: [&str; 4] = ["warn", "info", "debug", "trace"];
