//! Code of the programs, as a library, so that tests and other tools can run it.
//!
//! | module | contents |
//! |---|---|
//! | [`options`] | kcptun's command-line options as a cipher and a configuration |
//! | [`address`] | host names or IP addresses, with a port |
//! | [`cli`] | parsing, one-line errors, exit status, logs, progress |
//! | [`stop`] | stop requests: Ctrl-C, SIGTERM, the end of standard input |
//! | [`relay`] | a UDP relay that loses, delays, reorders and duplicates |
//! | [`echo`] | echo server, throughput and ping client |
//! | [`greeter`] | gRPC greeter: service, client, demonstration through the relay |
//! | [`http`] | axum app and hyper client, HTTP/1.1 and HTTP/2 |
//! | [`perf`] | throughput and latency between a client and a server: `kcp perf` |
//! | [`ping`] | round trips of small messages: `kcp ping` |
//! | [`pattern`] | test data that can be checked at any offset |
//! | [`report`] | tables, JSON lines and percentiles |

#![forbid(unsafe_code)]

pub mod address;
pub mod cli;
pub mod echo;
pub mod greeter;
pub mod http;
pub mod options;
pub mod pattern;
pub mod perf;
pub mod ping;
pub mod relay;
pub mod report;
pub mod stop;

/// The README's programs, compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

/// The programs of docs/operations.md, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/operations.md")]
pub struct Operations;
