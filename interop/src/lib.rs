//! Interoperability tests of this workspace against other implementations of KCP and itself, in both directions.
//!
//! | module | contents |
//! |---|---|
//! | [`go`] | build of the Go peers |
//! | [`native`] | peers built on Rust crates, including ours |
//! | [`process`] | peers as child processes |
//! | [`peer`] | the list of peers |
//! | [`case`] | descriptions of cases, the matrix, and the limits of each peer |
//! | [`run`] | running cases, each with its own ports and time limit, and checks that options had an effect |
//! | [`data`] | the data that is sent |
//! | [`echo`], [`messages`], [`out_of_band`], [`grpc`], [`conformance`] | our side of a case, and its checks |
//! | [`serve`] | our echo server |
//! | [`report`] | tables, JSON and HTML |
//!
//! `cargo run --release --bin interop` runs all cases; `-- --json FILE --html FILE` also writes the results to files.
//! `-- --list` prints the names of the cases, `-- --filter TEXT` selects some, `-- --case NAME` runs one.
//! `-- --random 300 --seed 1` draws cases from the whole space of options instead. For a failed case, the program
//! prints the command that repeats it. The Go peers are in `interop/go` and `interop/go-v5.4`, next to this crate's
//! sources; `interop/go-v5.7` contains another `go.mod` for `interop/go`.

#![forbid(unsafe_code)]

pub mod case;
mod comparison;
pub mod conformance;
pub mod data;
#[cfg(doctest)]
pub mod documents;
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
