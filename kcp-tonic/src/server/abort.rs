//! Ending the connections of a server whose tasks are tonic's.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;

/// Ends all connections that hold an [`AbortSignal`] of it: when called, or when dropped.
#[derive(Debug)]
pub(super) struct AbortHandle(watch::Sender<bool>);

/// The signal to end a connection at once.
pub(super) struct AbortSignal(Pin<Box<dyn Future<Output = ()> + Send>>);

impl AbortHandle {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn abort(&self) {
        self.0.send_replace(true);
    }

    /// For one connection.
    pub(super) fn signal(&self) -> AbortSignal {
        self.signal_or(std::future::pending())
    }

    /// For one connection, which may also end by itself.
    pub(super) fn signal_or(&self, end: impl Future<Output = ()> + Send + 'static) -> AbortSignal {
        let mut aborted = self.0.subscribe();
        AbortSignal(Box::pin(async move {
            tokio::select! {
                // An error means that the handle was dropped.
                _ = aborted.wait_for(|aborted| *aborted) => {}
                () = end => {}
            }
        }))
    }
}

impl AbortSignal {
    /// Ready with an error once the connection has to end.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.0.as_mut().poll(cx).map(|()| {
            let stopped = "the server ends the connection, and waits for its calls no longer";
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, stopped))
        })
    }
}

impl fmt::Debug for AbortSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortSignal").finish_non_exhaustive()
    }
}
