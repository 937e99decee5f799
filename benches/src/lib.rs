//! Benchmarks. `cargo bench` measures single layers, `cargo run --release --bin compare` whole programs in comparison with
//! kcp-go. The programs `lab`, `attack` and `connections` measure lossy links, a server under attack, and many
//! connections.
