//! Requests to stop: Ctrl-C, SIGTERM, the end of standard input.

use std::io;
use std::process;

use tokio::sync::{oneshot, watch};

/// A request to stop, which all clones see.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Is requested by the first Ctrl-C or SIGTERM. The second one ends the process at once, with
    /// status [`INTERRUPTED`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn on_signals() -> Self {
        let (request, requested) = watch::channel(false);
        // Before this returns, so that no signal after it ends the process.
        let mut signals = Signals::new();
        tokio::spawn(async move {
            signals.next().await;
            request.send_replace(true);
            signals.next().await;
            process::exit(INTERRUPTED.into());
        });
        Self(requested)
    }

    /// As [`on_signals`](Self::on_signals), and also requested by the end of standard input.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn on_signals_or_stdin() -> Self {
        let signalled = Self::on_signals();
        let (request, requested) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! {
                () = signalled.requested() => {}
                () = stdin_closed() => {}
            }
            request.send_replace(true);
        });
        Self(requested)
    }

    /// Is never requested.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Whether it has been requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when it is requested.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: a later one completes at once if it was requested meanwhile.
    pub async fn requested(&self) {
        if self.0.clone().wait_for(|it| *it).await.is_err() {
            // Nothing is left that could request it.
            std::future::pending::<()>().await;
        }
    }
}

/// Both signals, from when it is made.
#[cfg(unix)]
struct Signals(Option<[tokio::signal::unix::Signal; 2]>);

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        let both = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let [Ok(interrupt), Ok(terminate)] = both else {
            return Self(None);
        };
        Self(Some([interrupt, terminate]))
    }

    async fn next(&mut self) {
        let Some([interrupt, terminate]) = &mut self.0 else {
            // Without a handler the signals end the process.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Ctrl-C, where there are no signals.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A thread of its own reads standard input: the runtime waits for its own blocking reads before it
/// ends, and this one may never return.
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(closed);
    });
    let _ = wait.await;
}

/// Exit status after a signal: that of a shell's command that Ctrl-C has ended.
pub const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_is_seen_by_every_clone_and_stays() {
        let (request, requested) = watch::channel(false);
        let stop = Stop(requested);
        let clone = stop.clone();
        assert!(!clone.is_requested());
        request.send_replace(true);
        drop(request);
        assert!(clone.is_requested());
        stop.requested().await;
        clone.requested().await;
    }

    #[tokio::test]
    async fn never_means_never() {
        let stop = Stop::never();
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, stop.requested()).await;
        waiting.expect_err("is not requested");
    }
}
