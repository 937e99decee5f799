//! A server of tonic for each connection, so that each can end at a time of its own.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::{Request, Response};
use kcp_tower::{BoxError, Expiry};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::body::Body;
use tonic::service::Routes;
use tower_layer::Layer;
use tower_service::Service;

use super::{Serve, close};
use crate::server::abort::AbortHandle;
use crate::server::{KcpIncoming, KcpServerIo};

impl<L, F> Serve<L, F> {
    pub(super) async fn run_each<S, B>(self) -> io::Result<()>
    where
        L: Layer<Routes, Service = S> + Clone + Send + 'static,
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError> + Send,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        F: Future<Output = ()>,
    {
        let Self {
            mut incoming,
            router,
            limits,
            signal,
            drain_timeout,
        } = self;
        let mut signal = pin!(signal);
        let handle = Arc::new(AbortHandle::new());
        let (stop, stopping) = watch::channel(());
        let most = limits.max_connections().unwrap_or(usize::MAX);
        let mut open = JoinSet::new();
        let ended = loop {
            let io = tokio::select! {
                () = &mut signal => break Ok(()),
                Some(_) = open.join_next() => continue,
                io = next(&mut incoming), if open.len() < most => match io {
                    Some(Ok(io)) => io,
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
            };
            let expiry = Expiry::new(&limits, io.get_ref().info().conversation());
            let (io, closed) = io.counted(expiry.requests());
            let io = io.with_abort(handle.signal_or(expiry.closing()));
            let due = expiry.due();
            let mut stopping = stopping.clone();
            let ending = async move {
                tokio::select! {
                    _ = stopping.changed() => {}
                    () = due => {}
                    _ = closed => {}
                }
            };
            let serving = router
                .clone()
                .serve_with_incoming_shutdown(Single(Some(io)), ending);
            open.spawn(serving);
        };
        let listener = incoming.into_inner();
        if let Some(listener) = &listener {
            listener.stop_accepting();
        }
        drop(stop);
        let late = tokio::time::sleep(drain_timeout.unwrap_or(Duration::MAX));
        let mut late = pin!(late);
        let in_time = tokio::select! {
            () = all(&mut open) => true,
            () = &mut late => {
                tracing::warn!(connections = open.len(), "closed after the drain time-out");
                handle.abort();
                all(&mut open).await;
                false
            }
        };
        if let Some(listener) = listener {
            close(&listener, in_time.then_some(late)).await;
        }
        ended
    }
}

async fn next(incoming: &mut KcpIncoming) -> Option<io::Result<KcpServerIo>> {
    poll_fn(|cx| Pin::new(&mut *incoming).poll_next(cx)).await
}

async fn all<T: 'static>(open: &mut JoinSet<T>) {
    while open.join_next().await.is_some() {}
}

/// One connection, and then none, without an end: tonic stops at the end of a stream.
struct Single(Option<KcpServerIo>);

impl Stream for Single {
    type Item = io::Result<KcpServerIo>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.0.take() {
            Some(io) => Poll::Ready(Some(Ok(io))),
            None => Poll::Pending,
        }
    }
}
