//! Saying something again that the peer has had.

use super::Arq;
use crate::wire::{Command, SegmentHeader, Timestamp};

impl Arq {
    /// Tells our window at the next transmission, unasked.
    #[cfg(feature = "tokio")]
    pub(crate) fn announce_window(&mut self) {
        self.probe.tell();
    }

    /// The number after the last segment received in order, as the peer is told it.
    #[cfg(feature = "tokio")]
    pub(crate) fn received_until(&self) -> u32 {
        self.receive.next().to_wire()
    }

    /// The header of a data segment without data whose number lies before what the peer still
    /// waits for. It acknowledges that, echoes the timestamp and delivers nothing.
    ///
    /// The timestamp is as secret as the offset of all others, always the same, and none that data
    /// bears for days. kcp-go v5 kcp.go, Input, like C's: whatever lies before the window's end is
    /// acknowledged.
    pub(crate) fn repeated_push(&self) -> SegmentHeader {
        let una = self.send.flight().una().to_wire();
        SegmentHeader {
            timestamp: Timestamp::from_wire(self.timestamp_offset.wrapping_sub(DAYS_AGO)),
            sequence: una.wrapping_sub(1),
            ..self.header(Command::Push)
        }
    }
}

/// Milliseconds of twenty-three days: half of what timestamps can tell apart.
const DAYS_AGO: u32 = 2_000_000_000;
