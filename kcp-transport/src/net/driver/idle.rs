//! Waiting until an endpoint has nothing left to do.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use crate::net::sync::{Awaited, Ticket, Waiter, Waiters, lock};

/// Counts what keeps the sockets of a listener or client endpoint busy.
#[derive(Debug)]
pub(in crate::net) struct Idle(Mutex<Busy>);

#[derive(Debug, Default)]
struct Busy {
    /// Sessions that have not ended, in the background or not.
    sessions: usize,
    /// Drivers that have not ended. Each has a socket.
    drivers: usize,
    /// The drivers end with the last session.
    closing: bool,
    waiters: Waiters,
}

impl Idle {
    pub(super) fn new(drivers: usize) -> Self {
        Self(Mutex::new(Busy {
            drivers,
            ..Busy::default()
        }))
    }

    pub(super) fn session_opened(&self) {
        lock(&self.0).sessions += 1;
    }

    pub(super) fn session_closed(&self) {
        self.change(|busy| busy.sessions = busy.sessions.saturating_sub(1));
    }

    pub(super) fn driver_ended(&self) {
        self.change(|busy| busy.drivers = busy.drivers.saturating_sub(1));
    }

    /// Waits for the drivers too from now on.
    pub(super) fn close(&self) {
        lock(&self.0).closing = true;
    }

    fn change(&self, change: impl FnOnce(&mut Busy)) {
        let wakers = {
            let mut busy = lock(&self.0);
            change(&mut busy);
            match busy.is_idle() {
                true => busy.waiters.take(),
                false => Vec::new(),
            }
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Busy {
    fn is_idle(&self) -> bool {
        self.sessions == 0 && (self.drivers == 0 || !self.closing)
    }
}

impl Awaited for Idle {
    type Output = ();

    fn poll_for(&self, waiter: &mut Waiter, cx: &Context<'_>) -> Poll<()> {
        let mut busy = lock(&self.0);
        if busy.is_idle() {
            return Poll::Ready(());
        }
        busy.waiters.register(waiter, cx);
        Poll::Pending
    }

    fn leave(&self, ticket: Ticket) {
        let waker = lock(&self.0).waiters.leave(ticket);
        drop(waker);
    }
}
