//! docs/kcp-program.md describes the program: its commands run, and its options and JSON fields are all there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::support::{Server, run};
use super::{KCP, client, server, stderr, stdout};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kcp-program.md");
    fs::read_to_string(path).expect("is text")
}

/// The part of the page below a heading of the second level.
fn section(name: &str) -> String {
    let page = page();
    let (_, rest) = page
        .split_once(&format!("\n## {name}\n"))
        .expect("has the heading");
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The words between backticks.
fn code(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn commands_of_the_page_run() {
    let server = server();
    let mut relay = None;
    for command in page().lines().filter_map(|line| line.strip_prefix("kcp ")) {
        // Shorter, with the test's own ports.
        let mut command = command
            .replace("127.0.0.1:4000", &server.address)
            .replace("example.com:4000", &server.address);
        if let Some(listen) = command.strip_prefix("relay --listen 127.0.0.1:4001 ") {
            let arguments = format!("relay --listen 127.0.0.1:0 --json {listen}");
            relay = Some(Server::start(KCP, &arguments, None));
            continue;
        }
        if command == "perf server" {
            // Runs above, but for the port.
            continue;
        }
        if let Some(relay) = &relay {
            command = command.replace("127.0.0.1:4001", &relay.address);
        }
        command = command
            .replace("-t 3", "-t 0.2")
            .replace("-c 5", "-c 5 -i 0.01");
        if command.starts_with("perf client") && !command.contains("-t ") {
            command += " -t 0.2";
        }
        let output = run(KCP, &command);
        assert!(output.status.success(), "{command}: {}", stderr(&output));
    }
    assert!(relay.is_some());
}

#[test]
fn tables_list_exactly_the_options_of_each_subcommand() {
    for (heading, subcommand) in [
        ("kcp perf", "perf client"),
        ("kcp ping", "ping"),
        ("kcp relay", "relay"),
    ] {
        let section = section(heading);
        let rows = section.lines().filter(|line| line.starts_with("| `--"));
        let named: BTreeSet<String> = rows
            .filter_map(|row| Some(row.split('`').nth(1)?.to_owned()))
            .collect();
        let help = stdout(&run(KCP, &format!("{subcommand} --help")));
        // Options of the transport have a heading of their own.
        let own = help.split("\nTransport").next().unwrap_or_default();
        let offered: BTreeSet<String> = own
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with('-'))
            .filter_map(|line| line.split([' ', '.']).find(|word| word.starts_with("--")))
            .map(str::to_owned)
            .filter(|it| !["--help", "--version", "--verbose"].contains(&it.as_str()))
            .collect();
        assert_eq!(named, offered, "{subcommand}");
    }
}

#[test]
fn json_fields_are_documented() {
    let server = server();
    for (subcommand, heading, options) in [
        ("perf client", "kcp perf", "--json -n 1K --bidir"),
        ("perf client", "kcp perf", "--json -t 0.1 --messages"),
        ("ping", "kcp ping", "--json -c 1"),
    ] {
        let output = client(subcommand, &server, options);
        let document: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        let mut fields = BTreeSet::new();
        collect(&document, &mut fields);
        let documented = code(&(section("kcp perf") + &section(heading)));
        let missing: Vec<_> = fields.difference(&documented).collect();
        assert!(missing.is_empty(), "{options}: {missing:?}");
    }
}

/// Adds the names of all fields.
fn collect(value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                fields.insert(name.clone());
                collect(value, fields);
            }
        }
        Value::Array(list) => list.iter().for_each(|it| collect(it, fields)),
        _ => {}
    }
}
