//! Requests in flight to one endpoint, and how long they take.

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;
use tower::load::peak_ewma::{Cost, Handle};
use tower::load::{Load, PeakEwma, TrackCompletion};
use tower_service::Service;
use tracing::debug;

use super::counts::EndpointCounts;
use super::failure::{Ejection, Health, Standing, Verdict};
use super::protocol::Measured;
use super::sync::{lock, now};

/// The requests of one endpoint. It stays the same when discovery changes the endpoint's description.
pub(super) struct Track {
    pub(super) id: u64,
    in_flight: AtomicUsize,
    meter: Mutex<PeakEwma<Nothing, KeepHandle>>,
    health: Mutex<Health>,
    pub(super) counts: EndpointCounts,
}

impl Track {
    pub(super) fn new(id: u64) -> Arc<Self> {
        let decay = DECAY.as_nanos() as f64;
        Arc::new(Self {
            id,
            in_flight: AtomicUsize::new(0),
            meter: Mutex::new(PeakEwma::new(Nothing, DEFAULT_RTT, decay, KeepHandle)),
            health: Mutex::default(),
            counts: EndpointCounts::default(),
        })
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Tower's estimate: peak latency times the requests in flight.
    pub(super) fn load(&self) -> Cost {
        lock(&self.meter).load()
    }

    /// Records the verdict on a request that began then.
    pub(super) fn judge(&self, ejection: &Ejection, verdict: Verdict, began: Instant) {
        self.counts.judge(verdict);
        let mut health = lock(&self.health);
        if matches!(verdict, Verdict::Success | Verdict::Rejected) {
            health.on_success(now());
            return;
        }
        // Those that are late are so on their own.
        let began = match verdict {
            Verdict::Late => now(),
            _ => began,
        };
        if verdict.is_failure() && health.on_failure(ejection, began, now()) {
            debug!(endpoint = self.id, "ejected after failures");
        }
    }

    pub(super) fn ejections(&self) -> u64 {
        lock(&self.health).total
    }

    pub(super) fn standing(&self) -> Standing {
        lock(&self.health).standing(now())
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn start(self: &Arc<Self>) -> RequestGuard {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.counts.start();
        RequestGuard {
            latency: measure(&self.meter),
            track: Arc::clone(self),
            connection: None,
            keep: None,
        }
    }
}

/// A request in flight, which ends when this is dropped. See
/// [`Protocol::track`](super::Protocol::track).
pub struct RequestGuard {
    track: Arc<Track>,
    /// Adds the latency to the estimate when it is dropped.
    #[allow(dead_code, reason = "used by being dropped")]
    latency: Option<Handle>,
    connection: Option<Arc<AtomicUsize>>,
    /// Keeps the connections of a removed endpoint until its last request has ended.
    #[allow(dead_code, reason = "used by being dropped")]
    keep: Option<Arc<dyn Measured>>,
}

impl RequestGuard {
    /// Counts the request as one of a connection too.
    pub(super) fn on_connection(mut self, open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        self.connection = Some(Arc::clone(open));
        self
    }

    pub(super) fn keeping(mut self, core: Arc<dyn Measured>) -> Self {
        self.keep = Some(core);
        self
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.track.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(open) = &self.connection {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for RequestGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestGuard").finish_non_exhaustive()
    }
}

/// A handle of tower's meter. Tower gives it to the future of a wrapped service; the wrapped service
/// here is an empty one, because the requests themselves may take several connections.
fn measure(meter: &Mutex<PeakEwma<Nothing, KeepHandle>>) -> Option<Handle> {
    let called = lock(meter).call(());
    match pin!(called).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(handle)) => Some(handle),
        Poll::Ready(Err(_)) | Poll::Pending => None,
    }
}

/// A service that answers nothing, at once.
struct Nothing;

impl Service<()> for Nothing {
    type Response = ();
    type Error = Infallible;
    type Future = Ready<Result<(), Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

/// Answers with tower's handle in place of the response.
#[derive(Clone)]
struct KeepHandle;

impl TrackCompletion<Handle, ()> for KeepHandle {
    type Output = Handle;

    fn track_completion(&self, handle: Handle, (): ()) -> Handle {
        handle
    }
}

/// The latency that an endpoint is assumed to have before its first answer: that of a long path, so
/// that a new endpoint is tried and not flooded.
const DEFAULT_RTT: Duration = Duration::from_millis(100);

/// Over this time an estimate decays, as in Finagle and Linkerd.
const DECAY: Duration = Duration::from_secs(10);
