//! Programs that tests run.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

/// Runs a program to its end, with nothing on standard input.
pub(crate) fn run(program: &str, arguments: &str) -> Output {
    Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("starts")
}

#[allow(dead_code, reason = "not every program of tests needs it")]
pub(crate) fn last_line_as_json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().expect("something is printed");
    serde_json::from_str(last).expect("JSON")
}

/// A running server.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// What it prints after the line with the address.
    #[allow(dead_code, reason = "not every program of tests reads it")]
    pub(crate) stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts a program with empty standard input, and with `key` as the password in the environment. Its
    /// arguments contain `--json`.
    pub(crate) fn start(program: &str, arguments: &str, key: Option<&str>) -> Self {
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace());
        command.envs(key.map(|key| ("KCPTUN_KEY", key)));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("is piped"));
        stdout.read_line(&mut line).expect("reads");
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        let address = ready["listening"].as_str().expect("a string").to_owned();
        Self {
            child,
            address,
            stdout,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal with `kill`.
pub(crate) fn signal(process: u32, signal: &str) {
    let process = process.to_string();
    let status = Command::new("kill").args([signal, &process]).status();
    assert!(status.expect("starts").success());
}
