//! A lock that outlives a panic of its holder.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data stays sound if another holder panicked: every critical section leaves
/// it so at each point that can panic.
pub(in crate::net) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
