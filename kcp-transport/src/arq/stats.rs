//! What a conversation counts.

use super::Arq;
use crate::stats::Stats;

/// The part of [`Stats`] that is counted here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counters {
    pub(super) bytes_written: u64,
    pub(super) bytes_read: u64,
    pub(super) segments_sent: u64,
    pub(super) segments_received: u64,
    pub(super) data_segments_sent: u64,
    pub(super) fast_retransmitted: u64,
    pub(super) early_retransmitted: u64,
    pub(super) timeout_retransmitted: u64,
    pub(super) spurious_retransmitted: u64,
    pub(super) redundant_sent: u64,
    pub(super) redundant_bytes: u64,
    pub(super) duplicates_received: u64,
    pub(super) out_of_window_received: u64,
}

impl Arq {
    /// Fills in what is counted here; leaves the rest alone.
    pub fn stats_into(&self, stats: &mut Stats) {
        let counters = &self.counters;
        stats.bytes_written = counters.bytes_written;
        stats.bytes_read = counters.bytes_read;
        stats.segments_sent = counters.segments_sent;
        stats.segments_received = counters.segments_received;
        stats.data_segments_sent = counters.data_segments_sent;
        stats.fast_retransmitted = counters.fast_retransmitted;
        stats.early_retransmitted = counters.early_retransmitted;
        stats.timeout_retransmitted = counters.timeout_retransmitted;
        stats.spurious_retransmitted = counters.spurious_retransmitted;
        stats.redundant_sent = counters.redundant_sent;
        stats.redundant_bytes = counters.redundant_bytes;
        stats.retransmitted = counters.fast_retransmitted
            + counters.early_retransmitted
            + counters.timeout_retransmitted;
        stats.duplicates_received = counters.duplicates_received;
        stats.out_of_window_received = counters.out_of_window_received;
        stats.smoothed_rtt = self.smoothed_rtt();
        stats.rto = self.rto();
        stats.in_flight = self.in_flight();
        stats.queued = self.queued();
        stats.unread = self.unread();
        stats.remote_window = self.remote_window();
    }
}
