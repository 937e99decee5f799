//! Locks, wakers and the cooperative budget, used by every floor above.

mod coop;
mod lock;
mod waiters;

pub(super) use coop::budgeted;
pub(super) use lock::lock;
pub(super) use waiters::{Awaited, Ticket, Waiter, Waiters, Waiting};
