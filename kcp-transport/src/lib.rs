//! KCP, the reliable-UDP protocol of kcp-go, for Rust: a sans-IO protocol core and, with the
//! `tokio` feature, asynchronous streams and listeners on top of it.
//!
//! # Layers
//!
//! Each module imports only those to its left:
//!
//! `wire` < `arq` | `fec` | `crypto` < `packet` < `session` < `net`
//!
//! Everything up to [`session`] takes bytes, time and luck as arguments and touches no socket,
//! clock or entropy source. Only `net` knows tokio.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod arq;
pub mod config;
pub mod crypto;
pub mod error;
pub mod fec;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod net;
pub mod packet;
pub mod session;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod time;
pub mod wire;
