//! Whether segmentation offload is in use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Time;

use crate::net::io::Clock;

/// The state of segmentation offload of one socket.
///
/// A route through another network card, or a driver that recovers, may support it again, so it is
/// suspended for a while and not given up.
#[derive(Debug)]
pub(in crate::net::io) struct Offload {
    clock: Clock,
    /// Datagrams in one call while it is in use.
    max_run: usize,
    /// The end of the suspension in microseconds of the clock; 0 while it is in use.
    suspended_until: AtomicU64,
}

impl Offload {
    pub(in crate::net::io) fn new(max_run: usize) -> Self {
        Self {
            clock: Clock::start(),
            max_run,
            suspended_until: AtomicU64::new(0),
        }
    }

    /// The largest number of datagrams in one call.
    pub(in crate::net::io) fn max_run(&self) -> usize {
        let until = self.suspended_until.load(Ordering::Relaxed);
        if until == 0 {
            return self.max_run;
        }
        if self.clock.now() < Time::from_micros(until) {
            return 1;
        }
        self.suspended_until.store(0, Ordering::Relaxed);
        self.max_run
    }

    /// Segmentation failed for datagrams that were then sent singly.
    pub(in crate::net::io) fn suspend(&self) {
        let until = self.clock.now() + SUSPENSION;
        tracing::debug!(?SUSPENSION, "segmentation offload is suspended");
        self.suspended_until
            .store(until.as_micros(), Ordering::Relaxed);
    }
}

/// Each new attempt costs one failed call where segmentation does not work.
const SUSPENSION: Duration = Duration::from_secs(60);
