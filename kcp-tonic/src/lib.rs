//! gRPC over KCP, the reliable-UDP protocol: channels and servers for tonic.
//!
//! Generated clients and services stay as they are over TCP. A [`KcpChannel`] replaces tonic's `Channel`, and
//! [`serve()`] replaces `Server::serve`. Go programs with grpc-go over kcp-go are peers. The layers below are
//! [`kcp_tower`], which has HTTP/2, and [`kcp_transport`], whose page describes when to choose KCP, the
//! ciphers and the presets. [Coming from tonic over TCP][tcp] compares programs before and after.
//!
//! [tcp]: https://github.com/kcp-rs/kcp/blob/main/docs/coming-from-tonic-over-tcp.md
//!
//! | here | what it is | for |
//! |---|---|---|
//! | [`KcpChannel`] | a connection to one server or to several, for generated clients | clients |
//! | [`Selection`], [`Failure`], [`balance`] | which server gets a call, and what happens if it fails | clients |
//! | [`KcpIncoming`], [`server_builder`], [`serve()`] | connections, tonic's `Server` with settings for KCP, a server that drains | servers |
//! | [`ServerStatsLayer`] | counts calls, by their codes | servers |
//! | [`KcpRequestExt`] | `kcp_connect_info` and `kcp_peer_certs` of a request: addresses, statistics and certificates of the peer, in a handler | servers |
//! | `etcd` (feature) | registration and discovery of servers | both |
//!
//! # Server
//!
//! [`server_builder`] is tonic's `Server::builder()` with settings for KCP; [`serve()`] runs it until
//! a signal, and then drains it:
//!
//! ```no_run
//! # mod helloworld {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generated/helloworld.rs"));
//! # }
//! # #[cfg(feature = "server")]
//! # async fn run(greeter: impl helloworld::greeter_server::Greeter) -> std::io::Result<()> {
//! use helloworld::greeter_server::GreeterServer;
//! use kcp_tonic::{KcpIncoming, Security, serve, server_builder};
//!
//! let incoming = KcpIncoming::bind("0.0.0.0:4000", &Security::Plaintext).await?;
//! let router = server_builder().add_service(GreeterServer::new(greeter));
//! serve(incoming, router)
//!     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
//!     .await
//! # }
//! ```
//!
//! `ctrl_c` needs tokio's feature `signal`.
//!
//! # Client
//!
//! A generated client takes a [`KcpChannel`] in place of tonic's `Channel`:
//!
//! ```no_run
//! # mod helloworld {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generated/helloworld.rs"));
//! # }
//! # #[cfg(feature = "channel")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use helloworld::{HelloRequest, greeter_client::GreeterClient};
//! use kcp_tonic::{KcpChannel, Security};
//!
//! let channel = KcpChannel::connect("kcp://example.com:4000", &Security::Plaintext).await?;
//! let request = HelloRequest { name: "world".into() };
//! let reply = GreeterClient::new(channel).say_hello(request).await?;
//! println!("{}", reply.into_inner().message);
//! # Ok(())
//! # }
//! ```
//!
//! `connect` returns once the server has answered. It fails after
//! [`connect_timeout`](kcp_transport::Config::connect_timeout), 10 s, if none does: also if the server has another
//! cipher or key, since it drops what it cannot decrypt. `KcpChannel::connect_lazy` connects at the first call.
//!
//! # Several servers
//!
//! A channel may have a set of servers, fixed or found by any [`Discover`](balance::Discover) of
//! tower. A [`Selection`] picks one for each call, and a [`Failure`] decides whether a call that fails is
//! sent again:
//!
//! ```no_run
//! # #[cfg(feature = "channel")]
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use kcp_tonic::{Failure, KcpChannel, Security, Selection};
//!
//! let channel = KcpChannel::builder(&Security::Plaintext)
//!     .selection(Selection::PeakEwma)
//!     .failure(Failure::failover())
//!     .idempotent(["/helloworld.Greeter/SayHello"])
//!     .connect_list(["kcp://10.0.0.7:4000", "kcp://10.0.0.8:4000"])?;
//! # Ok(())
//! # }
//! ```
//!
//! # When a server dies
//!
//! Calls fail with `Unavailable`, the code that retry policies look for, and the message of the status has the reason.
//! If no connection could be made, [`ConnectionError::find`] finds it among the sources of the status; of a connection that
//! is lost later, HTTP/2 keeps only the text. A server that shuts down lets calls in flight finish. A killed
//! server is detected within two seconds after something is sent to it, and a vanished one by the time-outs of the
//! [`Config`]. The next call connects anew. With [`Failure::failover`], calls go to another server instead.
//!
//! # Changing networks
//!
//! [`KcpChannel::rebind`] moves the connections of a channel to other sockets when a client's network has changed. Calls
//! and streams in flight continue from the new address.
//!
//! # TLS
//!
//! With one of the features `tls-ring` and `tls-aws-lc`, a channel to `kcps://host:port` with
//! `KcpChannelBuilder::tls_config`, and a server with `Server::tls_config`, use TLS inside KCP, with
//! client certificates if wanted; handlers get these from `KcpRequestExt::kcp_peer_certs`.
//! [`Security::Plaintext`] then suffices to protect data; [`Security::Aead`] also keeps attackers without the key
//! from ending connections.
//!
//! # HTTP/2 over KCP
//!
//! [`http2`](kcp_tower::http2) of kcp-tower has the settings and their reasons.
//!
//! # Examples
//!
//! [Short programs](https://github.com/kcp-rs/kcp/tree/main/kcp-tonic/examples), one for each subject; the README lists them.
//!
//! # Features
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `channel` | yes | clients |
//! | `server` | yes | servers |
//! | `dns` | | servers by SRV records |
//! | `mdns` | | servers on the local network, by multicast DNS |
//! | `etcd` | | the module `etcd` |
//! | `health` | | `KcpChannelBuilder::watch_health` |
//! | `tls-ring`, `tls-aws-lc`, `tls-native-roots`, `tls-webpki-roots` | | TLS inside, as in tonic |
//! | `aead-ring`, `legacy-ciphers` | yes | those of [`kcp_transport`] |
//! | `aead-rust`, `metrics`, `serde` | | those of [`kcp_transport`] |

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(any(feature = "channel", feature = "server"))]
mod calls;
#[cfg(feature = "channel")]
mod channel;
#[cfg(feature = "etcd")]
#[cfg_attr(docsrs, doc(cfg(feature = "etcd")))]
pub mod etcd;
#[cfg(feature = "server")]
mod server;

#[cfg(any(feature = "channel", feature = "server"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "channel", feature = "server"))))]
pub use crate::calls::CodeCounts;
#[cfg(feature = "channel")]
#[cfg_attr(docsrs, doc(cfg(feature = "channel")))]
pub use crate::channel::{
    CallFuture, ChannelError, ChannelStats, ConnectFailure, FanOutError, KcpChannel,
    KcpChannelBuilder,
};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::server::{
    CountCalls, CountedCall, KcpIncoming, KcpIncomingBuilder, KcpRequestExt, KcpServerIo,
    RemoteAddr, RemoteAddrLayer, Serve, ServerStats, ServerStatsLayer, Serving, serve,
    server_builder,
};

pub use kcp_tower;
/// The transport underneath, in the version this crate was built with.
pub use kcp_tower::kcp_transport;
#[doc(no_inline)]
pub use kcp_tower::{
    Config, ConfigBuilder, ConfigError, ConnectAttempt, ConnectError, ConnectErrorReason,
    ConnectionError, ConnectionInfo, ConversationId, FecRatio, KcpConnectInfo, KcpListener,
    ListenerConfig, ListenerConfigBuilder, Preset, Security, Stats, ToAddrs, Transport,
};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
#[doc(no_inline)]
pub use kcp_tower::{ConnectionLimits, ConnectionLimitsBuilder};
#[cfg(feature = "channel")]
#[cfg_attr(docsrs, doc(cfg(feature = "channel")))]
#[doc(no_inline)]
pub use kcp_tower::{
    KcpConnector, KcpConnectorBuilder, Name,
    balance::{self, Failure, Selection},
};
