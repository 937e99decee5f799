//! Receiving side: rebuilds lost packets from a group's parity.

use std::collections::VecDeque;

use super::FecRatio;
use super::codec::Codec;
use super::group::{Group, Inserted, MAX_SPARE_BYTES, Shards};
use super::ratio_detector::RatioDetector;
use super::window::{Place, Window};
use crate::time::Time;
use crate::wire::{SHARD_HEADER_LEN, SHARD_SIZE_LEN, ShardHeader, ShardKind};

/// Collects shards by group and rebuilds missing data as soon as a group has enough of them.
///
/// The sender's ratio is learned from its packets. Shards take at most 512 KiB of memory whatever
/// is received, and nothing is allocated before the first shard.
///
/// A single packet cannot change the state: one whose number is far from the others, or whose kind
/// contradicts the ratio, is dropped and counted until other packets agree with it.
#[derive(Debug)]
pub struct FecDecoder {
    detector: RatioDetector,
    window: Option<Window>,
    /// Groups that are current or done, oldest first.
    groups: VecDeque<Group>,
    /// Buffers of the last finished group, reused by the next one.
    spare: Shards,
    /// The shards that were rebuilt last.
    rebuilt: Vec<u8>,
    /// For the current ratio; created when the first packet is rebuilt.
    codec: Option<Codec>,
    stats: FecStats,
}

/// Counters of a [`FecDecoder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FecStats {
    /// Packets rebuilt from parity.
    pub recovered: u64,
    /// Parity packets received, useful or not.
    pub parity_received: u64,
    /// Groups whose shards contradict each other or whose rebuilt packets are invalid.
    pub errors: u64,
    /// Packets that were not used for recovery because they contradict the sender's ratio, have a
    /// number too far from the others, are malformed, or exceed the memory limit. Duplicates are
    /// not counted.
    pub ignored: u64,
    /// Groups whose data packets all arrived.
    pub complete: u64,
}

/// The packets of a group that were rebuilt from parity.
///
/// If one shard did not belong to the group, all of them are wrong, but if the packets of the group
/// are similar, some may look valid. If one packet cannot have been sent, reject all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rebuilt<'a> {
    shards: &'a [u8],
    shard_len: usize,
    contested: bool,
}

impl<'a> Rebuilt<'a> {
    /// The segments of each packet, without its FEC header, in the order they were sent.
    pub fn packets(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let shards = self.shards.chunks_exact(self.shard_len);
        shards.filter_map(|shard| ShardHeader::body(shard).ok())
    }

    /// Whether a recent packet has contradicted the ratio. If the sender has changed its ratio, the
    /// rebuilt packets were never sent.
    #[must_use]
    pub const fn is_contested(&self) -> bool {
        self.contested
    }

    /// Whether each shard has a valid size and is padded with zeros, as senders pad shards.
    fn is_well_formed(&self) -> bool {
        self.shards.chunks_exact(self.shard_len).all(|shard| {
            let end = ShardHeader::body(shard).map(|body| SHARD_SIZE_LEN + body.len());
            end.is_ok_and(|end| shard[end..].iter().all(|&byte| byte == 0))
        })
    }
}

impl Default for FecDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl FecDecoder {
    /// A decoder that learns the sender's ratio from its packets.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_detector(RatioDetector::new())
    }

    /// A decoder that has learned `ratio` already.
    #[cfg(test)]
    pub(super) const fn knowing(ratio: FecRatio) -> Self {
        Self::with_detector(RatioDetector::knowing(ratio))
    }

    const fn with_detector(detector: RatioDetector) -> Self {
        Self {
            detector,
            window: None,
            groups: VecDeque::new(),
            spare: Shards::new(),
            rebuilt: Vec::new(),
            codec: None,
            stats: FecStats {
                recovered: 0,
                parity_received: 0,
                errors: 0,
                ignored: 0,
                complete: 0,
            },
        }
    }

    /// The sender's ratio, once it is known.
    #[must_use]
    pub const fn ratio(&self) -> Option<FecRatio> {
        self.detector.ratio()
    }

    /// The sender's ratio, while no packet contradicts it.
    pub(crate) const fn trusted_ratio(&self) -> Option<FecRatio> {
        if self.detector.is_trusted() && !self.detector.is_contradicted() {
            self.detector.ratio()
        } else {
            None
        }
    }

    /// A copy of the counters.
    #[must_use]
    pub const fn stats(&self) -> FecStats {
        self.stats
    }

    /// Number of groups of which too few packets have arrived so far.
    #[must_use]
    pub fn open_groups(&self) -> usize {
        self.groups.iter().filter(|group| !group.is_done()).count()
    }

    /// The number of the newest group, as on the wire; `None` until a packet is assigned to a
    /// group.
    #[must_use]
    pub fn newest_group(&self) -> Option<u32> {
        self.window.as_ref().and_then(Window::newest_on_wire)
    }

    /// Processes a data or parity packet, and calls `recovered` with the rebuilt packets of its
    /// group if there are now enough shards. `recovered` returns whether they are valid; if not, an
    /// error is counted.
    ///
    /// `shard` starts at the size field. The caller processes the segments of a received data
    /// packet itself; they are not passed to `recovered`. Packets of no group are ignored: those out of band
    /// and answers without a session.
    pub fn decode(
        &mut self,
        now: Time,
        header: ShardHeader,
        shard: &[u8],
        recovered: &mut impl FnMut(Rebuilt<'_>) -> bool,
    ) {
        // One packet of four thousand million of a session has this number too, and is not protected.
        if header == ShardHeader::WITHOUT_SESSION {
            self.stats.ignored += 1;
            return;
        }
        let parity = match header.kind {
            ShardKind::Data => false,
            ShardKind::Parity => true,
            ShardKind::OutOfBand => return,
        };
        self.stats.parity_received += u64::from(parity);
        if self.detector.observe(now, header.sequence, parity) {
            self.forget_groups();
        }
        let Some(ratio) = self.detector.ratio().filter(|_| self.detector.is_trusted()) else {
            self.stats.ignored += 1;
            return;
        };
        let (group, index) = ratio.place(header.sequence);
        let plausible = header.sequence < ratio.sequence_period()
            && (index >= ratio.data()) == parity
            && (SHARD_SIZE_LEN..=MAX_SHARD_LEN).contains(&shard.len());
        if !plausible {
            self.stats.ignored += 1;
            return;
        }
        let window = self.window.get_or_insert_with(|| Window::new(ratio));
        let id = match window.place(header.kind, group, header.sequence) {
            Place::Current(id) | Place::Ahead(id) => id,
            Place::Restart(id) => {
                self.groups.clear();
                id
            }
            Place::Stray => {
                self.stats.ignored += 1;
                return;
            }
        };
        self.insert(ratio, id, index, shard, recovered);
    }

    /// Releases the memory of all shards, including those of incomplete groups. Call it when
    /// nothing was received for a while. The ratio and the position in the packet numbers are kept,
    /// which takes about 1 KiB while the ratio is uncertain and no memory otherwise.
    pub fn shrink(&mut self) {
        self.groups = VecDeque::new();
        self.spare = Shards::new();
        self.rebuilt = Vec::new();
        self.codec = None;
    }

    /// Bytes of heap memory. Visits at most about 70 groups.
    #[must_use]
    pub fn memory(&self) -> usize {
        let groups = self.groups.capacity() * size_of::<Group>();
        let codec = self.codec.as_ref().map_or(0, Codec::memory);
        let spare = self.spare.memory() + self.rebuilt.capacity();
        groups + self.shards() + spare + codec + self.detector.memory()
    }

    /// Bytes of memory used by all shards.
    fn shards(&self) -> usize {
        self.groups.iter().map(Group::memory).sum()
    }

    /// Number of groups, and bytes of memory of their shards.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> (usize, usize) {
        (self.groups.len(), self.shards())
    }

    /// Starts over with another ratio.
    fn forget_groups(&mut self) {
        self.groups.clear();
        self.window = None;
        self.codec = None;
    }

    fn insert(
        &mut self,
        ratio: FecRatio,
        id: u64,
        index: usize,
        shard: &[u8],
        recovered: &mut impl FnMut(Rebuilt<'_>) -> bool,
    ) {
        let Some(at) = self.find_or_open(id) else {
            self.stats.ignored += 1;
            return;
        };
        if !self.groups[at].wants(index) {
            return;
        }
        let Some(at) = self.make_room(at, shard.len()) else {
            self.stats.ignored += 1;
            return;
        };
        match self.groups[at].insert(ratio, index, shard) {
            Inserted::Useless | Inserted::Kept => {}
            Inserted::Complete => {
                self.stats.complete += 1;
                self.finish(at);
            }
            Inserted::Sufficient if self.rebuild(ratio, at, recovered) => self.finish(at),
            // Parity of another sender or conversation. The right parity may still arrive.
            Inserted::Sufficient => self.groups[at].forget_parity(ratio),
        }
    }

    /// The index of a group in the queue, inserting it if it is new; `None` if too many groups are
    /// ahead of the current ones.
    fn find_or_open(&mut self, id: u64) -> Option<usize> {
        // Most packets belong to the last group.
        let before = self.groups.iter().rev().take_while(|group| group.id > id);
        let at = self.groups.len() - before.count();
        if at > 0 && self.groups[at - 1].id == id {
            return Some(at - 1);
        }
        let window = self.window.as_ref()?;
        let ahead = |group: &&Group| window.is_ahead(group.id);
        if window.is_ahead(id) && self.groups.iter().rev().take_while(ahead).count() >= MAX_AHEAD {
            return None;
        }
        let buffers = std::mem::replace(&mut self.spare, Shards::new());
        self.groups.insert(at, Group::new(id, buffers));
        let past = self
            .groups
            .partition_point(|group| window.is_past(group.id));
        for _ in 0..past {
            if let Some(mut group) = self.groups.pop_front() {
                self.spare.replace_if_larger(group.finish());
            }
        }
        debug_assert!(self.groups.len() <= window.capacity() + MAX_AHEAD);
        Some(at - past)
    }

    /// Drops the oldest groups until a shard of `len` bytes fits into the budget. Returns the new
    /// index of the group at `at`, or `None` if the shard still does not fit.
    fn make_room(&mut self, mut at: usize, len: usize) -> Option<usize> {
        let growth = self.groups[at].growth(len);
        let mut used = self.shards();
        while used + growth > BYTE_BUDGET && at > 0 {
            used -= self.groups.pop_front().map_or(0, |group| group.memory());
            at -= 1;
        }
        (used + growth <= BYTE_BUDGET).then_some(at)
    }

    /// Releases the shards of a group and marks it as finished.
    fn finish(&mut self, at: usize) {
        self.spare.replace_if_larger(self.groups[at].finish());
    }

    /// Rebuilds the missing packets of a group; returns whether they are valid.
    fn rebuild(
        &mut self,
        ratio: FecRatio,
        at: usize,
        recovered: &mut impl FnMut(Rebuilt<'_>) -> bool,
    ) -> bool {
        let contested = self.detector.is_contradicted();
        let codec = self.codec.get_or_insert_with(|| Codec::new(ratio));
        let result = self.groups[at].rebuild(ratio, codec, &mut self.rebuilt);
        let rebuilt = result.ok().map(|shard_len| Rebuilt {
            shards: &self.rebuilt,
            shard_len,
            contested,
        });
        let rebuilt = rebuilt.filter(|it| it.is_well_formed() && recovered(*it));
        match rebuilt {
            Some(rebuilt) => self.stats.recovered += rebuilt.packets().count() as u64,
            None => self.stats.errors += 1,
        }
        let made_sense = rebuilt.is_some();
        if self.rebuilt.capacity() > MAX_SPARE_BYTES {
            self.rebuilt = Vec::new();
        }
        made_sense
    }
}

/// Maximum memory for all shards, in bytes.
///
/// Enough for one group of any ratio, and for the usual four groups of up to 70 full packets, with
/// packets of up to 1500 bytes.
const BYTE_BUDGET: usize = 512 * 1024;

/// Groups kept ahead of the current ones: enough for the first packets after an outage, but not for
/// many scattered stray packets.
const MAX_AHEAD: usize = 4;

/// Longest shard: no peer sends datagrams of more than 9000 bytes.
const MAX_SHARD_LEN: usize = 9000 - SHARD_HEADER_LEN;
