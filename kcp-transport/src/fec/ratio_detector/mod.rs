//! Detects the sender's ratio from the kinds of its packets.
//!
//! Number and kind of a packet exclude ratios: with `d` data and `p` parity packets in a group, a
//! data packet has an index below `d` and a parity packet an index of `d` or more. The sender's own
//! packets never exclude its ratio, so a single remaining ratio is the sender's. With groups of 10
//! and 3 that takes 14 packets, and a few more if some are lost.
//!
//! Nothing is rebuilt before that. A wrong ratio does not merely fail to rebuild: parity of two
//! packets that is treated as parity of one yields a packet with valid headers and wrong numbers,
//! because bytes that are equal in both packets come out unchanged.

use std::time::Duration;

use super::FecRatio;
use crate::time::Time;

/// Observes a sender and determines its ratio once no other ratio explains its packets.
///
/// Once the ratio is known and nothing contradicts it, a packet costs one comparison and no memory
/// is used.
#[derive(Debug)]
pub(super) struct RatioDetector {
    ratio: Option<FecRatio>,
    changed_at: Option<Time>,
    /// Increases with each packet that contradicts the ratio and decreases slowly with each that
    /// fits.
    doubt: u32,
    /// The newest number of the current stream, after the first packet.
    newest: Option<u32>,
    /// A distant number and its votes: two for each packet that agrees with it, minus one for each
    /// that does not.
    elsewhere: u32,
    votes: u32,
    search: Option<Box<Search>>,
}

/// Ratios that explain all packets seen since the search began.
///
/// For each group size, the data extends at least up to `data_end` and the parity begins at
/// `parity_start` at the latest: any split in between explains the packets.
#[derive(Debug)]
struct Search {
    data_end: [u16; SIZES],
    parity_start: [u16; SIZES],
    /// Number of distinct packets that fitted since a single ratio was left. Duplicates confirm
    /// nothing.
    confirmations: u32,
    seen: Seen,
}

/// The newest number seen, and which of the 63 before it were seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    newest: u32,
    /// One bit for each number, the lowest for the newest.
    bits: u64,
}

impl RatioDetector {
    /// A detector without any observation.
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

    /// Whether packets may be rebuilt: the ratio is known and rarely contradicted.
    pub(super) const fn is_trusted(&self) -> bool {
        self.ratio.is_some() && self.doubt < DOUBTFUL
    }

    /// Whether a packet has contradicted the ratio and too few have arrived since to decide.
    pub(super) const fn is_contradicted(&self) -> bool {
        self.search.is_some()
    }

    /// Bytes of heap memory.
    pub(super) fn memory(&self) -> usize {
        self.search.as_ref().map_or(0, |_| size_of::<Search>())
    }

    /// Observes a packet; returns whether the ratio changed.
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
            // Two ratios may be so similar that contradictions are rare, so each one starts a
            // search. The first contradicting packet may be from another sender, and is not used as
            // evidence.
            self.search = (!fits).then(Search::new);
            return false;
        }
        self.search(now, sequence, parity)
    }

    /// Whether a number belongs to the current stream.
    ///
    /// A single distant number is no evidence about the ratio. Many that are close to each other
    /// mean that the sender has jumped or restarted.
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
        // Packets before the jump are no evidence.
        self.search = None;
        true
    }

    fn search(&mut self, now: Time, sequence: u32, parity: bool) -> bool {
        let search = self.search.get_or_insert_with(Search::new);
        if !search.exclude(sequence, parity) {
            // The packets are of two ratios or two senders, so the search starts again.
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

    /// Excludes the ratios that a packet contradicts; returns whether any is left.
    fn exclude(&mut self, sequence: u32, parity: bool) -> bool {
        let mut left = 0;
        for (size, (data_end, parity_start)) in
            SIZE_RANGE.zip(self.data_end.iter_mut().zip(self.parity_start.iter_mut()))
        {
            // An index is below 256.
            let place = (sequence % size) as u16;
            if sequence >= u32::MAX / size * size {
                // Numbers wrap before this one is reached.
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

    /// The remaining ratio, if it is a single one and enough packets have confirmed it.
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
    /// Returns whether the number is certain to be new.
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

/// The possible numbers of data packets in a group of `size`, with data before `data_end` and
/// parity from `parity_start` on. There is at least one packet of each kind.
fn splits(size: u32, data_end: u16, parity_start: u16) -> std::ops::RangeInclusive<u16> {
    // A size is at most 256.
    data_end.max(1)..=parity_start.min(size as u16 - 1)
}

/// Whether two numbers may belong to one stream.
fn is_close(one: u32, other: u32) -> bool {
    let apart = one.wrapping_sub(other);
    apart < NEAR || apart.wrapping_neg() < NEAR
}

/// Whether a packet with this number has this kind in groups of `ratio`.
fn fits(ratio: FecRatio, sequence: u32, parity: bool) -> bool {
    sequence < ratio.sequence_period() && (ratio.place(sequence).1 >= ratio.data()) == parity
}

/// Possible group sizes.
const SIZE_RANGE: std::ops::RangeInclusive<u32> = 2..=256;
const SIZES: usize = 255;

/// Packets that must confirm a ratio after it is the only one left. If packets of another sender
/// have excluded the right ratio, the sender's packets soon exclude the last wrong one.
const CONFIRMATIONS: u32 = 4;

/// The number of confirmations needed to replace a known ratio: more than a whole group. If the
/// right ratio was excluded, no other ratio fits for that long.
fn confirmations_to_change(found: FecRatio) -> u32 {
    // At most 256 packets.
    16 + found.group() as u32
}

/// Numbers this close belong to one stream: more than a window of packets.
const NEAR: u32 = 4096;

/// Packets that must agree on a distant position before a jump is followed, if they fit the ratio
/// or none is known.
const FAR_TO_FOLLOW: u32 = 8;

/// The same if they do not fit, because the sender has restarted with another ratio.
const FAR_TO_START_AGAIN: u32 = 32;

/// The weight of one contradicting packet.
const DOUBT_PER_MISFIT: u32 = 8;

/// Reached by three contradictions in close succession, but not by single ones among packets that
/// fit.
const DOUBTFUL: u32 = 3 * DOUBT_PER_MISFIT;

/// Upper bound of the doubt: after this many packets that fit, contradictions are forgotten.
const MAX_DOUBT: u32 = 64;

/// A ratio is kept for at least this long. No known sender changes its ratio while it runs, so more
/// frequent changes would only let an attacker cause work.
const MIN_TIME_BETWEEN_CHANGES: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
