//! What handlers can learn about the connection of a request.

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
use std::sync::Arc;
use std::task::{Context, Poll};

use kcp_tower::{Counted, KcpConnectInfo, OpenRequest};
use tonic::transport::server::TcpConnectInfo;
#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
use tonic::transport::{CertificateDer, server::TlsConnectInfo};
use tower_layer::Layer;
use tower_service::Service;

/// Access to the connection of a request.
pub trait KcpRequestExt {
    /// Addresses and live statistics of the connection, if the request came over KCP.
    fn kcp_connect_info(&self) -> Option<&KcpConnectInfo>;

    /// The certificates of the client, its own first; `None` if it has shown none, or without TLS.
    ///
    /// A server requests them by `ServerTlsConfig::client_ca_root`: then TLS has verified
    /// that an authority of that configuration has signed the first one, and that the client has its
    /// key. tonic's own `Request::peer_certs` is `None` over KCP, since it looks for connections of
    /// TCP.
    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
    #[cfg_attr(docsrs, doc(cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))))]
    fn kcp_peer_certs(&self) -> Option<Arc<Vec<CertificateDer<'static>>>>;
}

impl<T> KcpRequestExt for tonic::Request<T> {
    fn kcp_connect_info(&self) -> Option<&KcpConnectInfo> {
        self.extensions().get()
    }

    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
    fn kcp_peer_certs(&self) -> Option<Arc<Vec<CertificateDer<'static>>>> {
        peer_certs(self.extensions())
    }
}

impl<T> KcpRequestExt for http::Request<T> {
    fn kcp_connect_info(&self) -> Option<&KcpConnectInfo> {
        self.extensions().get()
    }

    #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
    fn kcp_peer_certs(&self) -> Option<Arc<Vec<CertificateDer<'static>>>> {
        peer_certs(self.extensions())
    }
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
fn peer_certs(extensions: &http::Extensions) -> Option<Arc<Vec<CertificateDer<'static>>>> {
    let info = extensions.get::<TlsConnectInfo<KcpConnectInfo>>()?;
    info.peer_certs()
}

/// Makes `remote_addr()` and `local_addr()` of tonic's requests work over KCP, and counts the open
/// requests of each connection.
///
/// tonic looks for addresses in the [`TcpConnectInfo`] of a request only, so one is added.
/// [`ConnectionLimits`](kcp_tower::ConnectionLimits) need the count, for the idle time. Part of
/// [`server_builder`](crate::server_builder).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RemoteAddrLayer;

impl RemoteAddrLayer {
    /// The layer; it has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RemoteAddrLayer {
    type Service = RemoteAddr<S>;

    fn layer(&self, inner: S) -> RemoteAddr<S> {
        RemoteAddr { inner }
    }
}

/// The service of [`RemoteAddrLayer`].
#[derive(Clone, Debug)]
pub struct RemoteAddr<S> {
    inner: S,
}

impl<S, B, R> Service<http::Request<B>> for RemoteAddr<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
{
    type Response = http::Response<Counted<R>>;
    type Error = S::Error;
    type Future = Counted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let mut open = OpenRequest::default();
        if let Some(info) = request.kcp_connect_info() {
            open = info.requests().begin();
            let info = TcpConnectInfo {
                local_addr: info.local_addr(),
                remote_addr: Some(info.peer_addr()),
            };
            request.extensions_mut().insert(info);
        }
        Counted::new(self.inner.call(request), open)
    }
}
