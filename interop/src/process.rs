//! Peers as child processes. Dropping one kills it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// What went wrong with a peer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// It could not be started, or read from.
    #[error("cannot run it")]
    Run(#[from] io::Error),
    /// Its output does not parse.
    #[error("it printed {line:?}")]
    Output {
        /// The line.
        line: String,
        /// Why it does not parse.
        source: serde_json::Error,
    },
    /// It ended without a result.
    #[error("it ended early: {0}")]
    Ended(String),
}

/// A running server.
#[derive(Debug)]
pub struct PeerServer {
    child: Child,
    addr: SocketAddr,
    /// The server ends when this is closed, even if this process is killed.
    _stdin: Option<ChildStdin>,
}

impl PeerServer {
    /// Starts a server and waits until it reads.
    ///
    /// # Errors
    ///
    /// If it does not start.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills it.
    pub async fn start(program: &Path, args: &[String]) -> Result<Self, PeerError> {
        let mut child = command(program, args).stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        if line.is_empty() {
            let mut last_words = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut last_words).await?;
            }
            return Err(PeerError::Ended(last_words));
        }
        let Ready { listening } = parse(line)?;
        Ok(Self {
            child,
            addr: listening,
            _stdin: stdin,
        })
    }

    /// The UDP address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Kills it, as a crash would, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// If the system does not let us.
    pub async fn kill(mut self) -> Result<(), PeerError> {
        Ok(self.child.kill().await?)
    }
}

/// The line a server begins with.
#[derive(Deserialize)]
struct Ready {
    listening: SocketAddr,
}

/// Runs a client to its end and returns what it reports: the fields it has in common with `T`.
///
/// # Errors
///
/// If it does not run or reports nothing. A report of failure is a report.
///
/// # Cancel safety
///
/// Dropping the future kills it.
pub async fn run_client<T: DeserializeOwned>(
    program: &Path,
    args: &[String],
) -> Result<T, PeerError> {
    let output = command(program, args).stdin(Stdio::null()).output().await?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    match stdout.lines().next() {
        Some(line) => parse(line.to_owned()),
        None => {
            let last_words = String::from_utf8_lossy(&output.stderr);
            Err(PeerError::Ended(last_words.into_owned()))
        }
    }
}

fn command(program: &Path, args: &[String]) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn parse<T: DeserializeOwned>(line: String) -> Result<T, PeerError> {
    serde_json::from_str(&line).map_err(|source| PeerError::Output { line, source })
}
