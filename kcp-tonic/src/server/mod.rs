//! gRPC servers over KCP.

mod abort;
mod connect_info;
mod incoming;
mod io;
mod serve;
mod stats;

use kcp_tower::http2::{MAX_CONCURRENT_STREAMS, MAX_PENDING_RESET_STREAMS, Windows};
use tonic::transport::Server;
use tower_layer::{Identity, Stack};

pub use self::connect_info::{KcpRequestExt, RemoteAddr, RemoteAddrLayer};
pub use self::incoming::{KcpIncoming, KcpIncomingBuilder};
pub use self::io::KcpServerIo;
pub use self::serve::{Serve, Serving, serve};
pub use self::stats::{CountCalls, CountedCall, ServerStats, ServerStatsLayer};

/// tonic's `Server::builder()` with the HTTP/2 settings of [`kcp_tower::http2`], for connections of
/// the default [`Config`](kcp_tower::Config): no PINGs, fixed windows, and at most
/// [`MAX_CONCURRENT_STREAMS`] calls at a time for each connection; and with [`RemoteAddrLayer`].
///
/// Everything can be set anew. For other configurations of the transport see
/// [`KcpIncoming::server_builder`].
#[must_use]
pub fn server_builder() -> Server<Stack<RemoteAddrLayer, Identity>> {
    server_builder_for(Windows::default())
}

fn server_builder_for(windows: Windows) -> Server<Stack<RemoteAddrLayer, Identity>> {
    Server::builder()
        .http2_adaptive_window(Some(false))
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESET_STREAMS))
        .layer(RemoteAddrLayer::new())
}
