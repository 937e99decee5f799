//! The parts of `main` that all programs share: parsing, one line of error, exit status.
//!
//! Exit status 0 is success, 1 a failure while running, 2 a refused option or a missing tool, and 130 an interruption by
//! Ctrl-C or SIGTERM.

mod log;
mod server;

pub use server::ServerArgs;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::address::HostPort;
use crate::greeter::GreeterError;
use crate::http::HttpError;
use crate::options::OptionError;
use crate::perf::TestError;
use crate::report::one_line;
use crate::stop::{INTERRUPTED, Stop};

/// Why a program ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The text of `--help` or `--version`. The exit status is 0.
    #[error("{0}")]
    Shown(String),
    /// The command line does not parse.
    #[error("{0}")]
    Usage(String),
    /// The value of an option was refused.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Input or output failed.
    #[error("{doing}")]
    Io {
        /// The operation that failed, for the message.
        doing: String,
        /// The error of the operation.
        source: io::Error,
    },
    /// The greeter failed.
    #[error(transparent)]
    Greeter(#[from] GreeterError),
    /// The HTTP program failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A test with a server failed.
    #[error("{doing}")]
    Test {
        /// What the program was doing, for the message.
        doing: String,
        /// The error of the test.
        source: TestError,
    },
    /// The program ran, and a result was not as expected.
    #[error("{0}")]
    Check(String),
    /// Something that the program needs is missing, such as another program.
    #[error("{0}")]
    CannotBegin(String),
    /// A signal interrupted the program. It has printed the results so far.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// Wraps an I/O error with what the program was `doing`, for `map_err`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }

    /// The failure of a test with this server.
    #[must_use]
    pub fn test(server: &HostPort, error: TestError) -> Self {
        match error {
            TestError::Connect(error) => Self::io(format!("cannot connect to {server}"))(error),
            source => Self::Test {
                doing: format!("test with {server} failed"),
                source,
            },
        }
    }

    fn from_clap(error: &clap::Error) -> Self {
        let rendered = error.render().to_string();
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Self::Shown(rendered),
            _ => Self::Usage(first_paragraphs(&rendered)),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Shown(_) => 0,
            Self::Usage(_) | Self::Option(_) | Self::CannotBegin(_) => 2,
            Self::Io { .. }
            | Self::Greeter(_)
            | Self::Http(_)
            | Self::Test { .. }
            | Self::Check(_) => 1,
            Self::Interrupted => INTERRUPTED,
        }
    }
}

/// Parses the arguments with `command`, runs the program and reports its failure on standard error.
pub fn main<C, F>(command: Command, run: impl FnOnce(C) -> F) -> ExitCode
where
    C: FromArgMatches,
    F: Future<Output = Result<(), Failure>>,
{
    let ended = start(command, run);
    let Err(failure) = ended else {
        return ExitCode::SUCCESS;
    };
    // If standard output or standard error is closed, the failure cannot be reported.
    let _ = match &failure {
        Failure::Shown(text) => print(text),
        Failure::Interrupted => {
            writeln!(io::stderr(), "{failure}").map_err(Failure::io("cannot write"))
        }
        _ => writeln!(io::stderr(), "error: {}", one_line(&failure))
            .map_err(Failure::io("cannot write")),
    };
    ExitCode::from(failure.exit_code())
}

fn start<C, F>(command: Command, run: impl FnOnce(C) -> F) -> Result<(), Failure>
where
    C: FromArgMatches,
    F: Future<Output = Result<(), Failure>>,
{
    let mut matches = matches(command, std::env::args_os())?;
    log::start(matches.get_count(VERBOSE))?;
    let parsed =
        C::from_arg_matches_mut(&mut matches).map_err(|error| Failure::from_clap(&error))?;
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::io("cannot start"))?;
    let ended = runtime.block_on(run(parsed));
    // Open connections send a reset to their peers. Name lookups and other blocking work cannot delay the
    // exit beyond this time.
    runtime.shutdown_timeout(LAST_RESETS);
    ended
}

/// Time for the last resets: enough for a datagram on each of many thousand connections.
const LAST_RESETS: Duration = Duration::from_millis(200);

/// Parses arguments, of which the first is the program's name.
///
/// # Errors
///
/// [`Failure::Usage`] with a one-line message, or [`Failure::Shown`] for `--help` and `--version`.
pub fn parse<C: FromArgMatches>(
    command: Command,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<C, Failure> {
    let mut matches = matches(command, arguments)?;
    C::from_arg_matches_mut(&mut matches).map_err(|error| Failure::from_clap(&error))
}

fn matches(
    command: Command,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<ArgMatches, Failure> {
    with_negative_numbers(with_common_options(command))
        .try_get_matches_from(arguments)
        .map_err(|error| Failure::from_clap(&error))
}

/// Breaks the line after the `^C` that a terminal shows, once.
#[derive(Debug, Default)]
pub struct AfterCtrlC {
    done: bool,
}

impl AfterCtrlC {
    /// The line break before the next line, or nothing: in a pipe, or if no stop is requested.
    pub fn break_line(&mut self, stop: &Stop) -> &'static str {
        if self.done || !stop.is_requested() || !io::stdout().is_terminal() {
            return "";
        }
        self.done = true;
        "\n"
    }
}

/// Parses the seconds between reports: 0 for none, or 0.1 to 3600.
///
/// # Errors
///
/// A message with the range.
pub fn interval(given: &str) -> Result<f64, String> {
    let allowed = || "allowed: 0, or 0.1 to 3600 seconds".to_owned();
    let seconds: f64 = given.parse().map_err(|_| allowed())?;
    let known = seconds == 0.0 || (0.1..=3600.0).contains(&seconds);
    known.then_some(seconds).ok_or_else(allowed)
}

/// Writes text to standard output.
///
/// # Errors
///
/// If standard output is closed or full.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::io("cannot write to standard output"))
}

/// Writes a line to standard error, so that it does not mix with results on standard output.
///
/// # Errors
///
/// If standard error is closed or full.
pub fn note(line: &str) -> Result<(), Failure> {
    writeln!(io::stderr(), "{line}").map_err(Failure::io("cannot write to standard error"))
}

/// Writes a value to standard output as one line of JSON.
///
/// # Errors
///
/// The same errors as [`print()`].
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value)
        .map_err(io::Error::from)
        .map_err(Failure::io("cannot write JSON"))?;
    print(&format!("{line}\n"))
}

/// A progress bar of `len` steps on standard error, hidden unless that is a terminal.
///
/// If the steps are `bytes`, it shows units and the rate.
#[must_use]
pub fn progress(len: u64, bytes: bool) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    let template = if bytes {
        "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left"
    } else {
        "{wide_bar} {pos} of {len}, {eta} left"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| {
        debug_assert!(false, "the templates are constants that parse");
        ProgressStyle::default_bar()
    });
    bar.set_style(style);
    bar.enable_steady_tick(REDRAW);
    bar
}

/// Adds `--version` and `-v`, which all programs have.
fn with_common_options(command: Command) -> Command {
    let verbose = Arg::new(VERBOSE)
        .short('v')
        .long(VERBOSE)
        .global(true)
        .action(ArgAction::Count)
        .display_order(LAST)
        .help(
            "Log more: -v info, -vv debug, -vvv trace. Default: the filter in RUST_LOG, else warnings",
        );
    command
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .arg(verbose)
}

/// Makes clap parse the `-1` of `--option -1` as a value, so that the error names the option and its range.
fn with_negative_numbers(command: Command) -> Command {
    let allow = |arg: Arg| {
        if arg.get_action().takes_values() {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    };
    command
        .mut_args(allow)
        .mut_subcommands(with_negative_numbers)
}

/// The part of clap's message before the usage, on one line and without the prefix `error: `.
fn first_paragraphs(rendered: &str) -> String {
    let mut line = String::new();
    let parts = rendered
        .lines()
        .map(str::trim)
        .take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more"))
        .filter(|part| !part.is_empty());
    for part in parts {
        match part.strip_prefix("error: ") {
            Some(first) => line.push_str(first),
            None => {
                line.push_str(if part.starts_with("tip:") { "; " } else { " " });
                line.push_str(part);
            }
        }
    }
    line
}

const VERBOSE: &str = "verbose";

/// The position in the help text: with `--help` and `--version`.
const LAST: usize = 998;

/// Interval between redraws of progress bars.
const REDRAW: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_printed_once() {
        let inner = io::Error::new(io::ErrorKind::TimedOut, "peer did not answer");
        let outer = Failure::io("cannot connect to 127.0.0.1:9")(inner);
        assert_eq!(
            one_line(&outer),
            "cannot connect to 127.0.0.1:9: peer did not answer"
        );
    }

    #[test]
    fn usage_text_is_removed_from_refusals() {
        let rendered = "error: unexpected argument '--mtuu' found\n\n  tip: a similar argument \
                        exists: '--mtu'\n\nUsage: test\n\nFor more information, try '--help'.\n";
        assert_eq!(
            first_paragraphs(rendered),
            "unexpected argument '--mtuu' found; tip: a similar argument exists: '--mtu'"
        );
    }
}
