//! Whether copies are lost together with their segments.

use crate::arq::loss::path::PathModel;

/// What became of segments and their copies.
#[derive(Clone, Copy, Debug)]
pub(super) struct History {
    /// How often both were acknowledged, in 256ths.
    ///
    /// A peer that collects its acks leaves out all but the last. From such a peer, a missing first
    /// ack does not mean that the first transmission was lost.
    both: u32,
    /// Of the last segments whose first transmission was lost, newest in the lowest bit: whether
    /// the copy was lost too.
    lost_with: u32,
    lost: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            both: 128,
            lost_with: 0,
            lost: 0,
        }
    }
}

impl History {
    /// Takes one outcome into account. Returns whether copies should be further from their
    /// segments, if they should be elsewhere.
    pub(super) fn on_outcome(&mut self, acked: [bool; 2], path: &mut PathModel) -> Option<bool> {
        if acked != [false; 2] {
            let both = if acked == [true; 2] { 256 } else { 0 };
            self.both = (self.both * 3 + both) / 4;
        }
        let is_told = self.both >= LEAST_BOTH;
        match acked {
            [false, true] if !is_told => path.on_outcome(false),
            _ => acked.into_iter().for_each(|acked| path.on_outcome(!acked)),
        }
        if acked[0] || !is_told {
            return None;
        }
        self.lost_with = self.lost_with << 1 | u32::from(!acked[1]);
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

/// Below this, in 256ths, a peer does not acknowledge each transmission by itself. Losing a quarter
/// in each direction leaves a third.
const LEAST_BOTH: u32 = 64;

/// Losses after which their pattern is looked at.
const ENOUGH_LOST: u32 = 8;

/// If copies are lost with their segments so much more often than anything else, they are too close;
/// if little more, they may be closer.
const TOGETHER: f64 = 0.2;
const APART: f64 = 0.1;
