//! What the tests of this crate share.
#![allow(dead_code)]

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use kcp_tower::kcp_transport::config::Config;
use kcp_tower::kcp_transport::crypto::Security;
use kcp_tower::kcp_transport::net::KcpListener;
use kcp_tower::{KcpConnector, KcpIncoming, Serve};
use tower::make::Shared;

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

    pub async fn incoming(&self) -> (KcpIncoming, SocketAddr) {
        let incoming = KcpIncoming::bind_with(loopback(), &self.security, &self.config)
            .await
            .unwrap();
        let addr = incoming.local_addr().unwrap();
        (incoming, addr)
    }

    pub fn connector(&self) -> KcpConnector {
        KcpConnector::new(self.security.clone()).with_config(self.config.clone())
    }

    pub fn client(&self, http2_only: bool) -> HttpClient {
        kcp_tower::client_builder()
            .http2_only(http2_only)
            .build(self.connector())
    }
}

pub type HttpClient = Client<KcpConnector, Full<Bytes>>;

/// A port that the system gave to us and where nobody listens any more.
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
