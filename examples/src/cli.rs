//! The frame of each program: parse, run, report one line on failure, exit status.
//!
//! Status 0 is success, 1 a failure at work, 2 a refused option.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Arg, Command, FromArgMatches};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::greeter::GreeterError;
use crate::http::HttpError;
use crate::options::{OptionError, address};
use crate::report::one_line;

/// Options of the servers.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// UDP address to listen on; port 0 picks a free one
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub listen: SocketAddr,

    /// Say that the server is ready as a JSON line {"listening":"IP:PORT"}
    #[arg(long)]
    pub json: bool,

    /// Stop also when standard input ends, as it does when the parent process ends
    #[arg(long)]
    pub until_stdin_closes: bool,
}

impl ServerArgs {
    /// Tells on standard output where the server listens.
    ///
    /// # Errors
    ///
    /// If standard output does not take it.
    pub fn announce(&self, listening: SocketAddr) -> Result<(), Failure> {
        #[derive(Serialize)]
        struct Ready {
            listening: SocketAddr,
        }
        if self.json {
            print_json(&Ready { listening })
        } else {
            print(&format!("listening on {listening}\n"))
        }
    }

    /// Completes when the server should stop: on Ctrl-C, SIGTERM or, if asked for, the end of
    /// standard input.
    ///
    /// Dropping it loses no signal that a later one would see.
    pub async fn stopped(&self) {
        let stdin = self.until_stdin_closes;
        tokio::select! {
            () = signalled() => {}
            () = stdin_closed(), if stdin => {}
        }
    }
}

/// Why a program ends without doing its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Help or version was asked for. Not a failure to the shell.
    #[error("{0}")]
    Shown(String),
    /// The command line does not parse.
    #[error("{0}")]
    Usage(String),
    /// An option has a value that cannot be.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Input or output failed.
    #[error("{doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The greeter failed.
    #[error(transparent)]
    Greeter(#[from] GreeterError),
    /// The HTTP programs failed.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The program ran, and what it checked was wrong.
    #[error("{0}")]
    Check(String),
}

impl Failure {
    /// A failure of input or output while `doing` something.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        |source| Self::Io { doing, source }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Shown(_) => 0,
            Self::Usage(_) | Self::Option(_) => 2,
            Self::Io { .. } | Self::Greeter(_) | Self::Http(_) | Self::Check(_) => 1,
        }
    }
}

/// Parses the arguments with `command`, runs a program to its end and reports how it ended.
pub fn main<C, F>(command: Command, run: impl FnOnce(C) -> F) -> ExitCode
where
    C: FromArgMatches,
    F: Future<Output = Result<(), Failure>>,
{
    let ended = parse(command, std::env::args_os()).and_then(|parsed| {
        let runtime = tokio::runtime::Runtime::new().map_err(Failure::io("cannot start"))?;
        runtime.block_on(run(parsed))
    });
    let Err(failure) = ended else {
        return ExitCode::SUCCESS;
    };
    // Nothing is left to do if standard output or error are gone.
    let _ = match &failure {
        Failure::Shown(text) => print(text),
        _ => writeln!(io::stderr(), "error: {}", one_line(&failure))
            .map_err(Failure::io("cannot write")),
    };
    ExitCode::from(failure.exit_code())
}

/// Parses arguments, the program's name first.
///
/// # Errors
///
/// [`Failure::Usage`] with a one-line message, or [`Failure::Shown`] if help was asked for.
pub fn parse<C: FromArgMatches>(
    command: Command,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<C, Failure> {
    with_negative_numbers(command)
        .try_get_matches_from(arguments)
        .and_then(|mut matches| C::from_arg_matches_mut(&mut matches))
        .map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Failure::Shown(error.render().to_string())
            }
            _ => Failure::Usage(first_paragraphs(&error.render().to_string())),
        })
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

/// Writes a value to standard output as one line of JSON.
///
/// # Errors
///
/// As [`print()`].
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(value)
        .map_err(io::Error::from)
        .map_err(Failure::io("cannot write JSON"))?;
    print(&format!("{line}\n"))
}

/// Lets `--option -1` be refused for the value rather than as an option named `-1`.
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

/// What clap says before it explains the usage, on one line and without its `error: `.
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

#[cfg(unix)]
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return interrupted().await;
    };
    tokio::select! {
        () = interrupted() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signalled() {
    interrupted().await;
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Then only the other ways to stop are left.
        std::future::pending::<()>().await;
    }
}

/// A thread of its own reads standard input: the runtime waits for its own blocking reads before it
/// ends, and this one may never return.
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(closed);
    });
    let _ = wait.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_once() {
        let inner = io::Error::new(io::ErrorKind::TimedOut, "peer did not answer");
        let outer = Failure::io("cannot connect to 127.0.0.1:9")(inner);
        assert_eq!(
            one_line(&outer),
            "cannot connect to 127.0.0.1:9: peer did not answer"
        );
    }

    #[test]
    fn only_the_cause_is_kept_of_a_refusal() {
        let rendered = "error: unexpected argument '--mtuu' found\n\n  tip: a similar argument \
                        exists: '--mtu'\n\nUsage: test\n\nFor more information, try '--help'.\n";
        assert_eq!(
            first_paragraphs(rendered),
            "unexpected argument '--mtuu' found; tip: a similar argument exists: '--mtu'"
        );
    }
}
