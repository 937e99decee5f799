//! Benchmarks. `cargo bench` measures single layers, `cargo run --release --bin compare` whole programs in comparison with
//! kcp-go. The programs `lab`, `attack` and `connections` measure lossy links, a server under attack, and many
//! connections.
//!
//! The modules are the emulated link of the lab, which other programs use too.

#[cfg(target_os = "linux")]
pub mod clock;
#[cfg(target_os = "linux")]
pub mod link;
#[cfg(target_os = "linux")]
pub mod netns;
#[cfg(target_os = "linux")]
pub mod priority;
