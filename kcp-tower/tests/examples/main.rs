//! The examples, run to their end.
#![allow(clippy::unwrap_used)]

#[path = "../../examples/layers.rs"]
mod layers;
#[path = "../../examples/pool.rs"]
mod pool;
#[path = "../../examples/tls.rs"]
mod tls;
#[path = "../../examples/web.rs"]
mod web;

#[test]
fn pool_keeps_connections() {
    pool::main().unwrap();
}

#[test]
fn websockets_and_events_arrive() {
    web::main().unwrap();
}

#[test]
fn requests_pass_layers() {
    layers::main().unwrap();
}

#[test]
fn requests_pass_tls() {
    tls::main().unwrap();
}

/// Examples are for reading, and readers find them in the README.
#[test]
fn examples_are_short_and_listed() {
    let readme = include_str!("../../README.md");
    for (name, text) in [
        ("layers", include_str!("../../examples/layers.rs")),
        ("pool", include_str!("../../examples/pool.rs")),
        ("tls", include_str!("../../examples/tls.rs")),
        ("web", include_str!("../../examples/web.rs")),
    ] {
        assert!(text.lines().count() < 60, "{name}");
        assert!(readme.contains(&format!("examples/{name}.rs)")), "{name}");
    }
}
