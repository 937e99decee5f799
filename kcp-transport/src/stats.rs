//! Counters, plain integers read as a copy.

use std::time::Duration;

/// What one connection has done so far, and how it sees the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams handed to the socket.
    pub datagrams_sent: u64,
    /// Datagrams received for this connection that passed the cipher's check.
    pub datagrams_received: u64,
    /// Bytes the user wrote.
    pub bytes_written: u64,
    /// Bytes the user read.
    pub bytes_read: u64,
    /// Segments sent, of all commands, retransmissions included.
    pub segments_sent: u64,
    /// Segments received, of all commands.
    pub segments_received: u64,
    /// Data segments sent for the first time.
    pub data_segments_sent: u64,
    /// Data segments sent again, for any reason.
    pub retransmitted: u64,
    /// Of these, because later segments were acknowledged.
    pub fast_retransmitted: u64,
    /// Of these, because one later segment was acknowledged and nothing new waited.
    pub early_retransmitted: u64,
    /// Of these, because the retransmission time-out passed.
    pub timeout_retransmitted: u64,
    /// Data segments received twice.
    pub duplicates_received: u64,
    /// Data segments beyond the receive window.
    pub out_of_window_received: u64,
    /// Datagrams dropped because they could not be decoded or were not plausible.
    pub invalid_received: u64,
    /// Packets rebuilt from parity.
    pub fec_recovered: u64,
    /// Parity packets sent.
    pub fec_parity_sent: u64,
    /// Parity packets received.
    pub fec_parity_received: u64,
    /// Groups whose parity was not enough or not consistent.
    pub fec_errors: u64,
    /// Smoothed round-trip time, once measured.
    pub smoothed_rtt: Option<Duration>,
    /// Current retransmission time-out.
    pub rto: Duration,
    /// Segments in flight.
    pub in_flight: usize,
    /// Segments written and not yet sent.
    pub queued: usize,
    /// Segments the peer can take.
    pub remote_window: u16,
}

/// Datagrams that an endpoint dropped before they reached a connection, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Datagrams received from the socket.
    pub datagrams_received: u64,
    /// Too short for the cipher's nonce and checksum or tag.
    pub too_short: u64,
    /// Failed the checksum or authentication tag.
    pub unauthentic: u64,
    /// No segment header where one must be.
    pub malformed: u64,
    /// For no connection, and not fit to open one.
    pub stray: u64,
    /// For a connection that ended a short while ago.
    pub late: u64,
    /// Would have opened a connection while the backlog was full.
    pub backlog_full: u64,
    /// Receive calls that failed.
    pub receive_errors: u64,
    /// Datagrams the socket refused to send.
    pub send_errors: u64,
}

#[cfg(feature = "tokio")]
impl EndpointStats {
    /// Adds these counts to `total` and starts again from 0.
    pub(crate) fn move_to(&mut self, total: &mut Self) {
        let counts = std::mem::take(self);
        total.datagrams_received += counts.datagrams_received;
        total.too_short += counts.too_short;
        total.unauthentic += counts.unauthentic;
        total.malformed += counts.malformed;
        total.stray += counts.stray;
        total.late += counts.late;
        total.backlog_full += counts.backlog_full;
        total.receive_errors += counts.receive_errors;
        total.send_errors += counts.send_errors;
    }
}
