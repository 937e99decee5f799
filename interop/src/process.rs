//! Peers as child processes. Dropping a peer kills its process.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// Why a peer's program failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// The program could not be started, or its output could not be read.
    #[error("cannot run the program")]
    Run(#[from] io::Error),
    /// The output of the program could not be parsed.
    #[error("cannot parse the output {line:?}")]
    Output {
        /// The line of output.
        line: String,
        /// The error of the parser.
        source: serde_json::Error,
    },
    /// The program exited without a result. Contains its standard error.
    #[error("the program exited without a result: {0}")]
    Ended(String),
}

/// A running server.
#[derive(Debug)]
pub struct PeerServer {
    child: Child,
    addr: SocketAddr,
    /// The server exits when this is closed, also if this process is killed.
    _stdin: Option<ChildStdin>,
}

impl PeerServer {
    /// Starts a server and waits until it can receive datagrams.
    ///
    /// # Errors
    ///
    /// If the program does not start, or exits before it is ready.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn start(program: &Path, args: &[String]) -> Result<Self, PeerError> {
        let mut child = command(program, args).stdin(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        if line.is_empty() {
            let mut stderr_text = String::new();
            if let Some(mut stderr) = child.stderr.take() {
                stderr.read_to_string(&mut stderr_text).await?;
            }
            return Err(PeerError::Ended(stderr_text));
        }
        let Ready { listening } = parse(line)?;
        Ok(Self {
            child,
            addr: listening,
            _stdin: stdin,
        })
    }

    /// The UDP address on which the server listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Kills the process, which simulates a crash, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// If the process cannot be killed.
    pub async fn kill(mut self) -> Result<(), PeerError> {
        Ok(self.child.kill().await?)
    }
}

/// The line that a server prints first.
#[derive(Deserialize)]
struct Ready {
    listening: SocketAddr,
}

/// Runs a client until it exits, and parses its report. Fields that `T` does not have are ignored.
///
/// # Errors
///
/// If the program does not start, or exits without a report. A report of a failure is not an error here.
///
/// # Cancel safety
///
/// Dropping the future kills the process.
pub async fn run_client<T: DeserializeOwned>(
    program: &Path,
    args: &[String],
) -> Result<T, PeerError> {
    let output = command(program, args).stdin(Stdio::null()).output().await?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    match stdout.lines().next() {
        Some(line) => parse(line.to_owned()),
        None => {
            let stderr_text = String::from_utf8_lossy(&output.stderr);
            Err(PeerError::Ended(stderr_text.into_owned()))
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
