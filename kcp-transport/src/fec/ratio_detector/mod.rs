//! Finds out the sender's ratio from the kinds of its packets.
//!
//! A packet's number and kind rule ratios out: a data packet whose place in a group of `d` data
//! and `p` parity packets is `d` or later was not sent with that ratio, and a parity packet whose
//! place is before `d` neither. The truth is never ruled out by an honest packet, so once a single
//! ratio is left it is the sender's. With groups of 10 and 3 that takes 14 packets, and a few more
//! if some are lost.
//!
//! Nothing is rebuilt before that. A wrong ratio does not merely fail to rebuild: parity of two
//! packets, taken for that of one, yields a packet with sound headers and wrong numbers, because
//! bytes that are the same in both come out unchanged.

use std::time::Duration;

use super::FecRatio;
use crate::time::Time;

/// Watches a sender, and knows its ratio once there is no other explanation for its packets.
///
/// Costs a comparison a packet, and no memory once the ratio is known and nothing contradicts it.
#[derive(Debug)]
pub(super) struct RatioDetector {
    ratio: Option<FecRatio>,
    changed_at: Option<Time>,
    /// Rises with each packet that contradicts the ratio, and falls slowly with each that fits.
    doubt: u32,
    /// The newest number near the others, once there was any.
    newest: Option<u32>,
    /// A number far from these, and how many others agree with it: two votes each, less one for
    /// each that does not.
    elsewhere: u32,
    votes: u32,
    search: Option<Box<Search>>,
}

/// Ratios that explain all packets seen since the search began.
///
/// For each group size, data fills the places up to `data_end` at least, and parity begins at
/// `parity_start` at the latest: any split between them explains what was seen.
#[derive(Debug)]
struct Search {
    data_end: [u16; SIZES],
    parity_start: [u16; SIZES],
    /// Different packets that fitted since a single ratio was left: that one comes again and again
    /// proves nothing.
    confirmations: u32,
    seen: Seen,
}

/// The newest of some packets, and which of the 63 before it have come.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    newest: u32,
    /// A bit for each, the lowest for the newest.
    bits: u64,
}

impl RatioDetector {
    /// A detector that knows nothing.
    pub(super) const fn new() -> Self {
        Self {
            ratio: None,
            changed_at: None,
            doubt: 0,
            newest: None,
            elsewhere: 0,
            votes: 0,
            search: None,
        }
    }

    /// A detector that has learned `ratio` already.
    #[cfg(test)]
    pub(super) const fn knowing(ratio: FecRatio) -> Self {
        let mut detector = Self::new();
        detector.ratio = Some(ratio);
        detector
    }

    /// The sender's ratio, once it is known.
    pub(super) const fn ratio(&self) -> Option<FecRatio> {
        self.ratio
    }

    /// Whether packets may be rebuilt with the ratio: it is known, and not contradicted often.
    pub(super) const fn is_trusted(&self) -> bool {
        self.ratio.is_some() && self.doubt < DOUBTFUL
    }

    /// Whether a packet has contradicted the ratio, and too few have come since to tell who was
    /// right.
    pub(super) const fn is_contradicted(&self) -> bool {
        self.search.is_some()
    }

    /// Bytes held.
    pub(super) fn memory(&self) -> usize {
        self.search.as_ref().map_or(0, |_| size_of::<Search>())
    }

    /// Looks at a packet; returns whether the ratio changed.
    pub(super) fn observe(&mut self, now: Time, sequence: u32, parity: bool) -> bool {
        let fits = self.ratio.map(|ratio| fits(ratio, sequence, parity));
        let patience = match fits {
            Some(false) => FAR_TO_START_AGAIN,
            Some(true) | None => FAR_TO_FOLLOW,
        };
        if !self.is_near(sequence, patience) {
            return false;
        }
        let Some(fits) = fits else {
            return self.search(now, sequence, parity);
        };
        self.doubt = if fits {
            self.doubt.saturating_sub(1)
        } else {
            MAX_DOUBT.min(self.doubt + DOUBT_PER_MISFIT)
        };
        if self.search.is_none() {
            // Ratios may look so much alike that contradictions are rare: each is looked into. The
            // first may be somebody else's, and is no evidence.
            self.search = (!fits).then(Search::new);
            return false;
        }
        self.search(now, sequence, parity)
    }

    /// Whether a number belongs to the stream at hand.
    ///
    /// A single packet from far away says nothing about the ratio. Many that lie together, and few
    /// that do not, mean that the sender has jumped, or started again.
    fn is_near(&mut self, sequence: u32, patience: u32) -> bool {
        let newest = *self.newest.get_or_insert(sequence);
        if is_close(sequence, newest) {
            self.votes = 0;
            if sequence.wrapping_sub(newest) < NEAR {
                self.newest = Some(sequence);
            }
            return true;
        }
        if self.votes == 0 {
            self.elsewhere = sequence;
        }
        if is_close(sequence, self.elsewhere) {
            self.elsewhere = sequence;
            self.votes += 2;
        } else {
            self.votes = self.votes.saturating_sub(1);
        }
        if self.votes < 2 * patience {
            return false;
        }
        self.votes = 0;
        self.newest = Some(sequence);
        // What was seen before is no evidence here.
        self.search = None;
        true
    }

    fn search(&mut self, now: Time, sequence: u32, parity: bool) -> bool {
        let search = self.search.get_or_insert_with(Search::new);
        if !search.exclude(sequence, parity) {
            // Packets of two ratios, or somebody else's: what was seen explains nothing.
            **search = *Search::new();
            search.exclude(sequence, parity);
        }
        let Some(found) = search.result() else {
            return false;
        };
        let confirmations = search.confirmations;
        let lately = |at: Time| now - at < MIN_TIME_BETWEEN_CHANGES;
        if self.ratio == Some(found) {
            self.doubt = 0;
            self.search = None;
            return false;
        }
        if self.ratio.is_some()
            && (self.changed_at.is_some_and(lately)
                || confirmations < confirmations_to_change(found))
        {
            return false;
        }
        *self = Self {
            ratio: Some(found),
            changed_at: Some(now),
            newest: self.newest,
            ..Self::new()
        };
        true
    }
}

impl Search {
    fn new() -> Box<Self> {
        Box::new(Self {
            data_end: [0; SIZES],
            parity_start: [u16::MAX; SIZES],
            confirmations: 0,
            seen: Seen::default(),
        })
    }

    /// Rules out what a packet contradicts; returns whether anything is left.
    fn exclude(&mut self, sequence: u32, parity: bool) -> bool {
        let mut left = 0;
        for (size, (data_end, parity_start)) in
            SIZE_RANGE.zip(self.data_end.iter_mut().zip(self.parity_start.iter_mut()))
        {
            // A place is below 256.
            let place = (sequence % size) as u16;
            if sequence >= u32::MAX / size * size {
                // Numbers start again before this one is reached.
                *parity_start = 0;
            } else if parity {
                *parity_start = place.min(*parity_start);
            } else {
                *data_end = (place + 1).max(*data_end);
            }
            left += splits(size, *data_end, *parity_start).count();
        }
        let is_new = self.seen.insert(sequence);
        self.confirmations = match left {
            1 => self.confirmations + u32::from(is_new),
            _ => 0,
        };
        left > 0
    }

    /// The ratio that is left, if it is a single one and enough packets have borne it out since.
    fn result(&self) -> Option<FecRatio> {
        if self.confirmations < CONFIRMATIONS {
            return None;
        }
        let (size, data) = SIZE_RANGE
            .zip(self.data_end.iter().zip(&self.parity_start))
            .find_map(|(size, (&data_end, &parity_start))| {
                splits(size, data_end, parity_start)
                    .next()
                    .map(|data| (size, data))
            })?;
        FecRatio::new(usize::from(data), size as usize - usize::from(data)).ok()
    }
}

impl Seen {
    /// Returns whether a packet has surely not come before.
    fn insert(&mut self, sequence: u32) -> bool {
        let ahead = sequence.wrapping_sub(self.newest);
        let behind = ahead.wrapping_neg();
        if self.bits == 0 || (1..NEAR).contains(&ahead) {
            self.bits = self.bits.checked_shl(ahead).unwrap_or(0) | 1;
            self.newest = sequence;
            return true;
        }
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let is_new = bit & !self.bits != 0;
        self.bits |= bit;
        is_new
    }
}

/// The numbers of data packets in a group of `size` that explain data before `data_end` and parity
/// from `parity_start` on. There is at least one packet of each kind.
fn splits(size: u32, data_end: u16, parity_start: u16) -> std::ops::RangeInclusive<u16> {
    // A size is at most 256.
    data_end.max(1)..=parity_start.min(size as u16 - 1)
}

/// Whether two numbers may be of one stream.
fn is_close(one: u32, other: u32) -> bool {
    let apart = one.wrapping_sub(other);
    apart < NEAR || apart.wrapping_neg() < NEAR
}

/// Whether a packet of this number has this kind in groups of `ratio`.
fn fits(ratio: FecRatio, sequence: u32, parity: bool) -> bool {
    sequence < ratio.sequence_period() && (ratio.place(sequence).1 >= ratio.data()) == parity
}

/// Group sizes there can be.
const SIZE_RANGE: std::ops::RangeInclusive<u32> = 2..=256;
const SIZES: usize = 255;

/// Packets that must bear out a ratio after it is the only one left: while somebody else's packets
/// rule out the truth, the last wrong ratio is soon ruled out by the sender's.
const CONFIRMATIONS: u32 = 4;

/// As many if another ratio was known before: more than a whole group. If the truth was ruled out,
/// no other ratio fits for as long.
fn confirmations_to_change(found: FecRatio) -> u32 {
    // At most 256 packets.
    16 + found.group() as u32
}

/// Numbers this close belong to one stream: a window of packets, and then some.
const NEAR: u32 = 4096;

/// Packets that agree on a place far away before a jump is followed, if they fit the ratio or none is known.
const FAR_TO_FOLLOW: u32 = 8;

/// As many if they do not fit: the sender has started again with another ratio.
const FAR_TO_START_AGAIN: u32 = 32;

/// What one contradicting packet weighs against those that fit.
const DOUBT_PER_MISFIT: u32 = 8;

/// Three contradictions in close succession; single ones among packets that fit stay below.
const DOUBTFUL: u32 = 3 * DOUBT_PER_MISFIT;

/// Past doubts are forgotten after this many packets that fit.
const MAX_DOUBT: u32 = 64;

/// A ratio is kept for at least so long. No sender changes its ratio while it runs; to rebuild the
/// tables more often would be somebody else's wish.
const MIN_TIME_BETWEEN_CHANGES: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
