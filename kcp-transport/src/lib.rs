//! KCP, the reliable-UDP protocol of kcp-go, for Rust: a sans-IO protocol core and, with the
//! `tokio` feature, asynchronous streams and listeners on top of it.
//!
//! # Streams
//!
//! A server that echoes, and its client:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use kcp_transport::{KcpListener, KcpStream, Security};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
//! let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
//! let server = listener.local_addr()?;
//! tokio::spawn(async move {
//!     let (mut stream, _peer) = listener.accept().await?;
//!     let (mut reader, mut writer) = stream.split();
//!     tokio::io::copy(&mut reader, &mut writer).await
//! });
//! let mut stream = KcpStream::connect(server, &security).await?;
//! stream.write_all(b"hello").await?;
//! let mut answer = [0; 5];
//! stream.read_exact(&mut answer).await?;
//! # assert_eq!(&answer, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! `connect` and `bind` take anything that tokio resolves, `"example.com:4000"` among it. What else
//! there is to choose has a builder: [`KcpStream::builder`] and [`KcpListener::builder`].
//!
//! # Messages
//!
//! A server that answers each message with the same, and its client:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use kcp_transport::{KcpListener, KcpMessageStream, Security};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
//! let listener = KcpListener::bind("127.0.0.1:0", &security).await?;
//! let server = listener.local_addr()?;
//! tokio::spawn(async move {
//!     let (stream, _peer) = listener.accept().await.expect("the socket is open");
//!     let (mut messages, mut message) = (stream.into_messages(), Vec::new());
//!     while messages.recv(&mut message).await.is_ok() {
//!         messages.send(&message).await.expect("the client is there");
//!     }
//! });
//! let (mut client, mut answer) = (KcpMessageStream::connect(server, &security).await?, Vec::new());
//! client.send(b"hello").await?;
//! client.recv(&mut answer).await?;
//! # assert_eq!(answer, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Layers
//!
//! Each module imports only those to its left, and `arq`, `fec` and `crypto` do not import each
//! other:
//!
//! `error` | `time` | `stats` | `pages` < `names` < `wire` < `arq` | `fec` | `crypto` < `packet` < `config`
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
mod pages;
pub mod session;
pub mod stats;
#[cfg(any(test, feature = "testing"))]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod time;
pub mod wire;

pub use arq::MessageError;
pub use config::{
    AckPolicy, Config, ConfigBuilder, Congestion, Extensions, ListenerConfig,
    ListenerConfigBuilder, Mode, MtuDiscovery, Percent, Preset, Redundancy, WriteCoalescing,
};
pub use crypto::{AeadKey, KeyRing, LegacyCipher, Security};
pub use error::{
    ConfigError, ConnectAttempt, ConnectError, ConnectErrorReason, ConnectionError, DatagramError,
    ResetCode, SystemError,
};
pub use fec::FecRatio;
pub use session::State as ConnectionState;
pub use stats::{EndpointStats, Stats};
pub use wire::ConversationId;

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use net::{
    ClientBuilder, ConnectionInfo, Datagrams, KcpEndpoint, KcpListener, KcpMessageStream,
    KcpStream, ListenerBuilder, MessageReceiver, MessageSender, OwnedReadHalf, OwnedWriteHalf,
    Path, Received, ReuniteError, ToAddrs, Transport, WeakConnectionInfo,
};

/// The program in the README, compiled as a documentation test.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
