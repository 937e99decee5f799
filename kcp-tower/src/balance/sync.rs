//! The lock and the clock of this module.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Locks, also after a panic of another holder: no value here is left half written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time that deadlines and ejections are counted in.
#[allow(
    clippy::disallowed_methods,
    reason = "requests are timed in tokio's time, as tower does; the protocol is not involved"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
