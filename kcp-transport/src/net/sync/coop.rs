//! Yielding of tasks whose polls are always ready.

use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// Polls with the task's cooperative budget, as tokio's own sockets do: a task that has used up its
/// budget yields to others even if more data is ready.
pub(in crate::net) fn budgeted<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let budget = ready!(coop::poll_proceed(cx));
    let polled = poll(cx);
    if polled.is_ready() {
        budget.made_progress();
    }
    polled
}
