//! Numbers of calls by their status code.

use std::fmt;

use tonic::Code;

/// How many calls have ended with each status code.
///
/// A call whose caller does not wait for its end, or does not read it, counts as `Cancelled`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CodeCounts([u64; Self::CODES]);

impl CodeCounts {
    /// From `Ok` to `Unauthenticated`.
    pub(crate) const CODES: usize = 17;

    pub(crate) fn new(counts: [u64; Self::CODES]) -> Self {
        Self(counts)
    }

    /// The index of a code.
    pub(crate) fn place(code: Code) -> usize {
        // Codes are 0 to 16.
        (code as usize).min(Self::CODES - 1)
    }

    /// The calls that have ended with this code.
    #[must_use]
    pub fn get(&self, code: Code) -> u64 {
        self.0[Self::place(code)]
    }

    /// All calls that have ended.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The codes with which calls have ended, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (Code, u64)> {
        let all = (0..).zip(self.0).filter(|(_, count)| *count > 0);
        all.map(|(code, count)| (Code::from_i32(code), count))
    }
}

impl fmt::Debug for CodeCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_a_place_of_its_own() {
        let mut counts = CodeCounts::default();
        for code in (0..17).map(Code::from_i32) {
            counts.0[CodeCounts::place(code)] += 1 + code as u64;
        }
        assert_eq!(counts.get(Code::Ok), 1);
        assert_eq!(counts.get(Code::Unauthenticated), 17);
        assert_eq!(counts.total(), 17 * 18 / 2);
        assert_eq!(counts.iter().count(), 17);
        assert!(counts.iter().all(|(code, count)| count == 1 + code as u64));
    }
}
