//! The system's monotonic clock, which is one for all processes of a machine.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since some start that all processes share.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // The monotonic clock is never negative.
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}
