//! `kcp perf`: measures throughput, and the latency of messages, between a client and a server.
//!
//! [`client`] opens connections and requests a test on each; [`server`] accepts them. The data of a
//! connection is an [`exchange`], the same on both sides, or an [`echo`] of messages. A [`meter`] counts
//! meanwhile; [`readings`] are taken of it at intervals, and both sides report what they counted at the end.
//! [`output`] prints the results.

pub mod client;
pub mod echo;
mod error;
pub mod exchange;
mod figures;
pub mod meter;
pub mod output;
pub mod readings;
pub mod samples;
pub mod server;
pub mod units;
pub mod wire;

pub use error::TestError;
pub use figures::Figures;
