//! The counters of one sender.

use std::collections::VecDeque;

/// The counters of one sender that were seen: exact down to a floor; all below count as seen.
///
/// A sender with many peers spreads its counters over all of them, so one peer sees only some of
/// them. The window therefore covers a number of packets rather than a range of counters: it stores
/// runs of 64 counters, and omits runs of which none was seen.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// In ascending order, the newest last.
    runs: VecDeque<Run>,
    /// Runs below this number were dropped.
    floor: u32,
    /// Number of counters seen in all runs.
    seen: u32,
}

/// 64 counters in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The first counter, divided by 64.
    number: u32,
    /// One bit for each counter seen, in two halves: a number of 64 bits would leave four bytes between
    /// two runs unused.
    halves: [u32; 2],
}

impl Run {
    fn bit(counter: u32) -> (usize, u32) {
        let place = counter % u64::BITS;
        (usize::from(place >= u32::BITS), 1 << (place % u32::BITS))
    }

    /// A run of which one counter was seen.
    fn of(counter: u32) -> Self {
        let mut run = Self {
            number: counter / u64::BITS,
            halves: [0; 2],
        };
        run.see(counter);
        run
    }

    /// Records a counter of this run. Returns false if it was seen before.
    #[inline]
    fn see(&mut self, counter: u32) -> bool {
        let (half, bit) = Self::bit(counter);
        let is_new = self.halves[half] & bit == 0;
        self.halves[half] |= bit;
        is_new
    }

    /// Number of counters seen.
    fn seen(&self) -> u32 {
        self.halves[0].count_ones() + self.halves[1].count_ones()
    }
}

impl Window {
    /// Records a counter. Returns false if it was seen before or is too old to know.
    ///
    /// Keeps at most `most` runs, but always up to four.
    #[inline]
    pub(super) fn insert(&mut self, counter: u32, most: usize) -> bool {
        let number = counter / u64::BITS;
        // Nearly always the newest run or the next one.
        match self.runs.back_mut() {
            Some(run) if run.number == number => {
                if !run.see(counter) {
                    return false;
                }
            }
            Some(run) if run.number > number => {
                if !self.insert_late(counter) {
                    return false;
                }
            }
            _ => self.runs.push_back(Run::of(counter)),
        }
        self.seen += 1;
        self.trim(most.max(LEAST_RUNS));
        true
    }

    /// Number of runs stored.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    #[cold]
    fn insert_late(&mut self, counter: u32) -> bool {
        let number = counter / u64::BITS;
        if number < self.floor {
            return false;
        }
        match self.runs.binary_search_by_key(&number, |run| run.number) {
            Ok(index) => self.runs[index].see(counter),
            Err(index) => {
                self.runs.insert(index, Run::of(counter));
                true
            }
        }
    }

    /// Drops the oldest runs while enough packets are left.
    #[inline]
    fn trim(&mut self, most: usize) {
        while let Some(oldest) = self.runs.front() {
            let left = self.seen - oldest.seen();
            if left < DEPTH && self.runs.len() <= most {
                break;
            }
            self.floor = oldest.number + 1;
            self.seen = left;
            self.runs.pop_front();
        }
        if self.runs.capacity() > 4 * self.runs.len().max(LEAST_RUNS) {
            self.runs.shrink_to(2 * self.runs.len());
        }
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

/// Minimum number of packets of a sender that are remembered, if memory allows.
///
/// More than any path reorders: at 100 000 packets per second it is 40 ms. A sender with a single
/// peer takes 800 bytes for it, one with very many peers 64 kB.
const DEPTH: u32 = 4096;

/// Number of runs that are kept even if memory is short.
const LEAST_RUNS: usize = 4;
