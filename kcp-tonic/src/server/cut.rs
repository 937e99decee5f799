//! Ending the connections of a server whose tasks are tonic's.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::watch;

/// Ends all connections that hold a [`Cut`] of it.
#[derive(Debug)]
pub(super) struct Cutter(watch::Sender<bool>);

/// Tells a connection when to end.
pub(super) struct Cut(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Cutter {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn cut(&self) {
        self.0.send_replace(true);
    }

    /// For one connection. A dropped cutter ends nothing.
    pub(super) fn for_connection(&self) -> Cut {
        let mut cut = self.0.subscribe();
        Cut(Box::pin(async move {
            if cut.wait_for(|cut| *cut).await.is_err() {
                std::future::pending::<()>().await;
            }
        }))
    }
}

impl Cut {
    /// Ready with an error once the connection has to end.
    pub(super) fn poll<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.0.as_mut().poll(cx).map(|()| {
            let stopped = "the server has stopped, and its drain time-out has passed";
            Err(io::Error::new(io::ErrorKind::ConnectionAborted, stopped))
        })
    }
}

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cut").finish_non_exhaustive()
    }
}
