//! HTTP/2 settings for KCP, kept in one place.
//!
//! - **No PINGs.** Whether a peer is alive is decided by the transport: its keepalive probes, its
//!   user time-out and its idle time-out. A PING queues behind what was written before it, so on a
//!   slow link its answer is late although data flows, and hyper would close a healthy connection.
//!   grpc-go's servers also close connections of clients that send PINGs more often than every five
//!   minutes, or without an open call.
//! - **Fixed windows**, see [`Windows`]. hyper's adaptive window measures the path with PINGs that
//!   queue behind KCP's retransmissions, and only ever grows.
//! - **A limit of concurrent streams**, see [`MAX_CONCURRENT_STREAMS`].
//! - **Streams that were reset are remembered for long**, see [`RESET_STREAMS`].

use std::time::Duration;

use kcp_transport::{Config, ConfigError, Security};

/// Flow-control windows of HTTP/2, in bytes: how much a receiver takes before its application has
/// read it.
///
/// Two rules make them:
///
/// - The connection's window fits into the transport's buffers, the sender's send buffer and the
///   receiver's window together. HTTP/2 stops reading while it cannot write an answer to a PING or
///   SETTINGS frame. As long as everything that flow control allows fits below it, two peers cannot
///   block each other that way.
/// - A stream's window is a quarter of the connection's. A stream that is not read keeps its share of
///   the connection's window, so three such streams leave room for the other calls of the connection.
///
/// The default fits [`Config::default`]. A connection of long delay needs a stream window of
/// bandwidth times round-trip time: configure larger windows of the transport for it, on both sides,
/// and take [`Windows::for_config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Windows {
    /// Of one stream: a quarter of the connection's.
    pub stream: u32,
    /// Of all streams of a connection together.
    pub connection: u32,
}

impl Windows {
    /// The windows that fit a configuration of the transport, if the peer has the same one.
    ///
    /// At least the 65 535 bytes that every HTTP/2 connection starts with, and at most 8 MiB for a
    /// connection, which bounds the memory that a peer can fill.
    ///
    /// # Errors
    ///
    /// [`ConfigError::MtuTooSmall`] if the mtu has no room for data.
    pub fn for_config(config: &Config, security: &Security) -> Result<Self, ConfigError> {
        let segment = config.layout(security.overhead())?.mss();
        let send = usize::from(config.send_window()) * segment;
        let send = config.send_buffer().map_or(send, |limit| limit.min(send));
        let receive = usize::from(config.receive_window()) * segment;
        // A receive buffer counts the memory of segments, not their bytes.
        let receive = config
            .receive_buffer()
            .map_or(receive, |limit| receive.min(limit / 2));
        let room = send + receive;
        // Frames without flow control, such as HEADERS and PING, need room too.
        let connection = (room - room / 8).clamp(MIN_CONNECTION, MAX_CONNECTION);
        let connection = u32::try_from(connection).unwrap_or(u32::MAX);
        Ok(Self {
            stream: connection / 4,
            connection,
        })
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            stream: DEFAULT_CONNECTION / 4,
            connection: DEFAULT_CONNECTION,
        }
    }
}

/// Requests that a server works on at a time for one connection.
///
/// A gRPC client holds one stream for each open call, and a call that waits for events can be open
/// for days, so the limit is far above the 100 streams that HTTP/2 recommends as a minimum. The
/// next call waits, without an error, until a stream ends: `KcpChannel::stats` of kcp-tonic counts
/// such calls. A client respects the limit of its server, whatever that is, and opens at most 100
/// streams before the server's settings have arrived.
pub const MAX_CONCURRENT_STREAMS: u32 = 1024;

/// Requests that a client has given up before the server has looked at them. One more of them, and a server
/// closes the connection with `ENHANCE_YOUR_CALM`, as a measure against rapid resets (CVE-2023-44487).
///
/// h2's own limit is 20. After a lost packet the transport delivers all that was sent meanwhile at once, so
/// that many requests arrive together with their resets.
pub const MAX_PENDING_RESET_STREAMS: usize = 1024;

/// Streams that a client has reset and remembers for [`RESET_STREAM_DURATION`], because frames that the
/// server sent before it got the reset are still on their way.
///
/// h2 remembers 50, each for a second. 4096 last for two thousand calls that are given up in a second, and
/// take about 3 MiB then.
pub const RESET_STREAMS: usize = 4096;

/// How long a client remembers a stream that it has reset: two of the longest round-trip times on Earth
/// with a retransmission.
pub const RESET_STREAM_DURATION: Duration = Duration::from_secs(2);

/// Frames of reset streams that are not remembered, over the life of a client's connection.
///
/// Each is answered with a reset, so that a server that sent them without end, and read nothing, would
/// fill the memory; beyond the limit h2 closes the connection with all its calls. Its own limit of 1024
/// ends the connections of a client that gives up many calls over a long path.
///
/// Servers keep the limit of 1024 for errors of single streams that the client has caused, such as data for
/// a stream that the server has reset and does not remember. Beyond it a server closes the connection with
/// `ENHANCE_YOUR_CALM`: the open calls fail as `Unavailable` in gRPC, and the next call makes another
/// connection. tonic's `Server::http2_max_local_error_reset_streams` changes it.
pub const MAX_STREAM_ERRORS: usize = 65_536;

/// HTTP/2 starts with this window; it can grow but not shrink.
const MIN_CONNECTION: usize = 65_535;

const MAX_CONNECTION: usize = 8 << 20;

/// Below what [`Windows::for_config`] gives for the default configuration; a test compares them.
const DEFAULT_CONNECTION: u32 = 2 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn security() -> Security {
        Security::from_password("aes-128-gcm", "secret", b"salt").unwrap()
    }

    #[test]
    fn default_windows_fit_the_default_configuration() {
        let fitting = Windows::for_config(&Config::default(), &security()).unwrap();
        assert!(Windows::default().connection <= fitting.connection);
    }

    #[test]
    fn windows_follow_the_buffers_of_the_transport() {
        let windows = |send: u16, receive: u16| {
            let config = Config::builder()
                .windows(send.into(), receive.into())
                .build()
                .unwrap();
            let segment = config.layout(security().overhead()).unwrap().mss();
            let windows = Windows::for_config(&config, &security()).unwrap();
            let room = (usize::from(send) + usize::from(receive)) * segment;
            (windows, room)
        };
        for (send, receive) in [(64, 64), (128, 1024), (1024, 1024), (2048, 2048)] {
            let (windows, room) = windows(send, receive);
            assert!(windows.connection as usize <= room);
            assert!(windows.connection as usize >= room / 2);
            assert_eq!(windows.stream, windows.connection / 4);
        }
        assert_eq!(windows(1, 1).0.connection, 65_535);
        assert_eq!(windows(65_535, 65_535).0.connection, 8 << 20);
    }

    #[test]
    fn buffers_in_bytes_bound_the_windows_too() {
        let config = Config::builder()
            .send_buffer(100_000)
            .receive_buffer(100_000)
            .build()
            .unwrap();
        let windows = Windows::for_config(&config, &security()).unwrap();
        assert!(windows.connection <= 150_000);
    }
}
