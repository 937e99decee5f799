//! Counting the calls of a channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The calls of a channel, as a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Calls that have begun and not ended, streams included.
    pub open: u64,
    /// Open calls that have not been sent: there is no connection yet, or the server's limit of
    /// concurrent streams is reached. A number that stays above 0 calls for a second channel, or for a
    /// higher limit on the server.
    pub waiting: u64,
    /// Calls that have begun, ended ones included.
    pub started: u64,
    /// Calls that have ended with an error of the transport, from before the response to the end of
    /// its stream. Errors that the server sent do not count.
    pub failed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Calls {
    open: AtomicU64,
    waiting: AtomicU64,
    started: AtomicU64,
    failed: AtomicU64,
}

impl Calls {
    pub(super) fn stats(&self) -> ChannelStats {
        ChannelStats {
            open: self.open.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            started: self.started.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// A call that is counted as open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenCall {
    calls: Arc<Calls>,
}

impl OpenCall {
    pub(super) fn start(calls: &Arc<Calls>) -> Self {
        calls.started.fetch_add(1, Ordering::Relaxed);
        calls.open.fetch_add(1, Ordering::Relaxed);
        Self {
            calls: Arc::clone(calls),
        }
    }

    pub(super) fn failed(&self) {
        self.calls.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.calls.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call that is counted as waiting until this is dropped.
#[derive(Debug)]
pub(super) struct WaitingCall {
    calls: Arc<Calls>,
}

impl WaitingCall {
    pub(super) fn start(calls: &Arc<Calls>) -> Self {
        calls.waiting.fetch_add(1, Ordering::Relaxed);
        Self {
            calls: Arc::clone(calls),
        }
    }
}

impl Drop for WaitingCall {
    fn drop(&mut self) {
        self.calls.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
