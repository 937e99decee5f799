//! What the tests of this crate share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use kcp_tower::{
    Config, FecRatio, KcpConnector, KcpConnectorBuilder, KcpIncoming, KcpIncomingBuilder,
    KcpListener, Security, Serve, Transport,
};
use tower::make::Shared;

use network::{Host, Network};

pub mod network;

/// One way to run the transport.
#[derive(Clone)]
pub struct Setup {
    pub security: Security,
    pub config: Config,
}

impl Setup {
    pub fn plaintext() -> Self {
        Self {
            security: Security::Plaintext,
            config: Config::default(),
        }
    }

    /// Everything switched on: AES-128-GCM and 3 parity packets for 10.
    pub fn sealed() -> Self {
        Self {
            security: Security::from_password("aes-128-gcm", "secret", b"salt").unwrap(),
            config: Config::builder()
                .fec(FecRatio::new(10, 3).unwrap())
                .build()
                .unwrap(),
        }
    }

    pub fn listening(&self) -> KcpIncomingBuilder {
        KcpIncoming::builder(&self.security).config(&self.config)
    }

    pub async fn incoming(&self) -> (KcpIncoming, SocketAddr) {
        let incoming = self.listening().bind(loopback()).await.unwrap();
        let addr = incoming.local_addr().unwrap();
        (incoming, addr)
    }

    /// A listener on a host of a network in memory.
    pub fn incoming_on(&self, host: Arc<Host>) -> KcpIncoming {
        self.listening().on_transport(host).unwrap()
    }

    pub fn connecting(&self) -> KcpConnectorBuilder {
        KcpConnector::builder(&self.security).config(&self.config)
    }

    pub fn connector(&self) -> KcpConnector {
        self.connecting().build().unwrap()
    }

    /// A connector that makes a host in a network in memory for each connection.
    pub fn connector_in(&self, network: &Network) -> KcpConnector {
        let network = network.clone();
        let host = move |_| Ok(network.host() as Arc<dyn Transport>);
        self.connecting().transport(host).build().unwrap()
    }

    pub fn client(&self, http2_only: bool) -> HttpClient {
        client(&self.connector(), http2_only)
    }
}

pub fn client(connector: &KcpConnector, http2_only: bool) -> HttpClient {
    connector
        .client_builder()
        .http2_only(http2_only)
        .build(connector.clone())
}

pub type HttpClient = Client<KcpConnector, Full<Bytes>>;

/// A port of the system's choice at which nothing listens any more.
pub async fn deaf_addr() -> SocketAddr {
    KcpListener::bind(loopback(), &Security::Plaintext)
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

pub fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// A server whose services are clones of one function.
pub fn serve_fn<F, R, B>(incoming: KcpIncoming, f: F) -> Serve<Shared<tower::util::ServiceFn<F>>>
where
    F: FnMut(Request<Incoming>) -> R,
    R: Future<Output = Result<Response<B>, Infallible>>,
{
    kcp_tower::serve(incoming, Shared::new(tower::service_fn(f)))
}

/// Bytes that show when they arrive in the wrong place.
pub fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// A configuration with a short connect time-out.
pub fn impatient() -> Config {
    Config::builder()
        .connect_timeout(Duration::from_millis(300))
        .build()
        .unwrap()
}
