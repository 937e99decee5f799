//! HTTP/1 and HTTP/2 over KCP, the reliable-UDP protocol: a connector, incoming connections and a server
//! for [hyper](https://docs.rs/hyper), tower and axum.
//!
//! Services, routers, layers and clients stay as they are over TCP. Only binding and connecting change: they
//! take a [`Security`] in addition to the address. [`kcp_transport`] is the layer below: its page describes
//! when to choose KCP, the ciphers, the presets, and what happens when a peer dies. The crate
//! [`kcp-tonic`](https://docs.rs/kcp-tonic) above carries gRPC.
//!
//! | here | what it is | for |
//! |---|---|---|
//! | [`KcpConnector`] | `Service<Uri>` and `Service<SocketAddr>` | hyper-util's client, tonic, tower |
//! | [`KcpIncoming`] | a stream of accepted connections; with feature `axum` a listener for `axum::serve` | servers |
//! | [`serve()`] | HTTP/1 and HTTP/2 for any tower service, with TLS, upgrades and graceful shutdown | servers, including axum routers |
//! | [`KcpIo`] | a stream with the traits of tokio and of hyper | all of these |
//! | [`KcpConnectInfo`] | addresses and live statistics, in the extensions of requests and responses | handlers |
//! | [`ConnectionLimits`] | number, age and idle time of connections | servers |
//! | `balance` (feature) | requests distributed over a changing set of servers, with retries and ejection | clients |
//!
//! # Server
//!
//! An axum router, or any other service, under [`serve()`]:
//!
//! ```no_run
//! # #[cfg(all(feature = "server", feature = "axum"))]
//! # async fn run() -> std::io::Result<()> {
//! use axum::{Router, routing::get};
//! use kcp_tower::{KcpIncoming, Security, serve};
//!
//! let router = Router::new().route("/", get(async || "hello"));
//! let incoming = KcpIncoming::bind("0.0.0.0:4000", &Security::Plaintext).await?;
//! serve(incoming, router.into_make_service())
//!     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
//!     .await
//! # }
//! ```
//!
//! `ctrl_c` needs tokio's feature `signal`. `axum::serve(incoming, router)` works too, without the limits, the
//! drain time-out and the settings of HTTP/2 of [`serve()`]. A handler learns the address of its client from the extractor
//! `ConnectInfo<KcpConnectInfo>`, with `router.into_make_service_with_connect_info::<KcpConnectInfo>()` as the service.
//!
//! # Client
//!
//! hyper-util's client, over a [`KcpConnector`]:
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use bytes::Bytes;
//! use http_body_util::Empty;
//! use kcp_tower::{KcpConnector, Security};
//!
//! let connector = KcpConnector::new(&Security::Plaintext);
//! let client = connector
//!     .client_builder()
//!     .http2_only(true)
//!     .build::<_, Empty<Bytes>>(connector.clone());
//! let response = client.get("http://example.com:4000/".parse()?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The client keeps connections and reuses them, as over TCP; with HTTP/2 one connection carries all requests
//! to a server. [`KcpConnector::connections`] lists those that are open; with HTTP/1 there may be a few more than
//! requests at a time. Nothing needs to be closed: the end of the runtime ends them. Connecting fails if nothing
//! answers within [`connect_timeout`](kcp_transport::Config::connect_timeout), 10 s; with another key than the server's,
//! nothing does. A connection whose server has died ends with an error, and the pool makes another; a [`PoisonLayer`]
//! around the client makes further requests take another one after 3 s of silence. Options of
//! connections are set with [`KcpConnector::builder`]. [`KcpConnector::client_builder`] is the builder of hyper-util's
//! client, with the options of its pool.
//!
//! # WebSockets
//!
//! Servers take axum's `WebSocketUpgrade` as over TCP, with axum's feature `ws`. A client takes any crate for WebSockets
//! that works over a stream of tokio, such as tokio-tungstenite:
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use futures_util::{SinkExt, StreamExt};
//! use kcp_tower::{KcpStream, Security};
//! use tokio_tungstenite::{client_async, tungstenite::Message};
//!
//! let stream = KcpStream::connect("example.com:4000", &Security::Plaintext).await?;
//! let (mut socket, _response) = client_async("ws://example.com:4000/chat", stream).await?;
//! socket.send(Message::text("hello")).await?;
//! let answer = socket.next().await;
//! # Ok(())
//! # }
//! ```
//!
//! A graceful shutdown waits for open WebSockets up to [`Serve::drain_timeout`], 30 s by default: tell their handlers to
//! close them, or shorten it.
//!
//! # TLS
//!
//! `https` URIs need a connector that adds TLS: a [`KcpIo`] is a stream for `tokio_rustls`, on both sides, and
//! [`serve()`] takes the result. [`Security::Plaintext`] then suffices to protect data; [`Security::Aead`] also keeps
//! attackers without the key from ending connections. Without TLS, all clients share the key of the [`Security`].
//!
//! # HTTP/2 over KCP
//!
//! [`http2`] has the settings that [`serve()`] and [`KcpConnector::client_builder`] use, and their
//! reasons. Two matter most:
//!
//! - All data that HTTP/2's flow control permits must fit into KCP's buffers. hyper's client default of 5 MiB
//!   does not fit the default windows.
//! - HTTP/2's PINGs are off, because the transport detects dead peers, and a PING that waits behind data on a
//!   slow link would end a healthy connection.
//!
//! # Examples
//!
//! [Short programs](https://github.com/kcp-rs/kcp/tree/main/kcp-tower/examples), one for each subject; the README lists them.
//!
//! # Features
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `client` | yes | [`KcpConnector`] |
//! | `server` | yes | [`serve()`] |
//! | `axum` | | [`KcpIncoming`] as a listener of `axum::serve`, [`KcpConnectInfo`] for extractors |
//! | `balance` | | the module `balance` |
//! | `dns` | | servers by SRV records |
//! | `mdns` | | servers on the local network, by multicast DNS |
//! | `full` | | all of the above |
//! | `aead-ring`, `legacy-ciphers` | yes | those of [`kcp_transport`] |
//! | `aead-rust`, `metrics`, `serde` | | those of [`kcp_transport`] |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "balance")]
#[cfg_attr(docsrs, doc(cfg(feature = "balance")))]
pub mod balance;
#[cfg(feature = "client")]
mod connector;
pub mod http2;
mod incoming;
mod info;
mod io;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod serve;

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use crate::connector::{
    Connecting, KcpConnector, KcpConnectorBuilder, Poison, PoisonFuture, PoisonLayer,
};
pub use crate::incoming::{KcpIncoming, KcpIncomingBuilder};
pub use crate::info::KcpConnectInfo;
pub use crate::io::KcpIo;
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::limits::{ConnectionLimits, ConnectionLimitsBuilder};
#[cfg(feature = "server")]
#[doc(hidden)]
pub use crate::limits::{Counted, Expiry, OpenRequest, OpenRequests};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::serve::{Serve, Serving, serve};

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
#[doc(no_inline)]
pub use hyper_util::client::legacy::connect::dns::Name;

/// The transport underneath, in the version this crate was built with.
pub use kcp_transport;
#[doc(no_inline)]
pub use kcp_transport::{
    Config, ConfigBuilder, ConfigError, ConnectAttempt, ConnectError, ConnectErrorReason,
    ConnectionError, ConnectionInfo, ConversationId, FecRatio, KcpListener, KcpStream,
    ListenerBuilder, ListenerConfig, ListenerConfigBuilder, Preset, Security, Stats, ToAddrs,
    Transport,
};

/// An error of any type, as tower and hyper pass them.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The program in the README, compiled as a documentation test.
#[cfg(all(doctest, feature = "client", feature = "server", feature = "axum"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
