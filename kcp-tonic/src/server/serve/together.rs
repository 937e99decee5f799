//! All connections in one server of tonic.

use std::future::pending;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};
use kcp_tower::{BoxError, KcpListener};
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::service::Routes;
use tower_layer::Layer;
use tower_service::Service;

use super::{Serve, close};
use crate::server::abort::AbortHandle;
use crate::server::{KcpIncoming, KcpServerIo};

impl<L, F> Serve<L, F> {
    pub(super) async fn run_together<S, B>(self) -> io::Result<()>
    where
        L: Layer<Routes, Service = S>,
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError> + Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        F: Future<Output = ()>,
    {
        let handle = Arc::new(AbortHandle::new());
        let listening = Arc::new(Mutex::new(Listening {
            incoming: Some(self.incoming),
            listener: None,
            failed: None,
        }));
        let connections = Connections {
            listening: Arc::clone(&listening),
            handle: Arc::clone(&handle),
        };
        let (stopping, stopped) = oneshot::channel();
        let stop = Arc::clone(&listening);
        let signal = async move {
            self.signal.await;
            lock(&stop).stop_accepting();
            // The receiver lives as long as the server runs.
            let _ = stopping.send(());
        };
        let serving = self
            .router
            .serve_with_incoming_shutdown(connections, signal);
        let mut serving = pin!(serving);
        let late = async {
            if stopped.await.is_err() {
                // The server ends without a signal.
                pending::<()>().await;
            }
            tokio::time::sleep(self.drain_timeout.unwrap_or(Duration::MAX)).await;
        };
        let mut late = pin!(late);
        let (ended, late) = tokio::select! {
            ended = &mut serving => (ended, Some(late)),
            () = &mut late => {
                tracing::warn!("connections closed after the drain time-out");
                handle.abort();
                (serving.await, None)
            }
        };
        let listener = lock(&listening).take_listener();
        if let Some(listener) = listener {
            close(&listener, late).await;
        }
        ended.map_err(io::Error::other)?;
        let failed = lock(&listening).failed.take();
        failed.map_or(Ok(()), Err)
    }
}

/// The listener of a server, which tonic and the end of the server share.
struct Listening {
    /// `None` when no connection is accepted any more.
    incoming: Option<KcpIncoming>,
    /// The listener of a server that has stopped, unless another server has it.
    listener: Option<KcpListener>,
    /// tonic only logs errors of its stream of connections.
    failed: Option<io::Error>,
}

impl Listening {
    fn stop_accepting(&mut self) {
        let incoming = self.incoming.take();
        self.listener = incoming.and_then(KcpIncoming::into_inner);
        if let Some(listener) = &self.listener {
            listener.stop_accepting();
        }
    }

    /// The listener, if it ends with this server.
    fn take_listener(&mut self) -> Option<KcpListener> {
        let incoming = self.incoming.take();
        let listener = incoming.and_then(KcpIncoming::into_inner);
        listener.or_else(|| self.listener.take())
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<KcpServerIo>> {
        let Some(incoming) = self.incoming.as_mut() else {
            return Poll::Ready(None);
        };
        Pin::new(incoming).poll_next(cx).map(|item| match item? {
            Ok(io) => Some(io),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        })
    }
}

fn lock(listening: &Mutex<Listening>) -> MutexGuard<'_, Listening> {
    listening.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connections of a server, which can all be ended.
struct Connections {
    listening: Arc<Mutex<Listening>>,
    handle: Arc<AbortHandle>,
}

impl Stream for Connections {
    type Item = io::Result<KcpServerIo>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let accepted = lock(&self.listening).poll_accept(cx);
        accepted.map(|io| Some(Ok(io?.with_abort(self.handle.signal()))))
    }
}
