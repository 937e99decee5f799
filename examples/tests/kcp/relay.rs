//! `kcp relay`.

use serde_json::Value;

use super::support::{Server, run};
use super::{KCP, client, server, stderr, stdout};

fn relay(server: &Server, options: &str) -> Server {
    let listen = "relay --listen 127.0.0.1:0 --json";
    let arguments = format!("{listen} --server {} {options}", server.address);
    Server::start(KCP, &arguments, None)
}

#[test]
fn data_arrives_whole_through_loss_and_the_loss_is_seen() {
    let server = server();
    let relay = relay(
        &server,
        "--loss 10 --delay 2 --jitter 1 --reorder 2 --duplicate 2",
    );
    for options in ["", "--reverse"] {
        let output = client("perf client", &relay, &format!("-n 400K -J {options}"));
        assert!(output.status.success(), "{}", stderr(&output));
        let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        let stream = &result["summary"]["streams"][0];
        assert_eq!(stream["receiver"]["bytes"], 400 << 10);
        assert!(
            stream["sender"]["retransmitted"].as_u64() > Some(0),
            "{stream}"
        );
        assert!(stream["sender"]["rtt_ms"].as_f64() >= Some(4.0), "{stream}");
    }
}

#[test]
fn delay_is_seen_by_ping_in_both_ways() {
    let server = server();
    let relay = relay(&server, "--delay 20");
    let output = client("perf client", &relay, "--messages --rate 100 -t 0.3 -J");
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let messages = &result["summary"]["messages"];
    assert!(
        messages["round_trip_ms"]["min"].as_f64() >= Some(40.0),
        "{messages}"
    );
    for way in ["there_ms", "back_ms"] {
        assert!(messages[way]["p50"].as_f64() >= Some(10.0), "{messages}");
    }
}

#[test]
fn bandwidth_limits_the_throughput() {
    let server = server();
    let relay = relay(&server, "--rate 4 --delay 1");
    let output = client("perf client", &relay, "-t 0.5 -J");
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let rate = &result["summary"]["streams"][0]["receiver"]["bits_per_second"];
    assert!(rate.as_f64() < Some(4_100_000.0), "{result}");
}

#[test]
fn options_out_of_range_are_refused() {
    for (options, part) in [
        ("", "--server"),
        ("--server nowhere", "HOST:PORT"),
        ("--server 127.0.0.1:1 --loss 101", "0 to 100"),
        ("--server 127.0.0.1:1 --rate 0", "0.001 to 100000"),
        ("--server 127.0.0.1:1 --queue 5", "--rate"),
        ("--server 127.0.0.1:1 --delay -1", "0 to 10000"),
    ] {
        let output = run(KCP, &format!("relay --listen 127.0.0.1:0 {options}"));
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{options}: {message}");
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[cfg(unix)]
#[test]
fn stopped_relay_prints_its_counts() {
    use std::io::Read;

    let server = server();
    let mut relay = relay(&server, "--loss 20");
    let output = client("perf client", &relay, "-n 50K");
    assert!(output.status.success(), "{}", stderr(&output));
    super::support::signal(relay.child.id(), "-INT");
    let mut rest = String::new();
    relay.stdout.read_to_string(&mut rest).expect("is text");
    let counts: Value = serde_json::from_str(&rest).expect("JSON");
    assert_eq!(counts["at"], "total");
    assert!(
        counts["received"].as_u64() > Some(40) && counts["lost"].as_u64() > Some(0),
        "{rest}"
    );
    assert!(relay.child.wait().expect("ends").success());
}
