//! KCP, the reliable-UDP protocol of kcp-go, for Rust: a sans-IO protocol core and, with the
//! `tokio` feature, asynchronous streams and listeners on top of it.
//!
//! # Layers
//!
//! Each module imports only those to its left, and `arq`, `fec` and `crypto` do not import each
//! other:
//!
//! `error` | `time` | `stats` < `names` < `wire` < `arq` | `fec` | `crypto` < `packet` < `config`
//! < `session` < `net`
//!
//! `testing` stands above [`session`], beside `net`. Everything up to [`session`] takes bytes, time
//! and random numbers as arguments and uses no socket, clock or entropy source. Only `net` uses
//! tokio.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod arq;
pub mod config;
pub mod crypto;
pub mod error;
pub mod fec;
mod names;
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

pub use config::{
    AckPolicy, Config, ConfigBuilder, Congestion, Extensions, ListenerConfig,
    ListenerConfigBuilder, Mode, Preset, WriteCoalescing,
};
pub use crypto::{AeadKey, KeyRing, Security};
pub use error::{ConfigError, ConnectError, ConnectionError, DatagramError, ResetCode};
pub use fec::FecRatio;
pub use stats::{EndpointStats, Stats};
pub use wire::ConversationId;

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use net::{
    ClientBuilder, ConnectionInfo, Datagrams, KcpEndpoint, KcpListener, KcpMessageStream,
    KcpStream, ListenerBuilder, MessageReceiver, MessageSender, OwnedReadHalf, OwnedWriteHalf,
    Path, Received, ReuniteError, Transport, WeakConnectionInfo,
};
