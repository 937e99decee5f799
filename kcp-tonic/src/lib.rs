//! gRPC over KCP: tonic's channels and servers, on reliable UDP.
//!
//! # Server
//!
//! [`server_builder`] is tonic's `Server::builder()` with settings fit for KCP, and with
//! `Request::remote_addr()` working. [`KcpIncoming`] goes where `TcpIncoming` would:
//!
//! ```no_run
//! # #[cfg(feature = "server")]
//! # async fn run(routes: tonic::service::Routes) -> Result<(), Box<dyn std::error::Error>> {
//! use kcp_tonic::KcpIncoming;
//! use kcp_tonic::kcp_transport::crypto::Security;
//!
//! let incoming = KcpIncoming::bind("0.0.0.0:4000".parse()?, &Security::Plaintext).await?;
//! kcp_tonic::server_builder()
//!     .add_routes(routes)
//!     .serve_with_incoming(incoming)
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Client
//!
//! [`endpoint`] is tonic's `Endpoint` with settings fit for KCP; [`connect`] and [`connect_lazy`]
//! make an ordinary [`Channel`](tonic::transport::Channel) of it:
//!
//! ```no_run
//! # #[cfg(feature = "channel")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use kcp_tonic::KcpConnector;
//! use kcp_tonic::kcp_transport::crypto::Security;
//!
//! let endpoint = kcp_tonic::endpoint("http://example.com:4000")?;
//! let channel = kcp_tonic::connect(&endpoint, KcpConnector::new(Security::Plaintext)).await?;
//! // GreeterClient::new(channel)
//! # Ok(())
//! # }
//! ```
//!
//! # Changing networks
//!
//! A mobile client that is told of a new route keeps a clone of its connector. Calls and streams in
//! flight go on from the new address, without a new connection:
//!
//! ```no_run
//! # #[cfg(feature = "channel")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! # use kcp_tonic::KcpConnector;
//! # use kcp_tonic::kcp_transport::crypto::Security;
//! let connector = KcpConnector::new(Security::Plaintext);
//! let endpoint = kcp_tonic::endpoint("http://example.com:4000")?;
//! let channel = kcp_tonic::connect(&endpoint, connector.clone()).await?;
//! // The system says that the network has changed.
//! connector.rebind();
//! # Ok(())
//! # }
//! ```
//!
//! # Lost connections
//!
//! tonic reports a connection that broke during a call as `Code::Unknown`. [`UnavailableLayer`]
//! around a channel makes `Code::Unavailable` of it, which is what retry policies look for.
//!
//! # TLS
//!
//! With one of the features `tls-ring` and `tls-aws-lc`, `Endpoint::tls_config` and
//! `Server::tls_config` work as over TCP. Then [`Security::Plaintext`] below is enough.
//!
//! [`Security::Plaintext`]: kcp_transport::crypto::Security::Plaintext

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "channel")]
mod channel;
#[cfg(feature = "server")]
mod connect_info;
#[cfg(feature = "server")]
mod incoming;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "channel")]
mod unavailable;

#[cfg(feature = "channel")]
#[cfg_attr(docsrs, doc(cfg(feature = "channel")))]
pub use crate::channel::{connect, connect_lazy, endpoint, with_kcp_defaults};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::connect_info::{KcpRequestExt, RemoteAddr, RemoteAddrLayer};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::incoming::{KcpIncoming, KcpServerIo};
#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
pub use crate::server::server_builder;
#[cfg(feature = "channel")]
#[cfg_attr(docsrs, doc(cfg(feature = "channel")))]
pub use crate::unavailable::{
    Unavailable, UnavailableBody, UnavailableFuture, UnavailableLayer, status_from_transport,
};
pub use kcp_tower::KcpConnectInfo;
#[cfg(feature = "channel")]
#[cfg_attr(docsrs, doc(cfg(feature = "channel")))]
pub use kcp_tower::KcpConnector;
/// The transport underneath, in the version this crate was built with.
pub use kcp_tower::kcp_transport;
