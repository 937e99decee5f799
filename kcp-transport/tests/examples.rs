//! The examples, run to their end.
#![allow(clippy::unwrap_used)]

#[path = "../examples/datagrams.rs"]
mod datagrams;
#[path = "../examples/echo.rs"]
mod echo;
#[path = "../examples/messages.rs"]
mod messages;
#[path = "../examples/rebind.rs"]
mod rebind;
#[path = "../examples/statistics.rs"]
mod statistics;
#[path = "../examples/transport.rs"]
mod transport;

#[test]
fn bytes_return() {
    echo::main().unwrap();
}

#[test]
fn messages_return() {
    messages::main().unwrap();
}

#[test]
fn stream_ends_beside_datagrams() {
    datagrams::main().unwrap();
}

#[test]
fn transfer_is_counted() {
    statistics::main().unwrap();
}

#[test]
fn data_arrives_over_a_transport_that_loses() {
    transport::main().unwrap();
}

#[test]
fn connection_continues_from_another_address() {
    rebind::main().unwrap();
}

/// Examples are for reading, and readers find them in the README.
#[test]
fn examples_are_short_and_listed() {
    let readme = include_str!("../README.md");
    for (name, text) in [
        ("datagrams", include_str!("../examples/datagrams.rs")),
        ("echo", include_str!("../examples/echo.rs")),
        ("messages", include_str!("../examples/messages.rs")),
        ("rebind", include_str!("../examples/rebind.rs")),
        ("statistics", include_str!("../examples/statistics.rs")),
        ("transport", include_str!("../examples/transport.rs")),
    ] {
        assert!(text.lines().count() < 60, "{name}");
        assert!(readme.contains(&format!("examples/{name}.rs)")), "{name}");
    }
}
