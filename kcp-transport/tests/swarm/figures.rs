//! What many runs add up to.

use super::clock::{Micros, SECOND};
use super::world::World;

macro_rules! figures {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// Sums over runs.
        #[derive(Debug, Clone, Copy, Default, PartialEq)]
        pub(crate) struct Figures {
            $($(#[$doc])* pub(crate) $field: u64,)*
        }

        impl Figures {
            pub(crate) fn absorb(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }

            pub(crate) fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field),)*]
            }
        }
    };
}

figures! {
    runs,
    virtual_micros,
    /// Until all was said, from the end of the troubles on.
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
    duplicates_received,
    fec_recovered,
    fec_parity_sent,
    refused_by_cipher,
    reflected,
    replayed,
    stray,
    late,
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
            for slot in host.slots.iter().filter(|slot| slot.conversation.is_some()) {
                let stats = slot.session.stats();
                self.sessions += 1;
                self.errors += u64::from(slot.session.error().is_some());
                self.bytes_read += slot.app.read;
                self.datagrams_sent += stats.datagrams_sent;
                self.datagrams_out_of_band += slot.app.datagrams_read;
                self.data_segments += stats.data_segments_sent;
                self.fast_retransmitted += stats.fast_retransmitted;
                self.early_retransmitted += stats.early_retransmitted;
                self.timeout_retransmitted += stats.timeout_retransmitted;
                self.duplicates_received += stats.duplicates_received;
                self.fec_recovered += stats.fec_recovered;
                self.fec_parity_sent += stats.fec_parity_sent;
            }
        }
    }

    pub(crate) fn virtual_seconds(&self) -> f64 {
        self.virtual_micros as f64 / SECOND as f64
    }
}
