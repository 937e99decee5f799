//! Outgoing datagrams, stored in one buffer.

use super::PacketLayout;
use crate::pages::Pages;

/// Datagrams to one peer, one after the other in a single buffer.
///
/// The session writes the payloads, [`Sealer`](super::Sealer) encrypts all of them in place, and
/// each run of datagrams of equal size is sent by one system call. A run may end with one shorter
/// datagram, as generic segmentation offload allows.
#[derive(Debug)]
pub struct TransmitBatch {
    /// The datagrams, followed by bytes of earlier ones, which are not cleared to avoid the cost.
    buffer: Pages,
    /// Bytes of all datagrams.
    filled: usize,
    lengths: Vec<u16>,
    /// The datagram that must not be fragmented.
    probe: Option<usize>,
    layout: PacketLayout,
    capacity: usize,
}

impl TransmitBatch {
    /// An empty batch for at most `capacity` datagrams.
    #[must_use]
    pub fn new(layout: PacketLayout, capacity: usize) -> Self {
        Self {
            buffer: Pages::new(),
            filled: 0,
            lengths: Vec::new(),
            probe: None,
            layout,
            capacity,
        }
    }

    /// Number of datagrams.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are no datagrams.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Number of datagrams that can still be added.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.capacity.saturating_sub(self.lengths.len())
    }

    /// Bytes of all datagrams together.
    #[must_use]
    pub fn total_len(&self) -> usize {
        self.filled
    }

    /// Bytes of memory that the datagrams have room in.
    #[cfg(feature = "tokio")]
    pub(crate) fn room(&self) -> usize {
        self.buffer.len()
    }

    /// The layout of each datagram.
    #[must_use]
    pub fn layout(&self) -> PacketLayout {
        self.layout
    }

    /// Removes all datagrams and keeps the memory.
    pub fn clear(&mut self) {
        self.filled = 0;
        self.lengths.clear();
        self.probe = None;
    }

    /// As [`TransmitBatch::push_with`], for a probe of the path's mtu. A batch has room for one.
    pub(crate) fn push_probe_with(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        self.probe = Some(self.lengths.len());
        self.push_with(fill)
    }

    /// Adds one datagram whose payload (FEC header and segments) `fill` writes.
    ///
    /// `fill` receives a buffer for the largest payload and returns the length it used; 0 adds no
    /// datagram. The content of the buffer is unspecified, so `fill` must write every byte that it
    /// uses. The parts in front and behind are for the sealer.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut [u8]) -> usize) -> usize {
        let overhead = self.layout.overhead();
        let start = self.filled;
        let whole = start + self.layout.mtu();
        if self.buffer.len() < whole {
            self.grow(whole);
        }
        let end = whole - overhead.back;
        let used = fill(&mut self.buffer[start + overhead.front..end]);
        let total = if used == 0 {
            0
        } else {
            overhead.front + used + overhead.back
        };
        self.filled = start + total;
        if total > 0 {
            self.lengths
                .push(u16::try_from(total).expect("a datagram is at most the mtu"));
        }
        used
    }

    /// Makes room for `len` bytes: for a few datagrams, or for all, since those take memory only
    /// when they are written.
    #[cold]
    fn grow(&mut self, len: usize) {
        let mtu = self.layout.mtu();
        let room = if len <= FEW * mtu {
            len.next_multiple_of(mtu)
        } else {
            len.max(self.capacity * mtu)
        };
        self.buffer.grow(room, self.filled);
    }

    /// The datagrams, each whole: front part, payload, back part.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.buffer[..self.filled];
        self.lengths.iter().map(move |&len| {
            let (datagram, tail) = rest.split_at(usize::from(len));
            rest = tail;
            datagram
        })
    }

    /// The datagrams, mutable, each whole: front part, payload, back part.
    pub fn datagrams_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let mut rest = &mut self.buffer[..self.filled];
        self.lengths.iter().map(move |&len| {
            let (datagram, tail) = std::mem::take(&mut rest).split_at_mut(usize::from(len));
            rest = tail;
            datagram
        })
    }

    /// The runs that segmentation offload can send at once, of at most `max_datagrams` datagrams
    /// each.
    ///
    /// Every datagram of a run has the run's segment size, except that the last may be shorter.
    pub fn runs(&self, max_datagrams: usize) -> impl Iterator<Item = SegmentRun<'_>> {
        self.runs_from(0, max_datagrams)
    }

    /// As [`TransmitBatch::runs`], without the first `start` datagrams.
    pub fn runs_from(
        &self,
        start: usize,
        max_datagrams: usize,
    ) -> impl Iterator<Item = SegmentRun<'_>> {
        let offset = self.lengths[..start]
            .iter()
            .map(|&len| usize::from(len))
            .sum();
        SegmentRuns {
            batch: self,
            index: start,
            offset,
            max_datagrams: max_datagrams.max(1),
        }
    }
}

/// Datagrams that one system call can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentRun<'a> {
    /// The datagrams, one after the other.
    pub bytes: &'a [u8],
    /// Length of each but the last, which may be shorter.
    pub segment_size: usize,
    /// Number of datagrams.
    pub datagrams: usize,
    /// This is one datagram that probes the path's mtu. It must not be fragmented on its way, if the
    /// system can ensure that.
    pub probe: bool,
}

struct SegmentRuns<'a> {
    batch: &'a TransmitBatch,
    index: usize,
    offset: usize,
    max_datagrams: usize,
}

impl<'a> Iterator for SegmentRuns<'a> {
    type Item = SegmentRun<'a>;

    fn next(&mut self) -> Option<SegmentRun<'a>> {
        let lengths = &self.batch.lengths[self.index..];
        let segment_size = usize::from(*lengths.first()?);
        let by_bytes = (MAX_RUN_BYTES / segment_size).max(1);
        let (probe, before_probe) = match self.batch.probe {
            Some(probe) if probe == self.index => (true, 1),
            Some(probe) if probe > self.index => (false, probe - self.index),
            _ => (false, usize::MAX),
        };
        let limit = self.max_datagrams.min(by_bytes).min(lengths.len());
        let limit = limit.min(before_probe);
        let equal = lengths[..limit]
            .iter()
            .take_while(|&&len| usize::from(len) == segment_size)
            .count();
        // One shorter datagram may end the run.
        let shorter = lengths[..limit]
            .get(equal)
            .filter(|&&len| usize::from(len) < segment_size);
        let datagrams = equal + usize::from(shorter.is_some());
        let len = equal * segment_size + shorter.map_or(0, |&len| usize::from(len));
        let bytes = &self.batch.buffer[self.offset..self.offset + len];
        self.index += datagrams;
        self.offset += len;
        Some(SegmentRun {
            bytes,
            segment_size,
            datagrams,
            probe,
        })
    }
}

/// A batch with more datagrams gets room for as many as it may have.
const FEW: usize = 4;

/// Maximum number of bytes in one run: segmentation offload first builds one IP packet, whose
/// length has 16 bits.
const MAX_RUN_BYTES: usize = 65_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Overhead;
    use proptest::prelude::*;

    fn batch(front: usize, back: usize) -> TransmitBatch {
        let layout = PacketLayout::new(1400, Overhead { front, back }, false).expect("fits");
        TransmitBatch::new(layout, 1000)
    }

    #[test]
    fn payload_stands_between_front_and_back() {
        let mut batch = batch(12, 16);
        batch.push_with(|body| {
            assert_eq!(body.len(), 1400 - 28);
            body[..3].copy_from_slice(b"abc");
            3
        });
        let datagram = batch.datagrams().next().expect("one");
        assert_eq!(datagram.len(), 12 + 3 + 16);
        assert_eq!(&datagram[12..15], b"abc");
    }

    #[test]
    fn empty_fill_adds_nothing() {
        let mut batch = batch(12, 16);
        batch.push_with(|_| 0);
        assert!(batch.is_empty());
        assert_eq!(batch.total_len(), 0);
    }

    proptest! {
        #[test]
        fn runs_cover_every_datagram_in_order(
            lengths in proptest::collection::vec(1_usize..1400, 0..80), max in 1_usize..70,
        ) {
            let mut batch = batch(0, 0);
            for (index, &len) in lengths.iter().enumerate() {
                batch.push_with(|body| { body[..len].fill(index as u8); len });
            }
            let mut seen = Vec::new();
            for run in batch.runs(max) {
                prop_assert!(run.datagrams >= 1 && run.datagrams <= max);
                prop_assert!(run.bytes.len() <= MAX_RUN_BYTES);
                let pieces: Vec<&[u8]> = run.bytes.chunks(run.segment_size).collect();
                prop_assert_eq!(pieces.len(), run.datagrams);
                seen.extend(pieces.into_iter().map(<[u8]>::to_vec));
            }
            let all: Vec<Vec<u8>> = batch.datagrams().map(<[u8]>::to_vec).collect();
            prop_assert_eq!(all.len(), lengths.len());
            prop_assert_eq!(seen, all);
        }
    }
}
