//! tonic's server with settings for KCP.

use kcp_tower::http2;
use tonic::transport::Server;
use tower_layer::{Identity, Stack};

use crate::RemoteAddrLayer;

/// tonic's `Server::builder()` with the HTTP/2 settings of [`kcp_tower::http2`]: PINGs, fixed
/// windows and a limit of streams; and with [`RemoteAddrLayer`].
///
/// Everything can be set anew. After a shutdown signal tonic waits for its connections without a
/// limit of its own. A peer that vanished holds it up until its PING is due, and one that has never
/// said anything until
/// [`KcpIncoming::with_first_byte_timeout`](crate::KcpIncoming::with_first_byte_timeout) has passed.
/// For a firm limit let another future race `serve_with_incoming_shutdown`, one that sleeps for so
/// long after the signal.
#[must_use]
pub fn server_builder() -> Server<Stack<RemoteAddrLayer, Identity>> {
    Server::builder()
        .http2_keepalive_interval(Some(http2::KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(http2::KEEP_ALIVE_TIMEOUT))
        .http2_adaptive_window(Some(false))
        .initial_stream_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_concurrent_streams(http2::MAX_CONCURRENT_STREAMS)
        .layer(RemoteAddrLayer::new())
}
