//! The system's monotonic clock, which all processes of a machine share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since an unspecified start that is the same for all processes.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    // The monotonic clock is never negative.
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}
