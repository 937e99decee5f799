//! The counters of one sender.

use std::collections::VecDeque;

/// Which counters of one sender were seen: exactly, down to a floor; all below count as seen.
///
/// A sender with many peers spreads its counters over all of them, so that one peer sees a few here
/// and a few there. What is kept is therefore a number of packets, not a range of counters: runs of
/// 64 counters, without those of which none was seen.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// In ascending order, the newest last.
    runs: VecDeque<Run>,
    /// Runs below this number are forgotten.
    floor: u32,
    /// Counters seen in all runs.
    seen: u32,
}

/// 64 counters in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The first counter, divided by 64.
    number: u32,
    /// A bit for each counter seen.
    bits: u64,
}

impl Window {
    /// Notes a counter; `false` if it was seen before or is too old to tell.
    ///
    /// Keeps no more than `most` runs, but four in any case.
    #[inline]
    pub(super) fn insert(&mut self, counter: u32, most: usize) -> bool {
        let number = counter / u64::BITS;
        let bit = 1 << (counter % u64::BITS);
        // Nearly always the newest run, or the next.
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

    /// Runs of counters that are kept.
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

    /// Forgets the oldest runs while enough is left without them.
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

/// Packets of a sender that are remembered at least, if memory allows.
///
/// More than any path reorders: at 100 000 packets a second it is 40 ms. A sender that is not
/// interrupted by other peers takes 1 kB for it, one with the most peers 64 kB.
const DEPTH: u32 = 4096;

/// Runs that are kept even if memory is short.
const LEAST_RUNS: usize = 4;
