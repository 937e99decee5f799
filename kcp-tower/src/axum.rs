//! [`KcpIncoming`] as a listener of [`axum::serve`].
//!
//! `axum::serve` cannot be configured: it has no timers of HTTP/1, and hyper's own windows of HTTP/2,
//! under which one response that is not read can hold up its connection. [`serve`](crate::serve())
//! takes routers too, and has the settings of [`http2`](crate::http2).

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

use crate::{KcpConnectInfo, KcpIncoming, KcpIo};

/// Serves an axum router:
///
/// ```no_run
/// # async fn run(router: axum::Router) -> std::io::Result<()> {
/// use kcp_tower::{KcpConnectInfo, KcpIncoming, Security};
///
/// let incoming = KcpIncoming::bind("0.0.0.0:4000", &Security::Plaintext).await?;
/// axum::serve(
///     incoming,
///     router.into_make_service_with_connect_info::<KcpConnectInfo>(),
/// )
/// .await
/// # }
/// ```
///
/// Handlers then extract `ConnectInfo<KcpConnectInfo>`. For `ConnectInfo<SocketAddr>` tap the
/// listener, which axum implements for every listener:
///
/// ```no_run
/// # async fn run(router: axum::Router, incoming: kcp_tower::KcpIncoming) -> std::io::Result<()> {
/// use std::net::SocketAddr;
///
/// use axum::serve::ListenerExt;
///
/// axum::serve(
///     incoming.tap_io(|_| {}),
///     router.into_make_service_with_connect_info::<SocketAddr>(),
/// )
/// .await
/// # }
/// ```
///
/// When the socket fails, the error is logged once and no more connections are accepted.
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl Listener for KcpIncoming {
    type Io = KcpIo;
    type Addr = SocketAddr;

    /// # Cancel safety
    ///
    /// Dropping the future loses no connection: one is taken out only when it is returned.
    async fn accept(&mut self) -> (KcpIo, SocketAddr) {
        match poll_fn(|cx| self.poll_accept(cx)).await {
            Some(Ok(io)) => {
                let peer = io.info().peer_addr();
                (io, peer)
            }
            Some(Err(error)) => {
                tracing::error!(%error, "socket failed, no more connections are accepted");
                pending().await
            }
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl Connected<IncomingStream<'_, KcpIncoming>> for KcpConnectInfo {
    fn connect_info(stream: IncomingStream<'_, KcpIncoming>) -> Self {
        stream.io().info()
    }
}

/// For routers under [`serve`](crate::serve()).
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl Connected<KcpConnectInfo> for KcpConnectInfo {
    fn connect_info(info: KcpConnectInfo) -> Self {
        info
    }
}

/// For routers under [`serve`](crate::serve()).
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl Connected<KcpConnectInfo> for SocketAddr {
    fn connect_info(info: KcpConnectInfo) -> Self {
        info.peer_addr()
    }
}
