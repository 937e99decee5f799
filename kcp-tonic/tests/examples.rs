//! The examples, run to their end.
#![allow(clippy::unwrap_used)]
#![allow(
    clippy::duplicate_mod,
    reason = "each example is a program of its own, with the same server"
)]

#[path = "../examples/balanced.rs"]
mod balanced;
#[path = "../examples/broadcast.rs"]
mod broadcast;
#[path = "../examples/failover.rs"]
mod failover;
#[path = "../examples/helloworld.rs"]
mod helloworld;
#[path = "../examples/services.rs"]
mod services;

#[test]
fn greeter_is_answered() {
    helloworld::main().unwrap();
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
fn server_authenticates_compresses_and_describes_itself() {
    services::main().unwrap();
}

/// Examples are for reading.
#[test]
fn examples_are_shorter_than_eighty_lines() {
    for text in [
        include_str!("../examples/balanced.rs"),
        include_str!("../examples/broadcast.rs"),
        include_str!("../examples/failover.rs"),
        include_str!("../examples/helloworld.rs"),
        include_str!("../examples/services.rs"),
    ] {
        assert!(text.lines().count() < 80);
    }
}

/// Its code has a module of generated code, so it cannot be a documentation test.
#[test]
fn readme_shows_an_example() {
    let readme = include_str!("../README.md");
    let (_, code) = readme.split_once("```rust,ignore\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    assert!(include_str!("../examples/helloworld.rs").ends_with(code));
}
