//! This workspace against kcp-go and grpc-go, in both directions.
//!
//! | module | what it does |
//! |---|---|
//! | [`go`] | builds the Go peers |
//! | [`process`] | runs them as child processes |
//! | [`case`] | what can be run: a case is data |
//! | [`run`] | runs cases, each with ports and a time limit of its own |
//! | [`echo`], [`grpc`] | our side of a case, and what is checked |
//! | [`report`] | tables and JSON |
//!
//! `cargo run --release --bin interop` runs all cases. The Go peers themselves are in
//! `interop/go`, next to this crate's sources.

#![forbid(unsafe_code)]

pub mod case;
pub mod echo;
mod failure;
pub mod go;
pub mod grpc;
pub mod process;
pub mod report;
pub mod run;

pub use failure::Failure;
