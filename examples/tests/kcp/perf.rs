//! `kcp perf`.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::support::{Server, signal};
use super::{KCP, client, server, stderr, stdout};

fn perf(server: &Server, options: &str) -> Value {
    let output = client("perf client", server, &format!("--json {options}"));
    assert!(output.status.success(), "{}", stderr(&output));
    // One document, and nothing else.
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn both_sides_report_every_byte_in_each_direction() {
    let server = server();
    for (options, directions) in [
        ("", &["upload"][..]),
        ("--reverse", &["download"]),
        ("--bidir", &["upload", "download"]),
    ] {
        let result = perf(&server, &format!("--bytes 300K -P 2 {options}"));
        assert_eq!(result["error"], Value::Null);
        assert_eq!(result["interrupted"], false);
        assert_eq!(result["connections"].as_array().map(Vec::len), Some(2));
        let streams = result["summary"]["streams"].as_array().expect("a list");
        assert_eq!(streams.len(), 2 * directions.len());
        for stream in streams {
            assert!(directions.contains(&stream["direction"].as_str().expect("text")));
            for side in ["sender", "receiver"] {
                assert_eq!(stream[side]["bytes"], 300 << 10, "{options}: {stream}");
            }
            assert!(number(&stream["sender"]["wire_bytes_per_byte"]) > 1.0);
            assert!(number(&stream["sender"]["rtt_ms"]) > 0.0);
            assert!(number(&stream["receiver"]["bits_per_second"]) > 0.0);
        }
        let sums = result["summary"]["sum"].as_array().expect("a list");
        let named: Vec<_> = sums.iter().map(|it| it["direction"].clone()).collect();
        assert_eq!(named, directions);
        assert_eq!(sums[0]["receiver"]["bytes"], 600 << 10);
    }
}

#[test]
fn time_limit_ends_the_test_and_intervals_cover_it() {
    let result = perf(&server(), "--time 0.5 --interval 0.1 --omit 0.2");
    let intervals = result["intervals"].as_array().expect("a list");
    let (omitted, counted): (Vec<_>, Vec<_>) =
        intervals.iter().partition(|it| it["omitted"] == true);
    assert_eq!(omitted.len(), 2, "{intervals:?}");
    assert!(counted.len() >= 5, "{intervals:?}");
    assert_eq!(counted[0]["start_s"], 0.0);
    for pair in intervals.windows(2).filter(|it| it[1]["start_s"] != 0.0) {
        assert_eq!(pair[0]["end_s"], pair[1]["start_s"]);
    }
    let sent = &result["summary"]["streams"][0]["sender"];
    assert!(
        number(&sent["bytes"]) > 0.0 && number(&sent["seconds"]) >= 0.4,
        "{sent}"
    );
}

#[test]
fn bitrate_is_kept() {
    let result = perf(&server(), "--time 1 --bitrate 800K");
    let sent = &result["summary"]["streams"][0]["sender"];
    // 100 kB in a second; a busy machine may be slower, but not faster.
    let bytes = number(&sent["bytes"]);
    assert!((10_000.0..105_000.0).contains(&bytes), "{sent}");
}

#[test]
fn messages_come_back_and_each_way_is_measured() {
    let result = perf(&server(), "--messages --time 0.5 --rate 100 -P 2 -i 0.2");
    let messages = &result["summary"]["messages"];
    assert_eq!(
        (&messages["sent"], &messages["back"]),
        (&100.into(), &100.into())
    );
    for times in ["round_trip_ms", "there_ms", "back_ms"] {
        let time = |name: &str| number(&messages[times][name]);
        assert!(
            time("min") <= time("p50") && time("p50") <= time("p99"),
            "{messages}"
        );
        assert!(time("p99") <= time("max"), "{messages}");
    }
    assert!(number(&messages["round_trip_ms"]["min"]) > 0.0);
    let rows = result["intervals"].as_array().expect("a list").iter();
    let sent: f64 = rows.map(|it| number(&it["messages"][0]["sent"])).sum();
    assert!((sent - 50.0).abs() < 0.5, "{sent}");
}

#[test]
fn text_has_intervals_sums_and_both_ends_without_control_characters() {
    let output = client("perf client", &server(), "-t 0.3 -i 0.1 -P 2 --bidir");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    assert!(
        !text.contains(|it: char| it.is_control() && it != '\n'),
        "{text:?}"
    );
    for part in [
        "[  1][TX-C]",
        "[  2][RX-C]",
        "[SUM][TX-C]",
        "0.10-0.20",
        "its/sec",
        "sender",
        "receiver",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let ends = text.lines().filter(|line| line.ends_with("er")).count();
    assert_eq!(ends, 2 * 2 * 3, "{text}");
}

#[test]
fn server_ends_after_one_client_if_asked() {
    let listen = "perf server --listen 127.0.0.1:0 --json -1";
    let mut server = Server::start(KCP, listen, None);
    perf(&server, "--bytes 1000 -P 3");
    assert!(server.child.wait().expect("ends").success());
}

#[test]
fn output_that_is_closed_early_ends_the_client_without_a_panic() {
    let server = server();
    let (mut child, mut reader) = endless(&server, "");
    let mut line = String::new();
    reader.read_line(&mut line).expect("reads");
    drop(reader);
    assert_eq!(child.wait().expect("ends").code(), Some(1));
    let mut message = String::new();
    let mut pipe = child.stderr.take().expect("is piped");
    pipe.read_to_string(&mut message).expect("is text");
    assert!(
        message.contains("cannot write to standard output"),
        "{message}"
    );
    assert!(!message.contains("panicked"), "{message}");
}

/// A client that does not end by itself, and its output.
fn endless(server: &Server, options: &str) -> (Child, impl BufRead + use<>) {
    let mut child = Command::new(KCP)
        .args([
            "perf",
            "client",
            &server.address,
            "-t",
            "3600",
            "-i",
            "0.1",
            "-b",
            "1M",
        ])
        .args(options.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let output = BufReader::new(child.stdout.take().expect("is piped"));
    (child, output)
}

/// Reads until the first interval is printed.
#[cfg(unix)]
fn until_first_interval(reader: &mut impl BufRead) {
    let mut line = String::new();
    while !line.contains("its/sec") {
        line.clear();
        assert!(reader.read_line(&mut line).expect("reads") > 0, "it ended");
    }
}

#[cfg(unix)]
#[test]
fn interrupted_client_prints_the_summary_of_both_sides() {
    let server = server();
    for options in ["", "--reverse"] {
        let (mut child, mut reader) = endless(&server, options);
        until_first_interval(&mut reader);
        signal(child.id(), "-INT");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("is text");
        assert_eq!(child.wait().expect("ends").code(), Some(130));
        assert!(
            rest.contains("  sender\n") && rest.contains("  receiver\n"),
            "{rest}"
        );
    }
}

#[cfg(unix)]
#[test]
fn stopped_server_ends_its_tests_and_their_clients_say_so() {
    for options in ["", "--reverse", "--messages --rate 50"] {
        let mut server = server();
        let mut arguments = vec!["perf", "client", &server.address, "-t", "3600", "-i", "0.1"];
        arguments.extend(options.split_whitespace());
        let mut child = Command::new(KCP)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut reader = BufReader::new(child.stdout.take().expect("is piped"));
        let mut line = String::new();
        while !line.contains("0.00-0.10") {
            line.clear();
            assert!(reader.read_line(&mut line).expect("reads") > 0, "it ended");
        }
        signal(server.child.id(), "-TERM");
        assert!(server.child.wait().expect("ends").success());
        let mut rest = String::new();
        reader.read_to_string(&mut rest).expect("is text");
        let mut message = String::new();
        let mut pipe = child.stderr.take().expect("is piped");
        pipe.read_to_string(&mut message).expect("is text");
        assert_eq!(child.wait().expect("ends").code(), Some(1), "{message}");
        assert!(
            message.contains("the server was stopped"),
            "{options}: {message}"
        );
        assert!(rest.contains("- - -"), "{rest}");
    }
}

#[test]
fn server_prints_a_line_for_each_connection() {
    let listen = "perf server --listen 127.0.0.1:0 --json --one-off";
    let mut server = Server::start(KCP, listen, None);
    assert_eq!(perf(&server, "-n 5000 -R")["error"], Value::Null);
    let mut rest = String::new();
    server.stdout.read_to_string(&mut rest).expect("is text");
    assert!(server.child.wait().expect("ends").success());
    let ended: Value = serde_json::from_str(&rest).expect("one line of JSON");
    assert_eq!(ended["error"], Value::Null);
    assert_eq!(
        (&ended["kind"], &ended["sent"]["bytes"]),
        (&"download".into(), &5000.into())
    );
}

/// What a server without `--json` prints for one client.
fn text_of_server(options: &str, client: &str) -> String {
    let mut child = Command::new(KCP)
        .args(["perf", "server", "--listen", "127.0.0.1:0", "--one-off"])
        .args(options.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut reader = BufReader::new(child.stdout.take().expect("is piped"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("reads");
    let address = line
        .trim()
        .strip_prefix("listening on ")
        .expect("the address");
    let client = super::run(KCP, &format!("perf client {address} {client}"));
    assert!(client.status.success(), "{}", stderr(&client));
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("is text");
    assert!(child.wait().expect("ends").success());
    text
}

#[test]
fn server_prints_intervals_of_all_connections_of_a_client_and_their_sum() {
    for (options, columns, roles) in [
        ("", "Bitrate\n", &[""][..]),
        ("--reverse", "RTT\n", &[""]),
        ("--bidir", "RTT\n", &["[TX-S]", "[RX-S]"]),
        ("--messages", "Bitrate\n", &[""]),
    ] {
        let client = format!("-t 0.5 -P 2 {options}");
        let text = text_of_server("--interval 0.1", &client);
        assert_eq!(text.matches("[ ID]").count(), 1, "{text}");
        assert!(text.contains(columns), "{text}");
        for role in roles {
            for name in ["[  1]", "[  2]", "[SUM]"] {
                let lines = |span: &str| {
                    let start = format!("{name}{role}   {span}");
                    text.lines().filter(|it| it.starts_with(&start)).count()
                };
                assert_eq!(lines("0.00-0.10   sec"), 1, "{name}{role}: {text}");
                assert_eq!(lines("0.30-0.40   sec"), 1, "{name}{role}: {text}");
            }
        }
        // The results follow the last interval, of each connection and their sum.
        let endings = ["  received", "  sent", "messages sent back"];
        let is_result = |line: &&str| endings.iter().any(|it| line.ends_with(it));
        let results = text.lines().rev().take_while(is_result);
        let names: Vec<_> = results.map(|line| &line[..5]).collect();
        let expected = ["[SUM]", "[  2]", "[  1]"].map(|name| vec![name; roles.len()]);
        assert_eq!(names, expected.concat(), "{text}");
    }
}

#[test]
fn server_prints_results_only_if_the_interval_is_zero() {
    let text = text_of_server("--interval 0", "-t 0.3");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("upload for 0.3 s"), "{text}");
    assert!(text.ends_with("  received\n"), "{text}");
}
