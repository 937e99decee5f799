//! Streams, messages and listeners on tokio, over sockets on loopback and over networks in memory.
#![allow(clippy::disallowed_methods)]
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "tests of what Linux alone has use it")
)]

mod connecting;
mod corpora;
mod endpoint;
mod messages;
mod migration;
mod readiness;
mod reconfigure;
mod shutdown;
mod socket;
mod statistics;
mod stream;
mod transport;
