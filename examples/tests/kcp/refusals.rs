//! What cannot be done is said in one line, with the exit status.

use std::time::Duration;

use kcp_examples::perf::wire::{self, FrameKind, Head, Kind, Limit, Request};
use kcp_transport::{KcpStream, Security};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::support::{Server, run};
use super::{KCP, client, server, stderr, stdout};

const ECHO: &str = env!("CARGO_BIN_EXE_echo");

#[test]
fn refused_options_name_what_is_allowed() {
    for (arguments, part) in [
        ("", "subcommand"),
        ("perf", "subcommand"),
        ("perf client", "<HOST:PORT>"),
        ("perf client nowhere", "HOST:PORT"),
        ("perf client 127.0.0.1:1 -n 0", "64K"),
        ("perf client 127.0.0.1:1 -n 1K -t 5", "--time"),
        ("perf client 127.0.0.1:1 -t 0", "0.001 to 86400"),
        ("perf client 127.0.0.1:1 -P 129", "1 to 128"),
        ("perf client 127.0.0.1:1 -i 0.01", "0, or 0.1 to 3600"),
        ("perf client 127.0.0.1:1 -b 1", "1K to 1000G"),
        ("perf client 127.0.0.1:1 -l 2M", "1 to 1048576"),
        ("perf client 127.0.0.1:1 --messages -l 24", "25 to 16384"),
        (
            "perf client 127.0.0.1:1 --messages --rate 9999 -t 9999",
            "10000000",
        ),
        ("perf client 127.0.0.1:1 --rate 5", "--messages"),
        ("perf client 127.0.0.1:1 -R --bidir", "--bidir"),
        (
            "perf client 127.0.0.1:1 --datashard 10",
            "--parityshard is 0",
        ),
        ("perf server --listen nowhere", "'nowhere'"),
    ] {
        let output = run(KCP, arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {message}");
        assert!(message.starts_with("error: "), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn wrong_key_and_missing_server_are_explained() {
    let server = server();
    let wrong = client("perf client", &server, "--key wrong --connect-timeout 0.3");
    assert_eq!(wrong.status.code(), Some(1));
    let message = stderr(&wrong);
    assert!(message.contains("cipher and key"), "{message}");
    assert!(message.contains(&server.address), "{message}");

    // The discard port: usually closed, and a service there would not answer.
    let missing = run(KCP, "perf client 127.0.0.1:9 --connect-timeout 0.3 --json");
    assert_eq!(missing.status.code(), Some(1));
    let document: Value = serde_json::from_str(&stdout(&missing)).expect("JSON");
    let message = document["error"].as_str().expect("text");
    assert!(message.contains("127.0.0.1:9"), "{message}");
}

#[test]
fn client_of_another_protocol_and_server_of_another_are_refused() {
    let server = server();
    let echo = format!("client --connect {} --bytes 100 --pings 0", server.address);
    let output = run(ECHO, &echo);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the echo"), "{}", stderr(&output));

    let echo = Server::start(ECHO, "server --listen 127.0.0.1:0 --json", None);
    let output = client("perf client", &echo, "-t 1");
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("the server speaks another protocol"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1, "{message}");

    // The server still serves others.
    let output = client("perf client", &server, "-n 1000");
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A client that begins a valid test, sends these bytes, and returns what the server answers.
async fn answer_to(server: &Server, bytes: &[u8]) -> String {
    let null = Security::from_password("null", "", b"").expect("is known");
    let stream = KcpStream::connect(&server.address, &null).await;
    let mut stream = stream.expect("connects");
    let request = Request {
        kind: Kind::Upload,
        client: 1,
        connections: 1,
        limit: Limit::Unlimited,
        omit: Duration::ZERO,
        length: 100,
        rate: None,
        interval: Duration::ZERO,
    };
    wire::request(&mut stream, &request)
        .await
        .expect("is accepted");
    stream.write_all(bytes).await.expect("writes");
    let mut answer = Vec::new();
    let reading = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    reading
        .await
        .expect("the server ends the connection")
        .expect("reads");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn client_that_sends_garbage_is_told_what_was_wrong() {
    let listen = "perf server --listen 127.0.0.1:0 --json --crypt null";
    let server = Server::start(KCP, listen, None);
    let begin = Head {
        kind: FrameKind::Begin,
        len: 0,
    };
    let begin = begin.encode();
    let with_data = |data: &[u8]| {
        let kind = FrameKind::Data;
        let len = data.len();
        [&begin[..], &Head { kind, len }.encode(), data].concat()
    };
    for (bytes, problem) in [
        (
            [&begin[..], &[9; 64]].concat(),
            "frame of kind 9; allowed: 1 to 5",
        ),
        ([begin, begin].concat(), "frame Begin out of order"),
        (with_data(b"not the pattern"), "wrong bytes after 0 bytes"),
        (
            [&begin[..], &[2, 255, 0, 0, 0]].concat(),
            "allowed: 0 to 1048576",
        ),
        (
            [&begin[..], &[5, 0, 0, 0, 2], b"{}"].concat(),
            "the client sent invalid data",
        ),
    ] {
        let answer = answer_to(&server, &bytes).await;
        assert!(answer.contains(problem), "{answer:?} lacks {problem:?}");
    }
}
