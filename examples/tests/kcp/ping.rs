//! `kcp ping`.

use serde_json::Value;

use super::support::run;
use super::{KCP, client, server, stderr, stdout};

#[test]
fn each_answer_has_a_line_and_the_summary_has_the_times() {
    let output = client("ping", &server(), "-c 5 -i 0.02");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        !text.contains(|it: char| it.is_control() && it != '\n'),
        "{text:?}"
    );
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("PING 127.0.0.1:"), "{text}");
    assert!(lines[0].contains("connected in"), "{text}");
    for (number, line) in (1..=5).zip(&lines[1..]) {
        let answer = format!("seq={number} time=");
        assert!(line.contains(&answer), "{text}");
    }
    assert!(
        text.contains("5 messages sent, 5 answered, 0.0% unanswered"),
        "{text}"
    );
    assert!(text.contains("round trip min/avg/max/p99 = "), "{text}");
}

#[test]
fn json_is_one_document() {
    let output = client("ping", &server(), "-c 3 -i 0.01 --length 1000 --json");
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(
        (&result["sent"], &result["answered"]),
        (&3.into(), &3.into())
    );
    assert_eq!(
        (&result["length"], &result["error"]),
        (&1000.into(), &Value::Null)
    );
    let times = &result["round_trip_ms"];
    assert!(times["min"].as_f64() <= times["p99"].as_f64(), "{result}");
    assert!(result["connect_ms"].as_f64() > Some(0.0), "{result}");
}

#[test]
fn nobody_there_is_said_clearly() {
    // The discard port: usually closed, and a service there would not answer.
    let output = run(KCP, "ping 127.0.0.1:9 -c 1 --connect-timeout 0.3");
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.starts_with("error: cannot connect to 127.0.0.1:9"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[cfg(unix)]
mod signals {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use super::super::support::signal;
    use super::*;

    /// A ping without end that was answered once.
    fn answered(address: &str) -> (Child, BufReader<ChildStdout>) {
        let mut child = Command::new(KCP)
            .args(["ping", address, "-i", "0.05"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut reader = BufReader::new(child.stdout.take().expect("is piped"));
        let mut line = String::new();
        while !line.contains("time=") {
            line.clear();
            assert!(reader.read_line(&mut line).expect("reads") > 0, "it ended");
        }
        (child, reader)
    }

    #[test]
    fn interrupted_ping_prints_its_summary_and_succeeds() {
        let server = server();
        let (mut child, mut reader) = answered(&server.address);
        signal(child.id(), "-INT");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("is text");
        assert!(
            rest.contains("ping statistics") && rest.contains(" 0.0% unanswered"),
            "{rest}"
        );
        assert_eq!(child.wait().expect("ends").code(), Some(0));
    }

    #[test]
    fn ping_of_a_server_that_stops_fails_and_prints_its_summary() {
        let server = server();
        let (mut child, mut reader) = answered(&server.address);
        signal(server.child.id(), "-TERM");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("is text");
        assert!(rest.contains("ping statistics"), "{rest}");
        let mut message = String::new();
        let mut pipe = child.stderr.take().expect("is piped");
        pipe.read_to_string(&mut message).expect("is text");
        assert!(message.contains("the server was stopped"), "{message}");
        assert_eq!(child.wait().expect("ends").code(), Some(1));
    }
}
