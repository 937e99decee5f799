//! What all sessions of a listener hold together, and what happens when that is too much.
//!
//! Each session is charged what its buffers have room for, whatever is in them. From three
//! quarters of the budget on, sessions tell their peers small windows; at the whole of it no
//! new one is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes held, and how many there may be.
#[derive(Debug)]
pub(in crate::net) struct Budget {
    held: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(in crate::net) fn new(limit: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            limit,
        }
    }

    pub(in crate::net) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether sessions should take in less.
    fn is_short(&self) -> bool {
        self.held() >= self.limit / 4 * 3
    }

    /// Whether there is nothing left for another session.
    pub(in crate::net) fn is_spent(&self) -> bool {
        self.held() >= self.limit
    }

    fn replace(&self, before: usize, after: usize) {
        if after >= before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.held.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// What one session is charged until it is dropped: from its end on, for what may still be read.
#[derive(Debug)]
pub(in crate::net) struct Charge {
    budget: Option<Arc<Budget>>,
    /// What a session takes without its buffers.
    fixed: usize,
    bytes: AtomicUsize,
    pressed: AtomicBool,
}

impl Charge {
    /// Charges a session that has no buffers yet, and takes `fixed` bytes without them; nothing
    /// without a budget.
    pub(in crate::net) fn new(budget: Option<Arc<Budget>>, fixed: usize) -> Self {
        let charge = Self {
            budget,
            fixed,
            bytes: AtomicUsize::new(0),
            pressed: AtomicBool::new(false),
        };
        charge.settle(0);
        charge
    }

    /// Whether memory is short; unknown without a budget.
    pub(in crate::net) fn is_short(&self) -> Option<bool> {
        self.budget.as_ref().map(|budget| budget.is_short())
    }

    /// Notes what the session is told of memory. Returns whether that is news.
    pub(in crate::net) fn note_pressure(&self, short: bool) -> bool {
        self.pressed.swap(short, Ordering::Relaxed) != short
    }

    /// The session's buffers have room for `bytes` now.
    pub(in crate::net) fn settle(&self, bytes: usize) {
        let after = bytes + self.fixed;
        // Sessions of all tasks share the sum, so it is not touched for little.
        if after.abs_diff(self.bytes.load(Ordering::Relaxed)) >= GRAIN {
            self.replace(after);
        }
    }

    /// The session is over, and what its user may still read takes `bytes`.
    pub(in crate::net) fn settle_end(&self, bytes: usize) {
        self.replace(bytes);
    }

    fn replace(&self, after: usize) {
        if let Some(budget) = &self.budget {
            let before = self.bytes.swap(after, Ordering::Relaxed);
            budget.replace(before, after);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.replace(*self.bytes.get_mut(), 0);
        }
    }
}

/// Changes below this wait for others: what a budget is off by, for each session.
const GRAIN: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const PER_SESSION: usize = 3000;

    #[test]
    fn charges_add_up_and_go_with_their_sessions() {
        let budget = Arc::new(Budget::new(100_000));
        let charges = [1, 2, 3].map(|_| Charge::new(Some(Arc::clone(&budget)), PER_SESSION));
        assert_eq!(budget.held(), 3 * PER_SESSION);
        charges[0].settle(50_000);
        charges[1].settle(20_000);
        assert!(budget.is_short() && !budget.is_spent());
        charges[1].settle(60_000);
        assert!(budget.is_spent());
        charges[0].settle(0);
        assert!(!budget.is_spent());
        charges[2].settle_end(7);
        assert_eq!(budget.held(), 2 * PER_SESSION + 60_007);
        drop(charges);
        assert_eq!(budget.held(), 0);
    }
}
