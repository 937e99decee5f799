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
    /// One bit for each counter seen.
    bits: u64,
}

impl Window {
    /// Records a counter. Returns false if it was seen before or is too old to know.
    ///
    /// Keeps at most `most` runs, but always up to four.
    #[inline]
    pub(super) fn insert(&mut self, counter: u32, most: usize) -> bool {
        let number = counter / u64::BITS;
        let bit = 1 << (counter % u64::BITS);
        // Nearly always the newest run or the next one.
        match self.runs.back_mut() {
            Some(run) if run.number == number => {
                if run.bits & bit != 0 {
                    return false;
                }
                run.bits |= bit;
            }
            Some(run) if run.number > number => {
                if !self.insert_late(number, bit) {
                    return false;
                }
            }
            _ => self.runs.push_back(Run { number, bits: bit }),
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
    fn insert_late(&mut self, number: u32, bit: u64) -> bool {
        if number < self.floor {
            return false;
        }
        match self.runs.binary_search_by_key(&number, |run| run.number) {
            Ok(index) => {
                let run = &mut self.runs[index];
                let fresh = run.bits & bit == 0;
                run.bits |= bit;
                fresh
            }
            Err(index) => {
                self.runs.insert(index, Run { number, bits: bit });
                true
            }
        }
    }

    /// Drops the oldest runs while enough packets are left.
    #[inline]
    fn trim(&mut self, most: usize) {
        while let Some(oldest) = self.runs.front() {
            let left = self.seen - oldest.bits.count_ones();
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
/// peer takes 1 kB for it, one with very many peers 64 kB.
const DEPTH: u32 = 4096;

/// Number of runs that are kept even if memory is short.
const LEAST_RUNS: usize = 4;
