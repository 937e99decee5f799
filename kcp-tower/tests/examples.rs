//! The examples, run to their end.
#![allow(clippy::unwrap_used)]

#[path = "../examples/layers.rs"]
mod layers;
#[path = "../examples/tls.rs"]
mod tls;

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
    let readme = include_str!("../README.md");
    for (name, text) in [
        ("layers", include_str!("../examples/layers.rs")),
        ("tls", include_str!("../examples/tls.rs")),
    ] {
        assert!(text.lines().count() <= 60, "{name}");
        assert!(readme.contains(&format!("examples/{name}.rs)")), "{name}");
    }
}
