//! Accepting connections, and the end of a server.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use kcp_transport::net::KcpListener;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower_service::Service;

use super::Serve;
use super::connection::Ending;
use crate::limits::Expiry;
use crate::{BoxError, KcpConnectInfo};

impl<M, F, I> Serve<M, F, I> {
    pub(super) async fn run<S, B>(self) -> io::Result<()>
    where
        M: Service<KcpConnectInfo, Response = S>,
        M::Future: Send + 'static,
        M::Error: Into<BoxError>,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
        F: Future<Output = ()>,
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self {
            mut incoming,
            mut make_service,
            server,
            handshake,
            limits,
            signal,
            drain_timeout,
        } = self;
        let mut signal = pin!(signal);
        let (stop, stopping) = watch::channel(());
        let mut connections = JoinSet::new();
        let most = limits.max_connections().unwrap_or(usize::MAX);

        let ended = loop {
            let io = tokio::select! {
                () = &mut signal => break Ok(()),
                Some(_) = connections.join_next() => continue,
                io = poll_fn(|cx| incoming.poll_accept(cx)), if connections.len() < most => match io {
                    Some(Ok(io)) => io,
                    Some(Err(error)) => break Err(error),
                    None => break Ok(()),
                },
            };
            let ready = tokio::select! {
                () = &mut signal => break Ok(()),
                ready = poll_fn(|cx| make_service.poll_ready(cx)) => ready,
            };
            if let Err(error) = ready {
                break Err(io::Error::other(error));
            }
            let info = io.info();
            let ending = Ending {
                stopping: stopping.clone(),
                expiry: Expiry::new(&limits, info.conversation()),
            };
            let service = make_service.call(info);
            let service = async { service.await.map_err(Into::into) };
            let server = server.clone();
            connections.spawn(server.connection(io, handshake.clone(), service, ending));
        };

        // First of all, a client that connects from now on is refused, and does not wait for a
        // server that never answers; or another server has the listener, and accepts.
        let listener = incoming.into_inner();
        if let Some(listener) = &listener {
            listener.stop_accepting();
        }
        drop(stop);
        drain(listener.as_ref(), connections, drain_timeout).await;
        ended
    }
}

/// Waits for requests that have begun, then for connections that were upgraded and for what is on its
/// way; ends what is left after the time-out, and closes the listener unless another server has it.
async fn drain(listener: Option<&KcpListener>, mut open: JoinSet<()>, timeout: Option<Duration>) {
    let mut late = pin!(tokio::time::sleep(timeout.unwrap_or(Duration::MAX)));
    loop {
        tokio::select! {
            ended = open.join_next() => if ended.is_none() {
                break;
            },
            () = &mut late => {
                tracing::warn!(connections = open.len(), "closed after the drain time-out");
                break;
            }
        }
    }
    open.shutdown().await;
    let Some(listener) = listener else {
        return;
    };
    tokio::select! {
        () = listener.shutdown(Duration::MAX) => {}
        () = &mut late => listener.shutdown(Duration::ZERO).await,
    }
}
