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
/// The sender's ratio is learned from its packets. Memory is bounded by
/// 512 KiB of shards whatever is received, and nothing is allocated before the first shard.
///
/// No packet is believed on its own: one that lies far from the others, or contradicts the ratio
/// by its kind, is dropped and counted, and changes nothing until others agree with it.
#[derive(Debug)]
pub struct FecDecoder {
    detector: RatioDetector,
    window: Option<Window>,
    /// Groups that are current or done, oldest first.
    groups: VecDeque<Group>,
    /// Buffers of the group that was done last, for the next one.
    spare: Shards,
    /// Shards that were rebuilt last.
    rebuilt: Vec<u8>,
    /// Of the present ratio; computed when the first packet is rebuilt.
    codec: Option<Codec>,
    stats: FecStats,
}

/// What a [`FecDecoder`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FecStats {
    /// Packets rebuilt from parity.
    pub recovered: u64,
    /// Parity packets received, useful or not.
    pub parity_received: u64,
    /// Groups whose shards contradict each other, or of which what was rebuilt makes no sense.
    pub errors: u64,
    /// Packets that were not used for recovery because they contradict the sender's ratio, lie
    /// too far from the others, are malformed, or found no room. Copies are not counted.
    pub ignored: u64,
    /// Groups whose data packets all arrived by themselves.
    pub complete: u64,
}

/// The packets of a group that were rebuilt from parity.
///
/// If a shard did not belong to the group, all of them are wrong; but where packets are alike,
/// some may look right. Whoever finds one that the sender cannot have sent should believe none.
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

    /// Whether a packet has lately contradicted the ratio. If the sender has changed it, these are
    /// bytes that were never sent.
    #[must_use]
    pub const fn is_contested(&self) -> bool {
        self.contested
    }

    /// Whether each shard has a size, and nothing but zeros after it, as senders pad them.
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

    /// What was done so far.
    #[must_use]
    pub const fn stats(&self) -> FecStats {
        self.stats
    }

    /// Groups of which too little has arrived so far.
    #[must_use]
    pub fn open_groups(&self) -> usize {
        self.groups.iter().filter(|group| !group.is_done()).count()
    }

    /// The number of the newest group, as on the wire; `None` until a packet has its place in one.
    #[must_use]
    pub fn newest_group(&self) -> Option<u32> {
        self.window.as_ref().and_then(Window::newest_on_wire)
    }

    /// Takes a data or parity packet, and calls `recovered` with the packets of its group if they
    /// can now be rebuilt. It returns whether they make sense; if not, that counts as an error.
    ///
    /// `shard` starts at the size field. The segments of a data packet that arrived are its
    /// receiver's business; they are not handed out here. Out-of-band packets are ignored.
    pub fn decode(
        &mut self,
        now: Time,
        header: ShardHeader,
        shard: &[u8],
        recovered: &mut impl FnMut(Rebuilt<'_>) -> bool,
    ) {
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

    /// Releases the memory of shards, groups that are not complete included. For when nothing was
    /// received for a while. What is known of the ratio and the place among the numbers is kept: a
    /// KiB while the ratio is not known for sure, else nothing.
    pub fn shrink(&mut self) {
        self.groups = VecDeque::new();
        self.spare = Shards::new();
        self.rebuilt = Vec::new();
        self.codec = None;
    }

    /// Bytes of memory held outside this value itself. Looks at some 70 groups at most.
    #[must_use]
    pub fn memory(&self) -> usize {
        let groups = self.groups.capacity() * size_of::<Group>();
        let codec = self.codec.as_ref().map_or(0, Codec::memory);
        let spare = self.spare.memory() + self.rebuilt.capacity();
        groups + self.shards() + spare + codec + self.detector.memory()
    }

    /// Bytes of memory that all shards take.
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
            // Parity of another sender, or another conversation. The true one may yet come.
            Inserted::Sufficient => self.groups[at].forget_parity(ratio),
        }
    }

    /// The place of a group in the queue, where it is put if it is not there yet; `None` if too
    /// many groups are ahead of the current ones.
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

    /// Drops groups, oldest first, until a shard of `len` bytes fits into the budget; returns where
    /// the group at `at` is then, or `None` if it still does not fit.
    fn make_room(&mut self, mut at: usize, len: usize) -> Option<usize> {
        let growth = self.groups[at].growth(len);
        let mut used = self.shards();
        while used + growth > BYTE_BUDGET && at > 0 {
            used -= self.groups.pop_front().map_or(0, |group| group.memory());
            at -= 1;
        }
        (used + growth <= BYTE_BUDGET).then_some(at)
    }

    /// Keeps the group only as a mark that nothing more is to be done for it.
    fn finish(&mut self, at: usize) {
        self.spare.replace_if_larger(self.groups[at].finish());
    }

    /// Rebuilds what is missing of a group; returns whether it made sense.
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

/// Bytes of memory for all shards that are kept.
///
/// Enough for one group of any ratio, and for the usual four groups of up to 70 full packets.
const BYTE_BUDGET: usize = 512 * 1024;

/// Groups kept ahead of the current ones: room for the first packets after an outage, but not for
/// a scatter of stray ones.
const MAX_AHEAD: usize = 4;

/// Longest shard: no KCP peer sends datagrams of more than 1500 bytes.
const MAX_SHARD_LEN: usize = 1500 - SHARD_HEADER_LEN;
