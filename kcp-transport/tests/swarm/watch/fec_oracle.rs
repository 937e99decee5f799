//! Checks from outside that parity rebuilds what it can.

use std::collections::BTreeMap;

use kcp_transport::fec::FecRatio;
use kcp_transport::stats::Stats;
use kcp_transport::time::Time;
use kcp_transport::wire::ShardHeader;

/// The groups of a sender whose ratio is known.
#[derive(Debug)]
pub(crate) struct FecOracle {
    ratio: FecRatio,
    /// The first group that counts: the session knew the ratio before its first packet.
    first: Option<u32>,
    newest: u32,
    /// Which packets of a group have come, and when the first of them did.
    open: BTreeMap<u32, (Time, Vec<u32>)>,
    /// Packets that were lost, of groups of which enough has come.
    rebuildable: u64,
    /// What the session has rebuilt before the first group, and since.
    rebuilt: [u64; 2],
}

impl FecOracle {
    pub(crate) fn new(ratio: FecRatio) -> Self {
        Self {
            ratio,
            first: None,
            newest: 0,
            open: BTreeMap::new(),
            rebuildable: 0,
            rebuilt: [0; 2],
        }
    }

    /// The session has read a packet.
    pub(crate) fn on_received(&mut self, now: Time, header: ShardHeader, stats: &Stats) {
        let size = self.ratio.group() as u32;
        let (group, index) = (header.sequence / size, header.sequence % size);
        // No host of the simulation uses these numbers; they are forged.
        if (FORGED_FROM..FORGED_TO).contains(&header.sequence) || header.sequence == u32::MAX {
            return;
        }
        let Some(first) = self.first else {
            if stats.fec_recovered + stats.fec_complete_groups > 0 {
                self.rebuilt = [stats.fec_recovered; 2];
                self.first = Some(group + 2);
                self.newest = group;
            }
            return;
        };
        self.rebuilt[1] = stats.fec_recovered;
        if group < first || group + CURRENT < self.newest {
            return;
        }
        self.newest = self.newest.max(group);
        let newest = self.newest;
        self.open.retain(|group, _| group + CURRENT >= newest);
        let (since, indices) = self.open.entry(group).or_insert((now, Vec::new()));
        if indices.contains(&index) {
            return;
        }
        indices.push(index);
        let data = self.ratio.data();
        // An idle session drops the packets that it holds for FEC.
        if indices.len() == data && (now - *since).as_millis() < 900 {
            let parity = indices.iter().filter(|&&index| index as usize >= data);
            self.rebuildable += parity.count() as u64;
        }
    }

    /// Some groups may be dropped for reasons that are not visible here; most must not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let rebuilt = self.rebuilt[1] - self.rebuilt[0];
        if self.rebuildable >= 8 && rebuilt < self.rebuildable / 2 {
            return Err(format!(
                "{rebuilt} packets rebuilt of {} that could be",
                self.rebuildable
            ));
        }
        Ok(())
    }
}

/// FecOracle behind the newest that are surely kept.
const CURRENT: u32 = 2;

/// Numbers of the attacker's packets, far from the first numbers of honest senders.
const FORGED_FROM: u32 = 0x1000_0000;
const FORGED_TO: u32 = 0xe000_0000;
