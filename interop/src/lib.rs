//! This workspace against other implementations of KCP, and itself, in both directions.
//!
//! | module | what it does |
//! |---|---|
//! | [`go`] | builds the Go peers |
//! | [`native`] | peers made of other crates, and of ours |
//! | [`process`] | runs peers as child processes |
//! | [`peer`] | what each peer is |
//! | [`case`] | what can be run, and what each peer cannot do: a case is data |
//! | [`run`] | runs cases, each with ports and a time limit of its own, and checks that options had their effect |
//! | [`data`] | the bytes that are sent |
//! | [`echo`], [`messages`], [`out_of_band`], [`grpc`] | our side of a case, and what is checked |
//! | [`serve`] | our echo server |
//! | [`report`] | tables, JSON and HTML |
//!
//! `cargo run --release --bin interop` runs all cases; `-- --json FILE --html FILE` also writes what
//! came of them. `-- --list` names the cases, `-- --filter TEXT` picks some, `-- --case NAME` runs
//! one. `-- --random 300 --seed 1` draws from the whole space of options instead. A case that fails
//! prints the command that runs it again. The Go peers are in `interop/go` and `interop/go-v5.4`,
//! next to this crate's sources; `interop/go-v5.7` has another `go.mod` for the first.

#![forbid(unsafe_code)]

pub mod case;
mod comparison;
pub mod data;
pub mod echo;
mod failure;
pub mod go;
pub mod grpc;
pub mod messages;
pub mod native;
pub mod out_of_band;
pub mod peer;
pub mod process;
pub mod report;
pub mod run;
pub mod serve;

pub use failure::Failure;
