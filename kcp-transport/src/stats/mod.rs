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
//! | `FECShardMin` | [`Stats::fec_newest_group`]: kcp-go sets it to the newest group too, in spite of the name |
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
mod metric;
#[cfg(feature = "metrics")]
mod publish;

use std::time::Duration;

use measure::statistics;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use metric::{Metric, MetricKind};

statistics! {
    /// The counters of one connection and its view of the path. Or the sum of several connections:
    /// counters and queue lengths are added, of everything else the largest is kept.
    ///
    /// More fields may be added.
    pub struct Stats {
        /// Datagrams passed to the socket.
        datagrams_sent: u64 = "kcp_datagrams_sent_total",
        /// Datagrams received for a connection that passed the cipher's check.
        datagrams_received: u64 = "kcp_datagrams_received_total",
        /// Bytes of the UDP payloads passed to the socket.
        wire_bytes_sent: u64 = "kcp_wire_sent_bytes_total",
        /// Bytes of the UDP payloads received for a connection.
        wire_bytes_received: u64 = "kcp_wire_received_bytes_total",
        /// Bytes the user wrote.
        bytes_written: u64 = "kcp_written_bytes_total",
        /// Bytes the user read.
        bytes_read: u64 = "kcp_read_bytes_total",
        /// Segments sent, of all commands, retransmissions included.
        segments_sent: u64 = "kcp_segments_sent_total",
        /// Segments received, of all commands.
        segments_received: u64 = "kcp_segments_received_total",
        /// Data segments sent for the first time.
        data_segments_sent: u64 = "kcp_data_segments_sent_total",
        /// Data segments sent again, for any reason.
        retransmitted: u64 = "kcp_data_segments_retransmitted_total",
        /// Data segments sent again because enough segments sent later were acknowledged.
        fast_retransmitted: u64 = "kcp_data_segments_fast_retransmitted_total",
        /// Data segments sent again because a segment sent later was acknowledged and they were
        /// overdue.
        early_retransmitted: u64 = "kcp_data_segments_early_retransmitted_total",
        /// Data segments sent again because nothing was acknowledged until the probe time-out
        /// passed.
        timeout_retransmitted: u64 = "kcp_data_segments_timeout_retransmitted_total",
        /// Data segments sent again unnecessarily, as far as is known: an earlier transmission was
        /// acknowledged.
        spurious_retransmitted: u64 = "kcp_data_segments_spurious_retransmitted_total",
        /// Copies of data segments, sent before it was known whether they are needed. Not counted
        /// as sent again.
        redundant_sent: u64 = "kcp_redundant_segments_sent_total",
        /// Bytes of the copies of data segments, segment headers included.
        redundant_bytes: u64 = "kcp_redundant_sent_bytes_total",
        /// Data segments received twice.
        duplicates_received: u64 = "kcp_duplicate_segments_received_total",
        /// Data segments received beyond the receive window.
        out_of_window_received: u64 = "kcp_out_of_window_segments_received_total",
        /// Datagrams dropped because they could not be decoded or were invalid.
        invalid_received: u64 = "kcp_invalid_datagrams_received_total",
        /// Packets rebuilt from parity.
        fec_recovered: u64 = "kcp_fec_recovered_packets_total",
        /// Parity packets sent.
        fec_parity_sent: u64 = "kcp_fec_parity_packets_sent_total",
        /// Parity packets received.
        fec_parity_received: u64 = "kcp_fec_parity_packets_received_total",
        /// FEC groups whose parity was insufficient or inconsistent.
        fec_errors: u64 = "kcp_fec_failed_groups_total",
        /// FEC groups whose data packets all arrived.
        fec_complete_groups: u64 = "kcp_fec_complete_groups_total",
        /// FEC groups of which too few packets have arrived so far.
        fec_open_groups: usize = "kcp_fec_open_groups",
        /// Number of the newest FEC group received, as on the wire, where numbers wrap after about
        /// 2^32 packets. 0 before the ratio is known.
        fec_newest_group: u32 = "kcp_fec_newest_group",
        /// Out-of-band datagrams sent.
        out_of_band_sent: u64 = "kcp_out_of_band_datagrams_sent_total",
        /// Out-of-band datagrams received.
        out_of_band_received: u64 = "kcp_out_of_band_datagrams_received_total",
        /// Out-of-band datagrams of both directions that were dropped in favour of newer ones.
        out_of_band_dropped: u64 = "kcp_out_of_band_datagrams_dropped_total",
        /// Extension frames that could not be decoded, had a wrong token or had no matching
        /// request.
        extension_frames_refused: u64 = "kcp_extension_frames_refused_total",
        /// Smoothed round-trip time, once measured.
        smoothed_rtt: Option<Duration> = "kcp_smoothed_rtt_seconds",
        /// Current probe time-out: the time without an acknowledgement after which data is sent
        /// again.
        rto: Duration = "kcp_rto_seconds",
        /// Segments in flight.
        in_flight: usize = "kcp_in_flight_segments",
        /// Segments written and not yet sent.
        queued: usize = "kcp_queued_segments",
        /// Segments that wait for the reader.
        unread: usize = "kcp_unread_segments",
        /// The window that the peer advertises, in segments.
        remote_window: u16 = "kcp_remote_window_segments",
        /// Largest datagram with data, in bytes of UDP payload: what the path was found to carry, up
        /// to the configured mtu. Of a sum, the largest.
        path_mtu: u16 = "kcp_path_mtu_bytes",
        /// Probes of the path's mtu sent.
        path_probes_sent: u64 = "kcp_path_probes_sent_total",
        /// Probes of the path's mtu that were not acknowledged in time, or refused by the system.
        path_probes_lost: u64 = "kcp_path_probes_lost_total",
        /// How often datagrams became smaller because large ones did not arrive.
        path_narrowed: u64 = "kcp_path_narrowed_total",
    }
}

statistics! {
    /// The counters of an endpoint apart from its connections: datagrams dropped before they
    /// reached a connection, by reason, and the numbers of connections.
    ///
    /// More fields may be added.
    pub struct EndpointStats {
        /// Datagrams received from the socket.
        datagrams_received: u64 = "kcp_endpoint_datagrams_received_total",
        /// Bytes of the UDP payloads received from the socket.
        wire_bytes_received: u64 = "kcp_endpoint_wire_received_bytes_total",
        /// Datagrams from an address that cannot be answered: port 0, or an unspecified, multicast
        /// or broadcast address.
        unanswerable: u64 = "kcp_endpoint_unanswerable_datagrams_total",
        /// Datagrams too short for the cipher's nonce and checksum or tag.
        too_short: u64 = "kcp_endpoint_too_short_datagrams_total",
        /// Datagrams that failed the checksum or authentication tag.
        unauthentic: u64 = "kcp_endpoint_unauthentic_datagrams_total",
        /// Authentic datagrams, but sealed by this endpoint itself and reflected to it.
        reflected: u64 = "kcp_endpoint_reflected_datagrams_total",
        /// Authentic datagrams, but received before.
        replayed: u64 = "kcp_endpoint_replayed_datagrams_total",
        /// Datagrams without a valid segment header.
        malformed: u64 = "kcp_endpoint_malformed_datagrams_total",
        /// Datagrams for no connection, and not able to open one.
        stray: u64 = "kcp_endpoint_stray_datagrams_total",
        /// Datagrams answered by a path challenge, since a connection at another address may have
        /// moved.
        paths_challenged: u64 = "kcp_endpoint_paths_challenged_total",
        /// Connections that followed their peer to another address.
        moved: u64 = "kcp_endpoint_moved_connections_total",
        /// Datagrams for a connection that ended recently.
        late: u64 = "kcp_endpoint_late_datagrams_total",
        /// Datagrams that would have opened a connection while the backlog was full.
        backlog_full: u64 = "kcp_endpoint_opens_backlog_full_total",
        /// Datagrams that would have opened a connection while the memory budget was exhausted.
        over_budget: u64 = "kcp_endpoint_opens_over_budget_total",
        /// Datagrams that would have opened a connection, and were answered by a reset with the
        /// reason: the listener is closed, its backlog full or its memory budget exhausted. Only
        /// peers of this crate are told.
        refused: u64 = "kcp_endpoint_opens_refused_total",
        /// Datagrams that would have opened a connection, or been challenged before, beyond the rate
        /// of their network (`ListenerConfig::open_rate`).
        over_rate: u64 = "kcp_endpoint_opens_over_rate_total",
        /// Challenges to peers that must validate their address before a connection opens.
        addresses_challenged: u64 = "kcp_endpoint_addresses_challenged_total",
        /// Datagrams for connections of other sockets of the same listener, and forwarded there.
        forwarded: u64 = "kcp_endpoint_forwarded_datagrams_total",
        /// Datagrams for connections of other sockets of the same listener, and dropped because
        /// their queue was full.
        forwards_dropped: u64 = "kcp_endpoint_dropped_forwards_total",
        /// Datagrams for unknown or ended connections that were answered.
        strays_answered: u64 = "kcp_endpoint_strays_answered_total",
        /// Receive calls that failed.
        receive_errors: u64 = "kcp_endpoint_receive_errors_total",
        /// Datagrams that the socket refused to send.
        send_errors: u64 = "kcp_endpoint_send_errors_total",
        /// Datagrams sealed with the current key by all endpoints that share it. A warning is
        /// logged at 2^32, and no more than 2^36 are sealed. 0 for ciphers without authentication.
        sealed_under_key: usize = "kcp_endpoint_sealed_under_key",
        /// Microseconds in which the tasks that drive the sockets worked. A socket has one task, which
        /// receives, decrypts and encrypts on one core at a time: if the sum grows by nearly a million in
        /// a second, that core is full.
        busy_micros: u64 = "kcp_endpoint_busy_microseconds_total",
        /// Connections opened from this side.
        active_opens: u64 = "kcp_endpoint_active_opens_total",
        /// Connections opened by peers.
        passive_opens: u64 = "kcp_endpoint_passive_opens_total",
        /// Current number of connections.
        connections: usize = "kcp_endpoint_connections",
        /// Largest number of connections at one time. For a listener with several sockets, the sum
        /// of the largest numbers of each, which may have occurred at different times.
        max_connections: usize = "kcp_endpoint_max_connections",
        /// Memory of the connections of a listener, by the size of their buffers, in bytes.
        memory: usize = "kcp_endpoint_memory_bytes",
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
