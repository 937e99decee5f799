//! KCP under [hyper], tower and axum: the same services and clients, over reliable UDP.
//!
//! | here | what it is | who uses it |
//! |---|---|---|
//! | [`KcpIo`] | a stream with the traits of tokio and of hyper | everyone |
//! | [`KcpConnector`] | `Service<Uri>` and `Service<SocketAddr>` | hyper-util's client, tonic, tower |
//! | [`KcpIncoming`] | a stream of accepted connections; with feature `axum` a listener for `axum::serve` | servers |
//! | [`serve()`] | HTTP/1 and HTTP/2 for any tower service, with graceful shutdown | servers without axum |
//! | [`KcpConnectInfo`] | addresses and live statistics, in the extensions of requests and responses | handlers |
//!
//! # Server
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use http::{Request, Response};
//! use kcp_tower::kcp_transport::crypto::Security;
//! use kcp_tower::{KcpConnectInfo, KcpIncoming};
//!
//! let hello = tower::service_fn(|request: Request<hyper::body::Incoming>| async move {
//!     let info = request.extensions().get::<KcpConnectInfo>().expect("serve inserts it");
//!     Ok::<_, std::convert::Infallible>(Response::new(format!("hello {}\n", info.peer_addr())))
//! });
//! let incoming = KcpIncoming::bind("0.0.0.0:4000".parse()?, &Security::Plaintext).await?;
//! kcp_tower::serve(incoming, tower::make::Shared::new(hello))
//!     .with_graceful_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Client
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use bytes::Bytes;
//! use http_body_util::Empty;
//! use kcp_tower::KcpConnector;
//! use kcp_tower::kcp_transport::crypto::Security;
//!
//! let connector = KcpConnector::new(Security::Plaintext);
//! let client = kcp_tower::client_builder()
//!     .http2_only(true)
//!     .build::<_, Empty<Bytes>>(connector);
//! let response = client.get("http://example.com:4000/".parse()?).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # HTTP/2 over KCP
//!
//! [`http2`] has the settings that [`serve()`] and [`client_builder`] use, and the reasons. The one that
//! matters most: all that HTTP/2's flow control lets through must fit into KCP's buffers, so
//! hyper's client default of 5 MiB is too much for KCP's default windows.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "client")]
mod connector;
pub mod http2;
mod incoming;
mod info;
mod io;
#[cfg(feature = "client")]
mod resolve;
#[cfg(feature = "server")]
mod serve;

#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use crate::connector::{ConnectError, Connecting, KcpConnector, client_builder};
pub use crate::incoming::KcpIncoming;
pub use crate::info::KcpConnectInfo;
pub use crate::io::KcpIo;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub use crate::resolve::{Resolve, Resolving, SystemResolver};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::serve::{Serve, Serving, serve};

/// The transport underneath, in the version this crate was built with.
pub use kcp_transport;
