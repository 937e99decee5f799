//! Settings of HTTP/2 that are fit for KCP, kept in one place.
//!
//! KCP has no FIN and no reset that every peer knows, so a peer that vanishes is only noticed by
//! asking: PINGs are on, also while idle. The windows are fixed rather than adaptive: hyper's
//! adaptive window measures the path with PINGs that queue behind KCP's retransmissions, and only
//! ever grows.

use std::time::Duration;

/// Silence after which a PING is sent.
///
/// As long as the transport's own keepalive; longer than the 10 s that grpc-go accepts as a
/// minimum, and short enough for NAT bindings of 30 s.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long the answer to a PING may take.
///
/// A PING queues behind what was written before it, so this must cover a full send buffer on a
/// slow path.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes in flight of one stream, 1 MiB.
pub const STREAM_WINDOW: u32 = 1 << 20;

/// Bytes in flight of all streams of a connection, 1 MiB.
///
/// HTTP/2 stops reading while it cannot write an answer to a PING or SETTINGS. If everything its
/// flow control allows fits below it, into the sender's buffer and the receiver's window, two
/// peers can never block each other that way. The default configuration of the transport has
/// room for 2.6 MiB.
pub const CONNECTION_WINDOW: u32 = 1 << 20;

/// Requests a server works on at a time for one connection.
///
/// Each may hold a share of the connection's window; beyond this number the shares are smaller
/// than one frame of 16 KiB and requests only wait for each other.
pub const MAX_CONCURRENT_STREAMS: u32 = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use kcp_transport::config::Config;
    use kcp_transport::packet::Overhead;

    #[test]
    fn transport_holds_all_that_flow_control_lets_through() {
        let config = Config::default();
        // The most that any cipher adds: nonce and tag of an AEAD.
        let layout = config
            .layout(Overhead {
                front: 16,
                back: 16,
            })
            .unwrap();
        let send = config
            .send_buffer()
            .unwrap_or(usize::from(config.send_window()) * layout.mss());
        let receive = usize::from(config.receive_window()) * layout.mss();
        assert!(send + receive >= CONNECTION_WINDOW as usize);
    }
}
