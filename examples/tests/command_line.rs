//! The programs as a shell sees them: what they print, and their exit status.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

const ECHO: &str = env!("CARGO_BIN_EXE_echo");
const GREETER: &str = env!("CARGO_BIN_EXE_greeter");
const HTTP: &str = env!("CARGO_BIN_EXE_http");

/// Runs a program to its end, with nothing on standard input.
fn run(program: &str, arguments: &str) -> Output {
    Command::new(program)
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .output()
        .expect("starts")
}

fn last_line_as_json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().expect("something is printed");
    serde_json::from_str(last).expect("JSON")
}

#[test]
fn refused_options_are_one_line_and_status_2() {
    for (program, arguments, part) in [
        (ECHO, "", "subcommand"),
        (ECHO, "server", "--listen"),
        (ECHO, "server --listen nowhere", "'nowhere'"),
        (ECHO, "client --connect 127.0.0.1:1 --mtu 44", "mtu is 44"),
        (
            ECHO,
            "client --connect 127.0.0.1:1 --message 0",
            "--message",
        ),
        (GREETER, "--datashard 300", "'300'"),
        (GREETER, "--parityshard 0", "--parityshard is 0"),
        (GREETER, "--loss 91", "0 to 90"),
        (GREETER, "client --connect 127.0.0.1:1 --calls 0", "--calls"),
        (HTTP, "--crypt rot13", "'rot13'"),
    ] {
        let output = run(program, arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {message}");
        assert!(message.starts_with("error: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(part), "{message:?} lacks {part:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn failures_at_work_are_one_line_and_status_1() {
    // Nobody listens on the discard port, and nobody answers there in any case.
    for (program, arguments) in [
        (ECHO, "client --connect 127.0.0.1:9 --connect-timeout 0.1"),
        (
            GREETER,
            "client --connect 127.0.0.1:9 --connect-timeout 0.1",
        ),
    ] {
        let output = run(program, arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.starts_with("error: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains("127.0.0.1:9"), "{message}");
    }
}

#[test]
fn servers_say_where_they_listen_and_end_with_standard_input() {
    for program in [ECHO, GREETER] {
        let output = run(
            program,
            "server --listen 127.0.0.1:0 --json --until-stdin-closes",
        );
        assert!(output.status.success());
        let listening = last_line_as_json(&output)["listening"].clone();
        let listening = listening.as_str().expect("a string");
        assert!(listening.starts_with("127.0.0.1:"), "{listening}");
        assert!(!listening.ends_with(":0"), "{listening}");
    }
}

#[test]
fn greeter_ends_with_one_json_object() {
    let output = run(GREETER, "--calls 20 --delay 2 --loss 5 --json");
    assert!(output.status.success(), "{output:?}");
    let summary = last_line_as_json(&output);
    let keys: Vec<_> = summary.as_object().expect("an object").keys().collect();
    let mut expected = [
        "calls",
        "errors",
        "p50_us",
        "p99_us",
        "segments",
        "retransmitted",
        "fec_recovered",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(summary["calls"], 20);
    assert_eq!(summary["errors"], 0);
}
