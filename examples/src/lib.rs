//! What the example programs share, so that tests and other tools can run the same code.
//!
//! | module | what it does |
//! |---|---|
//! | [`options`] | kcptun's command-line options as a cipher and a configuration |
//! | [`address`] | hosts and ports, by name too |
//! | [`cli`] | parsing, one-line errors, exit status, logs, progress |
//! | [`stop`] | Ctrl-C, SIGTERM, and the end of standard input |
//! | [`relay`] | a UDP relay that loses, delays, reorders and duplicates |
//! | [`echo`] | echo server, throughput and ping client |
//! | [`greeter`] | gRPC greeter: service, client, and both through the relay |
//! | [`http`] | axum app and hyper client, HTTP/1.1 and HTTP/2 |
//! | [`pattern`] | bytes that can be checked wherever they arrive |
//! | [`report`] | tables, JSON lines and percentiles |

#![forbid(unsafe_code)]

pub mod address;
pub mod cli;
pub mod echo;
pub mod greeter;
pub mod http;
pub mod options;
pub mod pattern;
pub mod relay;
pub mod report;
pub mod stop;

/// The README's programs, compiled as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
