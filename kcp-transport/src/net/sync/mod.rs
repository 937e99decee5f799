//! Locks, wakers and the cooperative budget: what every floor above uses.

mod coop;
mod lock;
mod waiters;

pub(super) use coop::budgeted;
pub(super) use lock::lock;
pub(super) use waiters::{Awaited, Ticket, Waiter, Waiters, Waiting};
