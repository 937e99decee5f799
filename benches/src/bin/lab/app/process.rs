//! Peers as child processes, and their CPU time.

use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A running peer, whose process is killed on drop.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The process exits when this is closed.
    stdin: Option<ChildStdin>,
}

impl Peer {
    /// Starts the process. It inherits standard error.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| io::Error::other("the peer's standard output is not piped"))?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
            stdin,
        })
    }

    /// Reads and parses the next line of the peer's output.
    ///
    /// # Errors
    ///
    /// If the peer prints no line within the time, exits, or prints a line that does not parse.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self, limit: Duration) -> io::Result<T> {
        let line = tokio::time::timeout(limit, self.lines.next_line())
            .await
            .map_err(|_| {
                io::Error::new(io::ErrorKind::TimedOut, "the peer printed nothing in time")
            })??
            .ok_or_else(|| io::Error::other("the peer exited early"))?;
        serde_json::from_str(&line).map_err(io::Error::from)
    }

    /// CPU time of all running threads of the process.
    pub(crate) fn cpu(&self) -> Duration {
        let Some(process) = self.child.id() else {
            return Duration::ZERO;
        };
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
            return Duration::ZERO;
        };
        let nanos = threads.flatten().map(|thread| {
            // "time-on-cpu-ns time-waiting-ns slices"
            let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|text| text.parse().ok());
            first.unwrap_or(0)
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Closes standard input, and kills the process if it does not exit in time.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        drop(self.stdin.take());
        if tokio::time::timeout(EXIT_TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// Time for a peer to exit after its standard input is closed.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);
