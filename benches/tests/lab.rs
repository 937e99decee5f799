//! Runs the lab if this machine supports it.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs one short cell and checks its JSON.
#[test]
fn latency_of_a_cell_is_near_the_round_trip_time() {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab.json");
    let output = lab(&["--quick", "--only", "loss-0/unary-1k/kcp"], &json);
    let diagnostics = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let device = Path::new("/dev/net/tun").exists();
        let must_run = device && std::env::var("CI").is_ok_and(|ci| ci == "true");
        let lacks = ["must run as root", "/dev/net/tun", "TUN device", "`ip "];
        let is_lacking = lacks.iter().any(|text| diagnostics.contains(text));
        assert!(is_lacking && !must_run, "{diagnostics}");
        println!("not run, the lab needs root and TUN: {diagnostics}");
        return;
    }
    assert!(!diagnostics.contains("warning"), "{diagnostics}");

    let text = std::fs::read_to_string(&json).expect("was written");
    let results: Value = serde_json::from_str(&text).expect("is JSON");
    let run = &results["runs"][0];
    assert_eq!(run["subject"], "kcp");
    assert_eq!(run["link"]["rtt_ms"], 50.0);
    let calls = run["calls"].as_u64().expect("a number");
    assert!((1..=150).contains(&calls), "{calls}");
    // A call cannot be faster than the link. Other load on the machine may slow it down.
    let p50 = run["p50_ms"].as_f64().expect("a number");
    assert!((50.0..1000.0).contains(&p50), "{p50}");
    let bytes = run["wire_bytes_per_useful_byte"].as_f64();
    assert!(bytes.expect("a number") > 1.0);
}

#[test]
fn list_needs_no_privilege() {
    let output = lab(&["--list"], Path::new("unused"));
    let text = String::from_utf8_lossy(&output.stdout);
    for name in ["loss-5", "unary-1k", "kcp-to-kcp-go"] {
        assert!(text.contains(name), "{text}");
    }
}

fn lab(args: &[&str], json: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(args)
        .arg("--json")
        .arg(json)
        .output()
        .expect("the lab starts")
}
