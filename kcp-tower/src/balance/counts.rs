//! Counters of a balancer and of its endpoints.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Verdict;

pub(super) fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Counts of a balancer.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Counts {
    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn another(&self, hedge: bool) {
        let count = if hedge { &self.hedges } else { &self.retries };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts of an endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointCounts {
    pub(super) tries: AtomicU64,
    pub(super) succeeded: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) overloaded: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) latency_micros: AtomicU64,
    codes: [AtomicU64; 32],
}

impl EndpointCounts {
    pub(super) fn start(&self) {
        self.tries.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn judge(&self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Success => &self.succeeded,
            Verdict::Rejected => &self.rejected,
            Verdict::Unsent => &self.unsent,
            Verdict::Failed => &self.failed,
            Verdict::Overloaded => &self.overloaded,
            Verdict::Late => &self.late,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answered(&self, code: Option<u8>) {
        if let Some(count) = code.and_then(|code| self.codes.get(usize::from(code))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The codes that were answered, and how often each.
    pub(super) fn codes(&self) -> BTreeMap<u8, u64> {
        let counted = (0_u8..)
            .zip(&self.codes)
            .map(|(code, count)| (code, get(count)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    pub(super) fn took(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.fetch_add(micros, Ordering::Relaxed);
    }
}
