//! Whether copies are lost together with their segments.

use super::Watched;
use crate::arq::loss::path::PathModel;

/// What became of segments and their copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    /// How many missing acks of first transmissions count as losses.
    ///
    /// Where first transmissions are lost, copies are lost as often. A peer that reads both before it
    /// answers leaves out the ack of the first, and then only those are missing.
    credit: u32,
    /// Of the last segments whose first transmission was lost, newest in the lowest bit: whether
    /// the copy was lost too.
    lost_with: u32,
    lost: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            credit: FIRST_CREDIT,
            lost_with: 0,
            lost: 0,
        }
    }
}

impl History {
    /// Takes one outcome into account. Returns whether copies should be further from their
    /// segments (`true`) or closer, if they should be elsewhere.
    pub(super) fn on_outcome(&mut self, it: &Watched, path: &mut PathModel) -> Option<bool> {
        let [mut first, copy] = it.acked;
        let is_copy_known = copy || !it.is_covered;
        if first && !copy && is_copy_known {
            self.credit = (self.credit + 1).min(MOST_CREDIT);
        }
        let may_be_left_out = copy || it.is_covered;
        if !first && !it.is_missed && may_be_left_out {
            match self.credit.checked_sub(1) {
                Some(credit) => self.credit = credit,
                None => first = true,
            }
        }
        path.on_outcome(!first);
        if !is_copy_known {
            return None;
        }
        path.on_outcome(!copy);
        if first {
            return None;
        }
        self.lost_with = self.lost_with << 1 | u32::from(!copy);
        self.lost = (self.lost + 1).min(u32::BITS);
        if self.lost < ENOUGH_LOST {
            return None;
        }
        let lost = f64::from(self.lost);
        let together = f64::from(self.lost_with.count_ones()) / lost;
        // Twice the deviation of so few outcomes.
        if together > path.loss() + TOGETHER + 1.0 / lost.sqrt() {
            (self.lost_with, self.lost) = (0, 0);
            return Some(true);
        }
        if self.lost == u32::BITS && together < path.loss() + APART {
            (self.lost_with, self.lost) = (0, 0);
            return Some(false);
        }
        None
    }
}

/// Enough that little is left out of what is really lost, and few that what a peer left out in a row
/// is not taken for loss.
const MOST_CREDIT: u32 = 8;
const FIRST_CREDIT: u32 = 2;

/// Losses after which their pattern is looked at.
const ENOUGH_LOST: u32 = 8;

/// If copies are lost with their segments so much more often than anything else, they are too close;
/// if little more, they may be closer.
const TOGETHER: f64 = 0.2;
const APART: f64 = 0.1;
