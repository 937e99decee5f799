//! The memory that all sessions of a listener hold together, and its limit.
//!
//! Each session is charged the capacity of its buffers, full or not. From three quarters of the
//! budget on, sessions announce small windows to their peers; when all of it is spent, no new
//! session is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The bytes held by all sessions, and their limit.
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

    /// Whether sessions must announce smaller windows.
    fn is_short(&self) -> bool {
        self.held() >= self.limit / 4 * 3
    }

    /// Whether no memory is left for another session.
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

/// The charge of one session, until the session is dropped. After the end of the session it covers
/// data that can still be read.
#[derive(Debug)]
pub(in crate::net) struct Charge {
    budget: Option<Arc<Budget>>,
    /// Bytes of a session without its buffers.
    fixed: usize,
    bytes: AtomicUsize,
    pressed: AtomicBool,
}

impl Charge {
    /// Charges a session without buffers, which takes `fixed` bytes. Without a budget nothing is
    /// charged.
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

    /// Whether memory is short, if there is a budget.
    pub(in crate::net) fn is_short(&self) -> Option<bool> {
        self.budget.as_ref().map(|budget| budget.is_short())
    }

    /// Records whether memory is short for the session. Returns whether that has changed.
    pub(in crate::net) fn note_pressure(&self, short: bool) -> bool {
        self.pressed.swap(short, Ordering::Relaxed) != short
    }

    /// Charges for buffers with a capacity of `bytes`.
    pub(in crate::net) fn settle(&self, bytes: usize) {
        let after = bytes + self.fixed;
        // All tasks update the same sum, so small changes are held back.
        if after.abs_diff(self.bytes.load(Ordering::Relaxed)) >= GRAIN {
            self.replace(after);
        }
    }

    /// Charges a session that is over for the `bytes` that its user may still read.
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

/// Smaller changes are held back: the largest error of the sum for each session.
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
