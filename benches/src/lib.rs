//! Benchmarks. `cargo bench` measures the layers one by one; `cargo run --release --bin compare`
//! measures whole programs, ours and others in turn.
