//! Tasks that are always served must still let others run.

use std::task::{Context, Poll, ready};

use tokio::task::coop;

/// Polls with the task's cooperative budget, as tokio's own sockets do: a task that has used it up
/// is put behind the others, though more waits for it.
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
