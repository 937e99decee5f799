//! Statistics: plain integers, read as a copy.
//!
//! kcp-go has one set of counters for the whole process, `DefaultSnmp`. Here each connection has a
//! [`Stats`], and each endpoint an [`EndpointStats`] and the sum of its connections:
//!
//! | kcp-go's `Snmp` | here |
//! |---|---|
//! | `BytesSent` | [`Stats::bytes_written`] |
//! | `BytesReceived` | [`Stats::bytes_read`] |
//! | `MaxConn` | [`EndpointStats::max_connections`] |
//! | `ActiveOpens` | [`EndpointStats::active_opens`] |
//! | `PassiveOpens` | [`EndpointStats::passive_opens`] |
//! | `CurrEstab` | [`EndpointStats::connections`] |
//! | `InErrs` | [`EndpointStats::receive_errors`] and [`EndpointStats::malformed`] |
//! | `InCsumErrors` | [`EndpointStats::unauthentic`] |
//! | `KCPInErrors` | [`Stats::invalid_received`] and [`EndpointStats::malformed`] |
//! | `InPkts` | [`Stats::datagrams_received`]; all of the socket: [`EndpointStats::datagrams_received`] |
//! | `OutPkts` | [`Stats::datagrams_sent`] |
//! | `InSegs` | [`Stats::segments_received`] |
//! | `OutSegs` | [`Stats::segments_sent`] |
//! | `InBytes` | [`Stats::wire_bytes_received`]; all of the socket: [`EndpointStats::wire_bytes_received`] |
//! | `OutBytes` | [`Stats::wire_bytes_sent`] |
//! | `RetransSegs` | [`Stats::retransmitted`] |
//! | `FastRetransSegs` | [`Stats::fast_retransmitted`] |
//! | `EarlyRetransSegs` | [`Stats::early_retransmitted`] |
//! | `LostSegs` | [`Stats::timeout_retransmitted`] |
//! | `RepeatSegs` | [`Stats::duplicates_received`] |
//! | `FECFullShardSet`, printed as `FECFullShards` | [`Stats::fec_complete_groups`] |
//! | `FECRecovered` | [`Stats::fec_recovered`] |
//! | `FECErrs` | [`Stats::fec_errors`] |
//! | `FECParityShards` | [`Stats::fec_parity_received`] |
//! | `FECShardSet` | [`Stats::fec_open_groups`] |
//! | `FECShardMin` | [`Stats::fec_newest_group`]: kcp-go sets it to the newest group too, whatever its name says |
//! | `RingBufferSndQueue` | [`Stats::queued`] |
//! | `RingBufferRcvQueue` | [`Stats::unread`] |
//! | `RingBufferSndBuffer` | [`Stats::in_flight`] |
//! | `OOBPackets` | [`Stats::out_of_band_received`] |
//!
//! kcp-go counts the bytes of received datagrams after decryption and those of sent ones before
//! encryption. Here the bytes of the UDP payload count in both directions.
//!
//! Both are displayed as a table:
//!
//! ```
//! let stats = kcp_transport::stats::Stats::default();
//! let table = stats.to_string();
//! let first: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
//! assert_eq!(first, ["datagrams_sent", "0"]);
//! ```

mod measure;
#[cfg(feature = "metrics")]
mod publish;

use std::time::Duration;

use measure::statistics;

statistics! {
    /// The counters of one connection and its view of the path. Or the sum of several connections:
    /// counters and queue lengths are added, of everything else the largest is kept.
    ///
    /// More fields may be added.
    pub struct Stats as "kcp_" {
        /// Datagrams passed to the socket.
        datagrams_sent: u64,
        /// Datagrams received for this connection that passed the cipher's check.
        datagrams_received: u64,
        /// Bytes of the UDP payloads passed to the socket.
        wire_bytes_sent: u64,
        /// Bytes of the UDP payloads received for this connection.
        wire_bytes_received: u64,
        /// Bytes the user wrote.
        bytes_written: u64,
        /// Bytes the user read.
        bytes_read: u64,
        /// Segments sent, of all commands, retransmissions included.
        segments_sent: u64,
        /// Segments received, of all commands.
        segments_received: u64,
        /// Data segments sent for the first time.
        data_segments_sent: u64,
        /// Data segments sent again, for any reason.
        retransmitted: u64,
        /// Of these, because enough segments sent later were acknowledged.
        fast_retransmitted: u64,
        /// Of these, because a segment sent later was acknowledged and this one was overdue.
        early_retransmitted: u64,
        /// Of these, because nothing was acknowledged until the probe time-out passed.
        timeout_retransmitted: u64,
        /// Of these, unnecessary, as far as is known: an earlier transmission was acknowledged.
        spurious_retransmitted: u64,
        /// Copies of data segments, sent before it was known whether they are needed. Not counted
        /// as sent again.
        redundant_sent: u64,
        /// Their bytes, segment headers included.
        redundant_bytes: u64,
        /// Data segments received twice.
        duplicates_received: u64,
        /// Data segments beyond the receive window.
        out_of_window_received: u64,
        /// Datagrams dropped because they could not be decoded or were invalid.
        invalid_received: u64,
        /// Packets rebuilt from parity.
        fec_recovered: u64,
        /// Parity packets sent.
        fec_parity_sent: u64,
        /// Parity packets received.
        fec_parity_received: u64,
        /// Groups whose parity was insufficient or inconsistent.
        fec_errors: u64,
        /// Groups whose data packets all arrived.
        fec_complete_groups: u64,
        /// Groups of which too few packets have arrived so far.
        fec_open_groups: usize,
        /// Number of the newest group received, as on the wire, where numbers wrap after about 2^32
        /// packets. 0 before the ratio is known.
        fec_newest_group: u32,
        /// Out-of-band datagrams sent.
        out_of_band_sent: u64,
        /// Out-of-band datagrams received.
        out_of_band_received: u64,
        /// Out-of-band datagrams of both directions that were dropped in favour of newer ones.
        out_of_band_dropped: u64,
        /// Extension frames that could not be decoded, had a wrong token or had no matching
        /// request.
        extension_frames_refused: u64,
        /// Smoothed round-trip time, once measured.
        smoothed_rtt: Option<Duration>,
        /// Current probe time-out: the time without an acknowledgement after which data is sent
        /// again.
        rto: Duration,
        /// Segments in flight.
        in_flight: usize,
        /// Segments written and not yet sent.
        queued: usize,
        /// Segments that wait for the reader.
        unread: usize,
        /// The window that the peer advertises, in segments.
        remote_window: u16,
        /// Largest datagram with data, in bytes of UDP payload: what the path was found to carry, up
        /// to the configured mtu. Of a sum, the largest.
        path_mtu: u16,
        /// Probes of the path's mtu sent.
        path_probes_sent: u64,
        /// Of these, not acknowledged in time, or refused by the system.
        path_probes_lost: u64,
        /// How often datagrams became smaller because large ones did not arrive.
        path_narrowed: u64,
    }
}

statistics! {
    /// The counters of an endpoint apart from its connections: datagrams dropped before they
    /// reached a connection, by reason, and the numbers of connections.
    ///
    /// More fields may be added.
    pub struct EndpointStats as "kcp_endpoint_" {
        /// Datagrams received from the socket.
        datagrams_received: u64,
        /// Bytes of the UDP payloads received from the socket.
        wire_bytes_received: u64,
        /// From an address that cannot be answered: port 0, or an unspecified, multicast or
        /// broadcast address.
        unanswerable: u64,
        /// Too short for the cipher's nonce and checksum or tag.
        too_short: u64,
        /// Failed the checksum or authentication tag.
        unauthentic: u64,
        /// Authentic, but sealed by this endpoint itself and reflected to it.
        reflected: u64,
        /// Authentic, but received before.
        replayed: u64,
        /// Without a valid segment header.
        malformed: u64,
        /// For no connection, and not able to open one.
        stray: u64,
        /// Answered by a path challenge, since a connection at another address may have moved.
        paths_challenged: u64,
        /// Connections that followed their peer to another address.
        moved: u64,
        /// For a connection that ended recently.
        late: u64,
        /// Would have opened a connection while the backlog was full.
        backlog_full: u64,
        /// Would have opened a connection while the memory budget was exhausted.
        over_budget: u64,
        /// Would have opened a connection, and were answered by a reset with the reason: the listener
        /// is closed, its backlog full or its memory budget exhausted. Only peers of this crate are
        /// told.
        refused: u64,
        /// Would have opened a connection, or been challenged before, beyond the rate of their
        /// network ([`ListenerConfig::open_rate`](crate::config::ListenerConfig::open_rate)).
        over_rate: u64,
        /// Challenges to peers that must validate their address before a connection opens.
        addresses_challenged: u64,
        /// For connections of other sockets of the same listener, and forwarded there.
        forwarded: u64,
        /// For connections of other sockets of the same listener, and dropped because their queue
        /// was full.
        forwards_dropped: u64,
        /// Datagrams for unknown or ended connections that were answered.
        strays_answered: u64,
        /// Receive calls that failed.
        receive_errors: u64,
        /// Datagrams that the socket refused to send.
        send_errors: u64,
        /// Datagrams sealed with the current key by all endpoints that share it. A warning is
        /// logged at 2^32, and no more than 2^36 are sealed. 0 for ciphers without authentication.
        sealed_under_key: usize,
        /// Connections opened from this side.
        active_opens: u64,
        /// Connections opened by peers.
        passive_opens: u64,
        /// Current number of connections.
        connections: usize,
        /// Largest number of connections at one time. For a listener with several sockets, the sum
        /// of the largest numbers of each, which may have occurred at different times.
        max_connections: usize,
        /// Memory of the connections of a listener, by the size of their buffers, in bytes.
        memory: usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> Stats {
        Stats {
            datagrams_sent: 10,
            in_flight: 3,
            smoothed_rtt: Some(Duration::from_micros(12_345)),
            rto: Duration::from_millis(40),
            ..Stats::default()
        }
    }

    #[test]
    fn table_is_aligned_and_has_every_field() {
        let table = busy().to_string();
        let lines: Vec<&str> = table.lines().collect();
        let mut fields = 0;
        Stats::default().visit(&mut |_, _, _| fields += 1);
        assert_eq!(lines.len(), fields);
        let width = lines[0].len();
        assert!(lines.iter().all(|line| line.len() == width), "{table}");
        assert!(lines[0].starts_with("datagrams_sent ") && lines[0].ends_with(" 10"));
        let rtt = lines.iter().find(|line| line.starts_with("smoothed_rtt"));
        assert!(rtt.expect("is there").ends_with(" 12.345 ms"), "{table}");
        let unmeasured = Stats::default().to_string();
        assert!(unmeasured.contains(" -\n"), "{unmeasured}");
    }

    #[test]
    fn sum_adds_counts_and_keeps_the_longest_time() {
        let mut sum = busy();
        sum += Stats {
            rto: Duration::from_millis(30),
            smoothed_rtt: None,
            ..busy()
        };
        assert_eq!((sum.datagrams_sent, sum.in_flight), (20, 6));
        assert_eq!(sum.rto, Duration::from_millis(40));
        assert_eq!(sum.smoothed_rtt, busy().smoothed_rtt);
    }

    #[test]
    fn counters_only_leaves_out_levels_and_times() {
        let stats = busy().counters_only();
        assert_eq!((stats.datagrams_sent, stats.in_flight), (10, 0));
        assert_eq!((stats.rto, stats.smoothed_rtt), (Duration::ZERO, None));
    }
}
