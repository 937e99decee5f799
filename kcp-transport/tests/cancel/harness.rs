//! Drops a future after each number of polls that it could have had.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// What the futures under test are polled with: counts how often it is woken.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    rings: AtomicUsize,
    bell: Notify,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rings.fetch_add(1, Ordering::Relaxed);
        self.bell.notify_one();
    }
}

impl Alarm {
    pub(crate) fn rings(&self) -> usize {
        self.rings.load(Ordering::Relaxed)
    }

    /// Waits until it is woken. A future that is never woken fails the test.
    pub(crate) async fn rung(&self) {
        let rung = timeout(PATIENCE, self.bell.notified()).await;
        rung.expect("a future waits that nobody wakes");
    }

    pub(crate) fn poll<F: Future + Unpin>(self: &Arc<Self>, future: &mut F) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(self));
        std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    /// How many wakers made of it are kept somewhere.
    pub(crate) fn kept(self: &Arc<Self>) -> usize {
        Arc::strong_count(self) - 1
    }
}

/// When a future is polled, and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Polled when woken, dropped while it waits.
    Asleep,
    /// Polled when woken, dropped when it was woken once more: what it was woken for must not be
    /// lost with it.
    Awake,
    /// Polled every millisecond, whether it was woken or not.
    Spurious,
}

/// Polls a future up to that many times, then drops it. Returns what it gave, if it did.
pub(crate) async fn cancel_at<F: Future>(
    polls: usize,
    pace: Pace,
    alarm: &Arc<Alarm>,
    future: F,
) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for poll in 1..=polls {
        if let Poll::Ready(output) = alarm.poll(&mut future) {
            return Some(output);
        }
        match pace {
            Pace::Spurious => sleep(Duration::from_millis(1)).await,
            Pace::Asleep if poll == polls => {}
            Pace::Asleep | Pace::Awake => alarm.rung().await,
        }
    }
    None
}

/// How an operation was driven.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) polls: usize,
    pub(crate) pace: Pace,
    pub(crate) alarm: Arc<Alarm>,
}

impl Case {
    /// Drives one operation as far as this case goes.
    pub(crate) async fn drive<F: Future>(&self, future: F) -> Option<F::Output> {
        cancel_at(self.polls, self.pace, &self.alarm, future).await
    }
}

/// Runs `scenario` for every number of polls until the operation in it completes, at each pace and
/// for each seed, in a runtime of its own each time. The scenario drives one operation by
/// [`Case::drive`], checks that nothing was lost, and returns whether the operation completed.
///
/// `name` is the operation: what the list of all public async functions is compared with.
pub(crate) fn sweep(
    name: &str,
    seeds: u64,
    runtime: impl Fn() -> Runtime,
    scenario: impl AsyncFn(Case) -> bool,
) {
    let mut most = 0;
    for seed in 0..seeds {
        for pace in [Pace::Asleep, Pace::Awake, Pace::Spurious] {
            for polls in 0.. {
                let case = Case {
                    seed,
                    polls,
                    pace,
                    alarm: Arc::default(),
                };
                let alarm = Arc::downgrade(&case.alarm);
                let runtime = runtime();
                let (done, kept) = runtime.block_on(async {
                    let done = scenario(case).await;
                    (done, alarm.strong_count())
                });
                assert_eq!(kept, 0, "{name} leaks wakers: {seed} {pace:?} {polls}");
                assert!(polls < FAR_TOO_MANY, "{name} never completes: {seed}");
                most = most.max(polls);
                if done {
                    break;
                }
            }
        }
    }
    println!("{name}: up to {most} polls");
}

/// One thread, and a clock that jumps when nothing is left to do.
pub(crate) fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("starts")
}

/// One thread, and the real clock, for real sockets.
pub(crate) fn real() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("starts")
}

/// Longer than any operation here takes, time-outs included.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls that no operation here needs.
const FAR_TOO_MANY: usize = 5_000;
