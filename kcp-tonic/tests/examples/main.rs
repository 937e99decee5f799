//! The examples, run to their end.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::duplicate_mod,
    reason = "each example is a program of its own, with the same server"
)]

#[path = "../../examples/authentication.rs"]
mod authentication;
#[path = "../../examples/balanced.rs"]
mod balanced;
#[path = "../../examples/broadcast.rs"]
mod broadcast;
#[path = "../../examples/discovery.rs"]
mod discovery;
#[path = "../../examples/failover.rs"]
mod failover;
#[path = "../../examples/helloworld.rs"]
mod helloworld;
#[cfg(feature = "tls-ring")]
#[path = "../../examples/mtls.rs"]
mod mtls;
#[path = "../../examples/restart.rs"]
mod restart;
#[path = "../../examples/routeguide/main.rs"]
mod routeguide;
#[path = "../../examples/services.rs"]
mod services;

#[test]
fn servers_in_a_file_are_called() {
    discovery::main().unwrap();
}

#[test]
fn calls_of_all_kinds_are_answered() {
    routeguide::main().unwrap();
}

#[test]
fn call_ends_on_the_old_server_while_the_new_one_accepts() {
    restart::main().unwrap();
}

#[test]
fn greeter_is_answered() {
    helloworld::main().unwrap();
}

#[cfg(feature = "tls-ring")]
#[test]
fn server_and_client_show_each_other_certificates() {
    mtls::main().unwrap();
}

#[test]
fn balanced_greeter_is_answered_while_servers_come_and_go() {
    balanced::main().unwrap();
}

#[test]
fn calls_are_answered_by_another_server() {
    failover::main().unwrap();
}

#[test]
fn all_servers_are_called() {
    broadcast::main().unwrap();
}

#[test]
fn callers_are_authenticated() {
    authentication::main().unwrap();
}

#[test]
fn server_reports_its_health_and_describes_itself() {
    services::main().unwrap();
}

/// Examples are for reading, and readers find them in the README.
#[test]
fn examples_are_short_and_listed() {
    let readme = include_str!("../../README.md");
    for (name, text) in [
        (
            "authentication.rs",
            include_str!("../../examples/authentication.rs"),
        ),
        ("balanced.rs", include_str!("../../examples/balanced.rs")),
        ("broadcast.rs", include_str!("../../examples/broadcast.rs")),
        ("discovery.rs", include_str!("../../examples/discovery.rs")),
        // Run by the tests of etcd.
        ("etcd.rs", include_str!("../../examples/etcd.rs")),
        ("failover.rs", include_str!("../../examples/failover.rs")),
        (
            "helloworld.rs",
            include_str!("../../examples/helloworld.rs"),
        ),
        // Run by the tests of metrics.
        ("metrics.rs", include_str!("../../examples/metrics.rs")),
        ("mtls.rs", include_str!("../../examples/mtls.rs")),
        ("restart.rs", include_str!("../../examples/restart.rs")),
        (
            "routeguide/main.rs",
            include_str!("../../examples/routeguide/main.rs"),
        ),
        ("services.rs", include_str!("../../examples/services.rs")),
    ] {
        assert!(text.lines().count() < 60, "{name}");
        assert!(readme.contains(&format!("examples/{name})")), "{name}");
    }
}

/// Its code has a module of generated code, so it cannot be a documentation test.
#[test]
fn readme_shows_an_example() {
    let readme = include_str!("../../README.md");
    let (_, code) = readme.split_once("```rust,ignore\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    // The module differs: it includes what the build script generates.
    let (uses, rest) = code.split_once("\nmod helloworld {").unwrap();
    let (_, program) = rest.split_once("\n}\n").unwrap();
    let example = include_str!("../../examples/helloworld.rs");
    assert!(example.contains(uses) && example.ends_with(program));
}
