//! The counters of a session and its statistics.

use super::Session;
use crate::stats::Stats;
use crate::wire::ConversationId;

/// The part of [`Stats`] that is counted here.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) datagrams_sent: u64,
    pub(super) datagrams_received: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    pub(super) invalid_received: u64,
    pub(super) parity_sent: u64,
    /// Frames refused by an extension that was released.
    pub(super) frames_refused: u64,
}

impl Session {
    /// The sequence number after the last segment received in order, for answering late packets of
    /// the peer; `None` if the session ended with an error.
    #[cfg(feature = "tokio")]
    pub(crate) fn received_until(&self) -> Option<u32> {
        let failed = matches!(self.state(), super::State::Closed(Some(_)));
        (!failed).then(|| self.arq.received_until())
    }

    /// The conversation id, the same on both sides.
    #[must_use]
    pub fn conversation(&self) -> ConversationId {
        self.arq.conversation()
    }

    /// A copy of the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            datagrams_sent: self.counters.datagrams_sent,
            datagrams_received: self.counters.datagrams_received,
            wire_bytes_sent: self.counters.bytes_sent,
            wire_bytes_received: self.counters.bytes_received,
            invalid_received: self.counters.invalid_received,
            fec_parity_sent: self.counters.parity_sent,
            extension_frames_refused: self.counters.frames_refused,
            path_mtu: u16::try_from(self.path_mtu.current()).unwrap_or(u16::MAX),
            path_probes_sent: self.path_mtu.counters.sent,
            path_probes_lost: self.path_mtu.counters.lost,
            path_narrowed: self.path_mtu.counters.narrowed,
            ..Stats::default()
        };
        if let Some(decoder) = &self.decoder {
            let fec = decoder.stats();
            stats.fec_recovered = fec.recovered;
            stats.fec_parity_received = fec.parity_received;
            stats.fec_errors = fec.errors;
            stats.fec_complete_groups = fec.complete;
            stats.fec_open_groups = decoder.open_groups();
            stats.fec_newest_group = decoder.newest_group().unwrap_or(0);
        }
        if let Some(out_of_band) = &self.out_of_band {
            stats.out_of_band_sent = out_of_band.counters.sent;
            stats.out_of_band_received = out_of_band.counters.received;
            stats.out_of_band_dropped = out_of_band.counters.dropped;
        }
        if let Some(extension) = &self.extension {
            stats.extension_frames_refused = extension.refused();
        }
        self.arq.stats_into(&mut stats);
        stats
    }
}
