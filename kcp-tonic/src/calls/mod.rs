//! Counting the calls of a channel or a server.

mod codes;
#[cfg(feature = "metrics")]
pub(crate) mod publish;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Code;

pub use self::codes::CodeCounts;

/// The calls of a channel or a server.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    open: AtomicU64,
    started: AtomicU64,
    codes: [AtomicU64; CodeCounts::CODES],
    micros: AtomicU64,
    /// Those of a channel that have not been sent.
    #[cfg(feature = "channel")]
    waiting: AtomicU64,
    /// Those of a channel that have ended with an error of the transport.
    #[cfg(feature = "channel")]
    failed: AtomicU64,
}

impl Calls {
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    pub(crate) fn codes(&self) -> CodeCounts {
        CodeCounts::new(self.codes.each_ref().map(|it| it.load(Ordering::Relaxed)))
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }

    #[cfg(feature = "channel")]
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    #[cfg(feature = "channel")]
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// A call that is counted as open until this is dropped, and then by its code.
#[derive(Debug)]
pub(crate) struct OpenCall {
    calls: Arc<Calls>,
    start: Instant,
    code: Option<Code>,
}

impl OpenCall {
    pub(crate) fn start(calls: &Arc<Calls>) -> Self {
        calls.started.fetch_add(1, Ordering::Relaxed);
        calls.open.fetch_add(1, Ordering::Relaxed);
        Self {
            calls: Arc::clone(calls),
            start: now(),
            code: None,
        }
    }

    /// The code that it ends with. A call that is dropped without one is `Cancelled`.
    pub(crate) fn ends_with(&mut self, code: Code) {
        self.code = Some(code);
    }

    #[cfg(feature = "channel")]
    pub(crate) fn failed(&self) {
        self.calls.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let calls = &self.calls;
        let code = CodeCounts::place(self.code.unwrap_or(Code::Cancelled));
        let micros = u64::try_from((now() - self.start).as_micros()).unwrap_or(u64::MAX);
        calls.codes[code].fetch_add(1, Ordering::Relaxed);
        calls.micros.fetch_add(micros, Ordering::Relaxed);
        calls.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that is counted as waiting until this is dropped.
#[cfg(feature = "channel")]
#[derive(Debug)]
pub(crate) struct WaitingCall {
    calls: Arc<Calls>,
}

#[cfg(feature = "channel")]
impl WaitingCall {
    pub(crate) fn start(calls: &Arc<Calls>) -> Self {
        calls.waiting.fetch_add(1, Ordering::Relaxed);
        Self {
            calls: Arc::clone(calls),
        }
    }
}

#[cfg(feature = "channel")]
impl Drop for WaitingCall {
    fn drop(&mut self) {
        self.calls.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The code in the head of a response without a body, or in the trailers.
pub(crate) fn code_of(headers: &HeaderMap) -> Option<Code> {
    let code = headers.get("grpc-status")?;
    Some(Code::from_bytes(code.as_bytes()))
}

/// The time of deadlines and durations.
#[allow(
    clippy::disallowed_methods,
    reason = "calls are timed in tokio's time, as tonic does; the protocol is not involved"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
