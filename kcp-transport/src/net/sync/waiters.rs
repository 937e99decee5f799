//! Any number of tasks that wait for the same event.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::coop::budgeted;

/// The wakers of all waiting tasks and futures.
///
/// A future removes its waker when it is dropped, so that repeated waiting with a time-out leaves
/// nothing behind. A task that polls without a future is identified by its waker alone.
#[derive(Debug, Default)]
pub(in crate::net) struct Waiters {
    wakers: Vec<(Option<Ticket>, Waker)>,
    next: u64,
}

/// Identifies a waiting future. Two futures of one task have equal wakers and must stay distinct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Ticket(u64);

impl Waiters {
    /// Registers a task, or a future whether it has waited before or not.
    pub(in crate::net) fn register(&mut self, waiter: &mut Waiter, cx: &Context<'_>) {
        let Waiter::Future(ticket) = waiter else {
            let known = |(ticket, waker): &(Option<Ticket>, Waker)| {
                ticket.is_none() && waker.will_wake(cx.waker())
            };
            if !self.wakers.iter().any(known) {
                self.wakers.push((None, cx.waker().clone()));
            }
            return;
        };
        let ticket = *ticket.get_or_insert_with(|| {
            self.next += 1;
            Ticket(self.next)
        });
        let mut wakers = self.wakers.iter_mut();
        match wakers.find(|(known, _)| *known == Some(ticket)) {
            Some((_, waker)) => waker.clone_from(cx.waker()),
            None => self.wakers.push((Some(ticket), cx.waker().clone())),
        }
    }

    /// Removes a future that no longer waits.
    pub(in crate::net) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let mut wakers = self.wakers.iter();
        let index = wakers.position(|(known, _)| *known == Some(ticket))?;
        Some(self.wakers.swap_remove(index).1)
    }

    /// Removes all wakers, for waking.
    pub(in crate::net) fn take(&mut self) -> Vec<Waker> {
        let wakers = std::mem::take(&mut self.wakers).into_iter();
        wakers.map(|(_, waker)| waker).collect()
    }
}

/// A task or future that waits.
#[derive(Debug)]
pub(in crate::net) enum Waiter {
    /// A task, identified by its waker.
    Task,
    /// A future, with its ticket once it has waited.
    Future(Option<Ticket>),
}

/// A source of values that several tasks may wait for.
pub(in crate::net) trait Awaited {
    /// The value that one of them receives.
    type Output;

    /// Takes a value, or registers the waiter.
    fn poll_for(&self, waiter: &mut Waiter, cx: &Context<'_>) -> Poll<Self::Output>;

    /// Removes a future that has registered and no longer waits.
    fn leave(&self, ticket: Ticket);
}

/// A future that waits for an [`Awaited`] and removes itself when dropped.
#[derive(Debug)]
pub(in crate::net) struct Waiting<'a, A: Awaited> {
    awaited: &'a A,
    waiter: Waiter,
}

impl<'a, A: Awaited> Waiting<'a, A> {
    pub(in crate::net) fn new(awaited: &'a A) -> Self {
        Self {
            awaited,
            waiter: Waiter::Future(None),
        }
    }
}

impl<A: Awaited> Future for Waiting<'_, A> {
    type Output = A::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        let waiting = &mut *self;
        budgeted(cx, |cx| waiting.awaited.poll_for(&mut waiting.waiter, cx))
    }
}

impl<A: Awaited> Drop for Waiting<'_, A> {
    fn drop(&mut self) {
        if let Waiter::Future(Some(ticket)) = self.waiter {
            self.awaited.leave(ticket);
        }
    }
}
