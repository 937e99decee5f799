//! Stop requests: Ctrl-C, SIGTERM, the end of standard input.

use std::io;
use std::process;

use tokio::sync::{oneshot, watch};

/// A stop request, shared by all clones.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stop that the first Ctrl-C or SIGTERM requests. The second signal exits the process at once,
    /// with status [`INTERRUPTED`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn on_signals() -> Self {
        let (request, requested) = watch::channel(false);
        // The handlers are installed before this returns: a later signal does not kill the process.
        let mut signals = Signals::new();
        tokio::spawn(async move {
            signals.next().await;
            request.send_replace(true);
            signals.next().await;
            process::exit(INTERRUPTED.into());
        });
        Self(requested)
    }

    /// A stop like that of [`on_signals`](Self::on_signals), which the end of standard input requests too.
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

    /// A stop that is never requested.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Whether the stop has been requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Completes when the stop is requested.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: if the stop is requested meanwhile, the next call completes at once.
    pub async fn requested(&self) {
        if self.0.clone().wait_for(|it| *it).await.is_err() {
            // The sender is gone, so that the stop is never requested.
            std::future::pending::<()>().await;
        }
    }
}

/// Handlers of SIGINT and SIGTERM, installed by [`Signals::new`].
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
            // Without handlers, the signals kill the process.
            return std::future::pending().await;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Ctrl-C, on systems without Unix signals.
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

/// Completes at the end of standard input.
///
/// A separate thread reads it: the runtime would wait for a blocking read of its own at shutdown, and
/// this read may never return.
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(closed);
    });
    let _ = wait.await;
}

/// Exit status after a signal, as shells report it for Ctrl-C: 128 + SIGINT.
pub const INTERRUPTED: u8 = 130;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_reaches_every_clone_and_persists() {
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
    async fn stop_that_never_comes_is_not_requested() {
        let stop = Stop::never();
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, stop.requested()).await;
        waiting.expect_err("is not requested");
    }
}
