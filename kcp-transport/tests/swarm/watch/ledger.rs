//! What both sides of a conversation have sent.

use std::collections::HashSet;

use kcp_transport::session::State;
use kcp_transport::stats::Stats;

use crate::watch::frames::FinalFrames;
use crate::watch::resends::Sending;

/// What one side of a conversation has sent, as both sides may know it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) segments: Vec<Record>,
    /// Sequence numbers with the timestamps they were sent under.
    pub(crate) stamps: HashSet<(u32, u32)>,
    /// Bytes of all segments.
    pub(crate) bytes: u64,
    /// The highest `una` of the other side, as a count of segments.
    pub(crate) told: u64,
    pub(crate) frames: FinalFrames,
}

impl Ledger {
    /// The number of segments sent, and of those that the other side has acknowledged in order.
    pub(crate) fn span(&self) -> (u32, u32) {
        // Far fewer than 2^32 are ever sent here.
        (self.segments.len() as u32, self.told as u32)
    }
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) len: u32,
    pub(crate) fragments_left: u8,
    pub(crate) at: u64,
    pub(crate) sending: Sending,
}

/// What the watch must know of a session.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) conversation: u32,
    pub(crate) stream: u64,
    pub(crate) first_sequence: u32,
    pub(crate) seed: u32,
    pub(crate) messages: bool,
    pub(crate) initiates: bool,
}

/// What a session was like when it laid out a batch.
pub(crate) struct Sender {
    /// Before the batch: its last datagram may end the session.
    pub(crate) state: State,
    pub(crate) has_extensions: bool,
    /// After it.
    pub(crate) stats: Stats,
}
