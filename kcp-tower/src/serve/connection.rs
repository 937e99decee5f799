//! Serving one connection.

use std::pin::pin;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tower_service::Service;

use super::handshake::{Established, Handshake};
use super::http1_only::Http1Only;
use super::with_info::WithInfo;
use crate::http2::{MAX_CONCURRENT_STREAMS, MAX_PENDING_RESET_STREAMS, Windows};
use crate::limits::Expiry;
use crate::{BoxError, KcpIo};

/// The HTTP settings of all connections.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) builder: auto::Builder<TokioExecutor>,
    pub(super) version: Version,
}

#[derive(Clone, Copy)]
pub(super) enum Version {
    Any,
    Http1,
    Http2,
}

/// How a connection learns that it has to end.
pub(super) struct Ending {
    /// Closed when the server stops.
    pub(super) stopping: watch::Receiver<()>,
    /// The connection's own limits.
    pub(super) expiry: Expiry,
}

impl Server {
    pub(super) fn new(windows: Windows) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .enable_connect_protocol()
            .adaptive_window(false)
            .initial_stream_window_size(windows.stream)
            .initial_connection_window_size(windows.connection)
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .max_pending_accept_reset_streams(MAX_PENDING_RESET_STREAMS);
        Self {
            builder,
            version: Version::Any,
        }
    }

    pub(super) async fn connection<I, S, B>(
        self,
        io: KcpIo,
        handshake: Handshake<I>,
        service: impl Future<Output = Result<S, BoxError>>,
        ending: Ending,
    ) where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let info = io.info();
        let peer = info.peer_addr();
        let mut stopping = ending.stopping.clone();
        let ready = async {
            let established = handshake.run(io).await?;
            Ok::<_, BoxError>((established, service.await?))
        };
        let ready = tokio::select! {
            ready = ready => ready,
            // No request has begun, so none is lost.
            _ = stopping.changed() => return,
        };
        let ended = match ready {
            Ok((Established { io, extensions }, service)) => {
                let requests = ending.expiry.requests();
                let service = WithInfo::new(service, info, extensions, requests);
                self.http(TokioIo::new(io), service, ending).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, error, "connection ended");
        }
    }

    async fn http<I, S, B>(
        self,
        io: TokioIo<I>,
        service: WithInfo<S>,
        ending: Ending,
    ) -> Result<(), BoxError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let service = TowerToHyperService::new(service);
        let Self { builder, version } = self;
        match version {
            Version::Any => {
                let connection = builder.serve_connection_with_upgrades(io, service);
                ending.run(connection).await
            }
            // The form with upgrades looks at the first bytes, whatever the builder is set to.
            Version::Http1 => {
                let io = Http1Only::new(io);
                let connection = builder.serve_connection_with_upgrades(io, service);
                ending.run(connection).await
            }
            // Upgrades of HTTP/2 are streams of the connection, and need no other form.
            Version::Http2 => {
                let builder = builder.http2_only();
                ending.run(builder.serve_connection(io, service)).await
            }
        }
    }
}

impl Ending {
    /// Runs a connection, and ends it in good order once its time is over.
    async fn run<C, E>(mut self, connection: C) -> Result<(), BoxError>
    where
        C: GracefulConnection<Error = E> + Future<Output = Result<(), E>>,
        E: Into<BoxError>,
    {
        let due = self.expiry.due();
        let mut closing = pin!(self.expiry.closing());
        let mut connection = pin!(connection);
        tokio::select! {
            ended = &mut connection => return ended.map_err(Into::into),
            _ = self.stopping.changed() => {}
            () = due => {}
            // Possible only without any grace.
            () = &mut closing => return Err(TOO_OLD.into()),
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = &mut connection => ended.map_err(Into::into),
            () = closing => Err(TOO_OLD.into()),
        }
    }
}

const TOO_OLD: &str =
    "the connection has reached its greatest age, and requests did not finish in time";
