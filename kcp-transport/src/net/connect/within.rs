//! Waiting for a limited time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime;
use tokio::task::JoinHandle;

/// What `future` returns, or `None` if that takes longer than `duration` or the runtime ends.
///
/// The timer is a task of the runtime: one of the caller's would panic in a runtime that ends.
///
/// # Cancel safety
///
/// As that of `future`.
pub(super) async fn within<F: Future>(
    runtime: &runtime::Handle,
    duration: Duration,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let start = || Timer(runtime.spawn(async move { tokio::time::sleep(duration).await }));
        timer.get_or_insert_with(start).poll(cx).map(|()| None)
    })
    .await
}

struct Timer(JoinHandle<()>);

impl Timer {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is the end of the runtime.
        Pin::new(&mut self.0).poll(cx).map(|_| ())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.abort();
    }
}
