//! The sending side: numbers packets and adds parity to each group.

use std::time::Duration;

use super::FecRatio;
use super::codec::Codec;
use crate::time::Time;
use crate::wire::{SHARD_HEADER_LEN, ShardHeader, ShardKind};

/// Writes FEC headers and computes the parity packets of each group.
///
/// Each packet is added to its group's parity when it is encoded and is not stored. Nothing is
/// allocated before the first packet. Parity buffers have the length of the group's longest packet
/// and are reused by the next group.
#[derive(Debug)]
pub struct FecEncoder {
    ratio: FecRatio,
    /// Number of the next packet.
    next: u32,
    /// Each packet is far from all others, so that none are in one group, whatever the ratio.
    is_apart: bool,
    /// Data packets of the open group so far.
    filled: usize,
    /// Parity packets of the last group that were not sent yet.
    pending: usize,
    /// When the last data packet was encoded.
    last_data: Option<Time>,
    /// Parity of the open group, or of the last one while any is pending.
    parity: Vec<Vec<u8>>,
    codec: Option<Codec>,
}

impl FecEncoder {
    /// An encoder that sends groups of `ratio`, whose first packet has number 0.
    #[must_use]
    pub const fn new(ratio: FecRatio) -> Self {
        Self {
            ratio,
            next: 0,
            is_apart: false,
            filled: 0,
            pending: 0,
            last_data: None,
            parity: Vec::new(),
            codec: None,
        }
    }

    /// An encoder for a peer whose ratio is not known yet: it sends no parity, and numbers that are so
    /// far apart that the peer finds no two packets in one group.
    ///
    /// kcp-go v5.4 fec.go, decode: takes all packets of a group of its own ratio together, parity or not,
    /// and rebuilds others from them as soon as they are enough. Of another ratio they are rebuilt wrong.
    pub(crate) const fn apart() -> Self {
        let mut encoder = Self::new(FecRatio { data: 1, parity: 1 });
        encoder.is_apart = true;
        encoder
    }

    /// Sends groups of `ratio` from now on.
    pub(crate) fn set_ratio(&mut self, ratio: FecRatio) {
        if !self.is_apart && ratio == self.ratio {
            return;
        }
        // A group has at most 256 packets. None of those sent is in the next one.
        let group = ratio.group() as u32;
        let next = (self.next + MAX_GROUP).next_multiple_of(group);
        *self = Self {
            next: if next < ratio.sequence_period() {
                next
            } else {
                0
            },
            ..Self::new(ratio)
        };
    }

    /// Like [`new`](Self::new), but the first packet has number `sequence`, which must begin a
    /// group.
    #[cfg(test)]
    pub(crate) fn starting_at(ratio: FecRatio, sequence: u32) -> Self {
        assert_eq!(sequence as usize % ratio.group(), 0);
        Self {
            next: sequence,
            ..Self::new(ratio)
        }
    }

    /// Like [`new`](Self::new), but numbers wrap to 0 after `groups` groups, at least one.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn with_groups_left(ratio: FecRatio, groups: u32) -> Self {
        // A group has at most 256 packets.
        let group = ratio.group() as u32;
        let left = groups.clamp(1, ratio.sequence_period() / group) * group;
        Self {
            next: ratio.sequence_period() - left,
            ..Self::new(ratio)
        }
    }

    /// The ratio that the encoder was created with.
    #[must_use]
    pub const fn ratio(&self) -> FecRatio {
        self.ratio
    }

    /// Writes number, type and size to the first 8 bytes of `packet`, whose other bytes are its
    /// segments, and adds the packet to its group.
    ///
    /// Returns whether the group is complete, so that [`take_parity`](Self::take_parity) has its
    /// parity. Parity that is not taken before the next packet is lost.
    ///
    /// A group whose last packet is encoded 500 ms or more after the one before it has no parity:
    /// its packets are too far apart for parity to be faster than a retransmission.
    ///
    /// # Panics
    ///
    /// If `packet` has no room for the header, or is longer than a datagram can be.
    pub fn encode(&mut self, now: Time, packet: &mut [u8]) -> bool {
        let left_behind = std::mem::take(&mut self.pending);
        self.skip(left_behind);
        let header = ShardHeader {
            sequence: self.next,
            kind: ShardKind::Data,
        };
        header.encode(packet);
        let shard = &mut packet[SHARD_HEADER_LEN..];
        ShardHeader::encode_size(shard);
        if self.is_apart {
            let next = self.next + MAX_GROUP;
            self.next = if next < u32::MAX / 2 { next } else { 0 };
            return false;
        }
        self.skip(1);

        // kcp-go v5 fec.go: the very first packet counts as late, which matters only for groups of
        // one. We do the same, so that equal packets give equal bytes.
        let late = self
            .last_data
            .is_none_or(|last| now - last >= MAX_PACKET_GAP);
        self.last_data = Some(now);
        let complete = self.filled + 1 == self.ratio.data();
        if complete && late {
            self.filled = 0;
            self.skip(self.ratio.parity());
            return false;
        }
        self.add(shard);
        if complete {
            self.filled = 0;
            self.pending = self.ratio.parity();
        } else {
            self.filled += 1;
        }
        complete
    }

    /// Whether [`take_parity`](Self::take_parity) has a packet.
    #[must_use]
    pub const fn has_parity(&self) -> bool {
        self.pending > 0
    }

    /// Writes the next parity packet of the last completed group to the front of `packet` and
    /// returns its length in bytes, 0 if none is left.
    ///
    /// It is as long as the longest packet of its group.
    ///
    /// # Panics
    ///
    /// If `packet` is shorter than that.
    pub fn take_parity(&mut self, packet: &mut [u8]) -> usize {
        if self.pending == 0 {
            return 0;
        }
        let parity = &self.parity[self.ratio.parity() - self.pending];
        let len = SHARD_HEADER_LEN + parity.len();
        packet[SHARD_HEADER_LEN..len].copy_from_slice(parity);
        let header = ShardHeader {
            sequence: self.next,
            kind: ShardKind::Parity,
        };
        header.encode(packet);
        self.pending -= 1;
        self.skip(1);
        len
    }

    /// Writes the header of a packet that belongs to no group: unreliable, and without parity.
    ///
    /// # Panics
    ///
    /// As [`encode`](Self::encode).
    pub fn out_of_band(packet: &mut [u8]) {
        let header = ShardHeader {
            sequence: u32::MAX,
            kind: ShardKind::OutOfBand,
        };
        header.encode(packet);
        ShardHeader::encode_size(&mut packet[SHARD_HEADER_LEN..]);
    }

    /// Bytes of heap memory. Visits each parity buffer.
    #[must_use]
    pub fn memory(&self) -> usize {
        let parity: usize = self.parity.iter().map(Vec::capacity).sum();
        let lists = self.parity.capacity() * size_of::<Vec<u8>>();
        parity + lists + self.codec.as_ref().map_or(0, Codec::memory)
    }

    /// Releases all memory, unless a group is open or has parity that was not taken.
    pub fn shrink(&mut self) {
        if self.filled == 0 && self.pending == 0 {
            self.parity = Vec::new();
            self.codec = None;
        }
    }

    /// Releases all memory of an encoder that is no longer used.
    pub fn release(&mut self) {
        *self = Self::new(self.ratio);
    }

    /// Adds a shard to the open group's parity.
    fn add(&mut self, shard: &[u8]) {
        let ratio = self.ratio;
        let codec = self.codec.get_or_insert_with(|| Codec::new(ratio));
        self.parity.resize_with(ratio.parity(), Vec::new);
        for parity in &mut self.parity {
            if self.filled == 0 {
                parity.clear();
            }
            let longest = parity.len().max(shard.len());
            parity.resize(longest, 0);
        }
        codec.accumulate(self.filled, shard, &mut self.parity);
    }

    /// Advances by `count` numbers, which wrap at the end of a group.
    fn skip(&mut self, count: usize) {
        // The group size divides the period and `count` is at most the group size, so the number
        // after a wrap is less than a group.
        let left = self.ratio.sequence_period() - self.next;
        let count = u32::try_from(count).expect("a group has at most 256 packets");
        self.next = if count < left {
            self.next + count
        } else {
            count - left
        };
    }
}

/// Time between the last two data packets of a group from which on it has no parity.
///
/// kcp-go v5 sess.go passes this constant, although its comments describe a measured time-out.
const MAX_PACKET_GAP: Duration = Duration::from_millis(500);

/// The largest group: shards are numbered with eight bits.
const MAX_GROUP: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(data: usize, parity: usize) -> FecRatio {
        FecRatio::new(data, parity).expect("in range")
    }

    /// Sends `len` bytes of segments; returns the packet and whether parity is due.
    fn send(encoder: &mut FecEncoder, at: u64, len: usize) -> (ShardHeader, Vec<u8>, bool) {
        let mut packet = vec![7; 8 + len];
        let complete = encoder.encode(Time::from_millis(at), &mut packet);
        let (header, shard) = ShardHeader::detect(&packet).expect("has a header");
        (header, shard.to_vec(), complete)
    }

    fn parity_of(encoder: &mut FecEncoder) -> Vec<(ShardHeader, usize)> {
        let mut packet = [0; 1500];
        std::iter::from_fn(|| match encoder.take_parity(&mut packet) {
            0 => None,
            len => Some((ShardHeader::detect(&packet).expect("has a header").0, len)),
        })
        .collect()
    }

    #[test]
    fn no_two_packets_are_in_one_group_of_any_ratio_until_the_ratio_is_set() {
        let mut encoder = FecEncoder::apart();
        let mut last = None;
        for _ in 0..100 {
            let (header, _, complete) = send(&mut encoder, 0, 30);
            assert!(!complete && !encoder.has_parity());
            assert!(last.is_none_or(|last| header.sequence - last >= 256));
            last = Some(header.sequence);
        }
        for known in [ratio(3, 2), ratio(10, 3)] {
            encoder.set_ratio(known);
            let group = u32::try_from(known.group()).expect("small");
            let (header, ..) = send(&mut encoder, 0, 30);
            assert_eq!(header.sequence % group, 0);
            assert!(last.is_none_or(|last| header.sequence / group > last / group));
            for at in 1..known.data() {
                encoder.set_ratio(known);
                let (next, _, complete) = send(&mut encoder, 0, 30);
                assert_eq!(next.sequence as usize, header.sequence as usize + at);
                assert_eq!(complete, at + 1 == known.data());
            }
            assert_eq!(parity_of(&mut encoder).len(), known.parity());
            last = Some(header.sequence + group - 1);
        }
    }

    #[test]
    fn group_is_data_then_parity_of_the_longest_packet_s_length() {
        let mut encoder = FecEncoder::new(ratio(2, 2));
        for group in 0..3 {
            let (header, shard, complete) = send(&mut encoder, 0, 30);
            assert_eq!((header.sequence, header.kind), (group * 4, ShardKind::Data));
            assert_eq!(shard[..3], [32, 0, 7]);
            assert!(!complete);
            assert!(parity_of(&mut encoder).is_empty());
            let (header, _, complete) = send(&mut encoder, 0, 20);
            assert_eq!(header.sequence, group * 4 + 1);
            assert!(complete);
            let parity = parity_of(&mut encoder);
            assert_eq!(parity.len(), 2);
            for (at, (header, len)) in (2..).zip(parity) {
                assert_eq!((header.sequence, len), (group * 4 + at, 38));
                assert_eq!(header.kind, ShardKind::Parity);
            }
        }
    }

    #[test]
    fn numbers_wrap_where_the_last_whole_group_ends() {
        let period = 0xffff_ffff / 13 * 13;
        let mut encoder = FecEncoder::starting_at(ratio(10, 3), period - 13);
        let numbers = |encoder: &mut FecEncoder| -> Vec<u32> {
            let mut numbers: Vec<u32> = (0..10).map(|_| send(encoder, 0, 1).0.sequence).collect();
            numbers.extend(parity_of(encoder).iter().map(|(header, _)| header.sequence));
            numbers
        };
        assert!(numbers(&mut encoder).into_iter().eq(period - 13..period));
        assert!(numbers(&mut encoder).into_iter().eq(0..13));
    }

    #[test]
    fn numbers_wrap_over_skipped_parity() {
        let period = 0xffff_ffff / 3 * 3;
        let mut encoder = FecEncoder::starting_at(ratio(2, 1), period - 3);
        send(&mut encoder, 0, 1);
        assert!(!send(&mut encoder, 500, 1).2);
        assert_eq!(send(&mut encoder, 500, 1).0.sequence, 0);
    }

    #[test]
    fn group_whose_last_packet_is_late_has_no_parity_and_uses_its_numbers() {
        let mut encoder = FecEncoder::new(ratio(2, 3));
        send(&mut encoder, 0, 1);
        assert!(!send(&mut encoder, 500, 1).2);
        assert!(parity_of(&mut encoder).is_empty());
        assert_eq!(send(&mut encoder, 2000, 1).0.sequence, 5);
        assert!(send(&mut encoder, 2499, 1).2);
        assert_eq!(parity_of(&mut encoder)[0].0.sequence, 7);
    }

    #[test]
    fn parity_left_behind_is_skipped() {
        let mut encoder = FecEncoder::new(ratio(1, 3));
        send(&mut encoder, 0, 1);
        assert!(send(&mut encoder, 0, 1).2);
        assert!(encoder.take_parity(&mut [0; 20]) > 0);
        assert_eq!(send(&mut encoder, 0, 1).0.sequence, 8);
    }

    #[test]
    fn memory_is_allocated_by_the_first_packet_and_released_between_groups() {
        let mut encoder = FecEncoder::new(ratio(2, 1));
        let unused =
            |encoder: &FecEncoder| encoder.parity.capacity() == 0 && encoder.codec.is_none();
        assert!(unused(&encoder));
        send(&mut encoder, 0, 1);
        encoder.shrink();
        assert!(!unused(&encoder));
        send(&mut encoder, 0, 1);
        encoder.shrink();
        assert_eq!(parity_of(&mut encoder).len(), 1);
        encoder.shrink();
        assert!(unused(&encoder));
        assert_eq!(send(&mut encoder, 0, 1).0.sequence, 3);
    }

    #[test]
    fn out_of_band_packet_has_the_last_number() {
        let mut packet = [9; 11];
        FecEncoder::out_of_band(&mut packet);
        assert_eq!(packet, [255, 255, 255, 255, 0xf3, 0, 5, 0, 9, 9, 9]);
    }
}
