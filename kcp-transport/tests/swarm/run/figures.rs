//! What many runs add up to.

use kcp_transport::error::{ConnectionError, ResetCode};

use crate::clock::{Micros, SECOND};
use crate::world::World;

macro_rules! figures {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Sums over runs.
        #[derive(Debug, Clone, Copy, Default, PartialEq)]
        pub(crate) struct Figures {
            $($(#[$doc])* pub(crate) $field: u64,)*
        }

        impl Figures {
            pub(crate) fn merge(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            pub(crate) fn rows(&self) -> Vec<(&'static str, u64)> {
                let beyond = self.duplicates_received.saturating_sub(self.redundant_sent);
                vec![
                    $((stringify!($field), self.$field),)*
                    ("duplicates_beyond_copies", beyond),
                ]
            }
        }
    };
}

figures! {
    runs,
    virtual_micros,
    /// From the end of the troubles until everything was delivered.
    settling_micros,
    sessions,
    errors,
    bytes_read,
    datagrams_sent,
    datagrams_out_of_band,
    data_segments,
    fast_retransmitted,
    early_retransmitted,
    timeout_retransmitted,
    spurious_retransmitted,
    redundant_sent,
    duplicates_received,
    fec_recovered,
    fec_parity_sent,
    refused_by_cipher,
    reflected,
    replayed,
    stray,
    late,
    challenged,
    moved,
    /// Sessions whose peer had extensions too, that received the end of the stream, that were reset.
    negotiated,
    finished,
    resets_heard,
    resets_unread,
    frames_refused,
}

impl Figures {
    pub(crate) fn add_world(&mut self, world: &World, settled_at: Micros) {
        self.runs += 1;
        self.virtual_micros += world.now;
        self.settling_micros += settled_at.saturating_sub(world.plan.healed_at);
        for host in &world.hosts {
            self.refused_by_cipher += host.counts.unauthentic + host.counts.too_short;
            self.reflected += host.counts.reflected;
            self.replayed += host.counts.replayed;
            self.stray += host.counts.stray;
            self.late += host.counts.late;
            self.challenged += host.counts.challenged;
            self.moved += host.counts.moved;
            for slot in host.slots.iter().filter(|slot| slot.conversation.is_some()) {
                let stats = slot.session.stats();
                self.sessions += 1;
                self.negotiated += u64::from(slot.session.has_extensions());
                self.finished += u64::from(slot.session.is_finished());
                let reset = match slot.session.error() {
                    Some(ConnectionError::Reset(code)) => Some(code),
                    _ => None,
                };
                self.resets_heard += u64::from(reset.is_some());
                self.resets_unread += u64::from(reset == Some(ResetCode::UNREAD));
                self.frames_refused += stats.extension_frames_refused;
                self.errors += u64::from(slot.session.error().is_some());
                self.bytes_read += slot.app.read;
                self.datagrams_sent += stats.datagrams_sent;
                self.datagrams_out_of_band += slot.app.datagrams_read;
                self.data_segments += stats.data_segments_sent;
                self.fast_retransmitted += stats.fast_retransmitted;
                self.early_retransmitted += stats.early_retransmitted;
                self.timeout_retransmitted += stats.timeout_retransmitted;
                self.spurious_retransmitted += stats.spurious_retransmitted;
                self.redundant_sent += stats.redundant_sent;
                self.duplicates_received += stats.duplicates_received;
                self.fec_recovered += stats.fec_recovered;
                self.fec_parity_sent += stats.fec_parity_sent;
            }
        }
    }

    /// The rows that are not what they have been; only many runs are alike.
    pub(crate) fn surprises(&self) -> Vec<String> {
        let rows = self.rows();
        let expected = EXPECTED.iter().filter(|_| self.runs >= 20_000);
        let surprise = |&(name, low, high): &(&str, f64, f64)| {
            let (_, value) = rows.iter().find(|(row, _)| *row == name)?;
            let value = *value as f64 / self.runs as f64;
            let as_usual = (low..=high).contains(&value);
            (!as_usual).then(|| format!("{name} is {value:.2} a run, not {low} to {high}"))
        };
        expected.filter_map(surprise).collect()
    }

    pub(crate) fn virtual_seconds(&self) -> f64 {
        self.virtual_micros as f64 / SECOND as f64
    }
}

/// What a run comes to on average, with room on both sides: a change of behaviour that breaks no
/// promise shows here.
const EXPECTED: [(&str, f64, f64); 12] = [
    ("bytes_read", 45_000.0, 75_000.0),
    ("datagrams_sent", 250.0, 500.0),
    ("fast_retransmitted", 0.9, 2.5),
    ("early_retransmitted", 1.5, 4.0),
    ("timeout_retransmitted", 6.0, 16.0),
    ("redundant_sent", 10.0, 25.0),
    // Most copies arrive as duplicates; with copies off, the same seeds have 11.6 a run.
    ("duplicates_beyond_copies", 8.0, 22.0),
    ("fec_recovered", 2.5, 7.0),
    ("negotiated", 1.5, 2.5),
    ("finished", 1.2, 2.2),
    ("resets_heard", 0.01, 0.06),
    ("moved", 0.003, 0.03),
];
