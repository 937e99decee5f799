//! Tasks that wait for the same thing, any number of them.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::coop::budgeted;

/// Wakers of all who wait, told apart by who registered them.
///
/// A future takes its waker back when it is dropped, so that waiting with a time-out, over and over,
/// leaves nothing behind. Of who polls without a future nothing is known but the waker.
#[derive(Debug, Default)]
pub(in crate::net) struct Waiters {
    wakers: Vec<(Option<Ticket>, Waker)>,
    next: u64,
}

/// Names a future that waits. Two of one task have the same waker, and must not be confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) struct Ticket(u64);

impl Waiters {
    /// Registers a task, or a future that has waited before or has not.
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

    /// Forgets a future that waits no more.
    pub(in crate::net) fn leave(&mut self, ticket: Ticket) -> Option<Waker> {
        let mut wakers = self.wakers.iter();
        let index = wakers.position(|(known, _)| *known == Some(ticket))?;
        Some(self.wakers.swap_remove(index).1)
    }

    /// All of them, to be woken.
    pub(in crate::net) fn take(&mut self) -> Vec<Waker> {
        let wakers = std::mem::take(&mut self.wakers).into_iter();
        wakers.map(|(_, waker)| waker).collect()
    }
}

/// Who waits.
#[derive(Debug)]
pub(in crate::net) enum Waiter {
    /// A task, of which nothing else is known.
    Task,
    /// A future, with its ticket once it has waited.
    Future(Option<Ticket>),
}

/// Something that many may wait for.
pub(in crate::net) trait Awaited {
    /// What they get.
    type Output;

    /// Takes it, or registers who waits.
    fn poll_for(&self, waiter: &mut Waiter, cx: &Context<'_>) -> Poll<Self::Output>;

    /// A future that has registered waits no more.
    fn leave(&self, ticket: Ticket);
}

/// A future for something that many may wait for, which gives its waiter up when dropped.
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
