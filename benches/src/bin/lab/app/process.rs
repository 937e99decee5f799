//! Peers as child processes, and what they cost.

use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A peer that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// It ends when this is closed.
    stdin: Option<ChildStdin>,
}

impl Peer {
    /// Starts it. What it writes to standard error is shown.
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
            .ok_or_else(|| io::Error::other("no standard output"))?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
            stdin,
        })
    }

    /// The next line that it prints.
    ///
    /// # Errors
    ///
    /// If it prints none within the time, or another thing.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self, limit: Duration) -> io::Result<T> {
        let line = tokio::time::timeout(limit, self.lines.next_line())
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the peer printed nothing"))??
            .ok_or_else(|| io::Error::other("the peer ended early"))?;
        serde_json::from_str(&line).map_err(io::Error::from)
    }

    /// Processor time of all its threads that live.
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

    /// Lets it end, and kills it if it does not.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        drop(self.stdin.take());
        if tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .is_err()
        {
            self.child.kill().await?;
        }
        Ok(())
    }
}

const PATIENCE: Duration = Duration::from_millis(500);
