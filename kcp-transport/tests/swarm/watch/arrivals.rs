//! What has arrived at a session, and what it tells its peer of that.

use std::collections::BTreeSet;
use std::time::Duration;

use kcp_transport::time::Time;
use kcp_transport::wire::Received;

/// The data segments that a session was given, and those that it has acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    arrived: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    told_at: Option<Time>,
}

impl Arrivals {
    /// A data segment with this place is about to be given to the session.
    pub(crate) fn on_received(&mut self, place: u64) {
        self.arrived.insert(place);
    }

    /// The session acknowledges the segment with this place.
    pub(crate) fn on_acknowledged(&mut self, place: u64) {
        self.acknowledged.insert(place);
    }

    /// The session tells what has arrived from `base` on, while everything before `una` has.
    pub(crate) fn check(
        &mut self,
        now: Time,
        (base, una): (u64, u64),
        told: &Received,
        blind: bool,
    ) -> Result<(), String> {
        let last = self.told_at.replace(now);
        if last.is_some_and(|last| now - last < LEAST_INTERVAL) {
            return Err("tells again what has arrived".into());
        }
        let end = base + told.len() as u64;
        if base < una || end <= una {
            return Err("tells what una covers".into());
        }
        let told: BTreeSet<u64> = told.offsets().map(|offset| base + offset as u64).collect();
        if !blind && !told.is_subset(&self.arrived) {
            return Err("tells of what has not arrived".into());
        }
        // Half of all numbers are long past.
        let known = self.acknowledged.range(base..base + (1 << 31));
        if known.clone().any(|place| !told.contains(place)) {
            return Err("leaves out what it has acknowledged".into());
        }
        self.arrived = self.arrived.split_off(&una);
        self.acknowledged = self.acknowledged.split_off(&una);
        Ok(())
    }
}

/// The session may not know that the path is longer.
const LEAST_INTERVAL: Duration = Duration::from_millis(2);
