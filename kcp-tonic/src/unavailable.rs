//! Lost connections as `Code::Unavailable`.
//!
//! gRPC's retry policies retry what is "unavailable", but tonic reports an I/O error of a
//! connection as `Code::Unknown`.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower_layer::Layer;
use tower_service::Service;

/// The status of a failed call: `Unavailable` if the connection was lost, and what tonic makes of
/// the error otherwise.
///
/// The connection counts as lost if an [`io::Error`] among the error's sources has one of the
/// kinds `BrokenPipe`, `ConnectionReset`, `ConnectionAborted`, `ConnectionRefused`,
/// `NotConnected`, `TimedOut` and `UnexpectedEof`. A status that the server sent stays as it is.
#[must_use]
pub fn status_from_transport(error: Box<dyn Error + Send + Sync>) -> Status {
    let lost = lost_connection(&*error);
    let status = Status::from_error(error);
    match lost {
        // "Cancelled" is what hyper calls requests that were still waiting for the connection.
        Some(message) if matches!(status.code(), Code::Unknown | Code::Cancelled) => {
            unavailable(message, status)
        }
        _ => status,
    }
}

fn unavailable(message: String, cause: Status) -> Status {
    let mut status = Status::unavailable(message);
    status.set_source(Arc::new(cause));
    status
}

/// What the first I/O error that stands for a lost connection says.
fn lost_connection(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        // h2 does not list its I/O error as a source.
        let io = error
            .downcast_ref::<io::Error>()
            .or_else(|| error.downcast_ref::<h2::Error>()?.get_io());
        if let Some(io) = io.filter(|io| is_loss(io.kind())) {
            return Some(format!("connection lost: {io}"));
        }
        next = error.source();
    }
    None
}

fn is_loss(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
            | io::ErrorKind::UnexpectedEof
    )
}

/// Makes calls fail with `Code::Unavailable` when their connection was lost, at any point: before
/// the response and in the middle of a stream.
///
/// ```no_run
/// # fn run(channel: tonic::transport::Channel) {
/// use tower::Layer;
///
/// let channel = kcp_tonic::UnavailableLayer::new().layer(channel);
/// // GreeterClient::new(channel)
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct UnavailableLayer;

impl UnavailableLayer {
    /// The layer; it has no settings.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for UnavailableLayer {
    type Service = Unavailable<S>;

    fn layer(&self, inner: S) -> Unavailable<S> {
        Unavailable { inner }
    }
}

/// The service of [`UnavailableLayer`].
#[derive(Clone, Debug)]
pub struct Unavailable<S> {
    inner: S,
}

impl<S, Q, B> Service<Request<Q>> for Unavailable<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<UnavailableBody<B>>;
    type Error = Status;
    type Future = UnavailableFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        let ready = self.inner.poll_ready(cx);
        ready.map_err(|error| status_from_transport(error.into()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        UnavailableFuture {
            inner: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of [`Unavailable`].
    #[derive(Debug)]
    pub struct UnavailableFuture<F> {
        #[pin]
        inner: F,
    }
}

impl<F, B, E> Future for UnavailableFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = Result<Response<UnavailableBody<B>>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().inner.poll(cx));
        Poll::Ready(match response {
            Ok(response) => Ok(response.map(|inner| UnavailableBody { inner })),
            Err(error) => Err(status_from_transport(error.into())),
        })
    }
}

pin_project! {
    /// A response body of [`Unavailable`].
    #[derive(Debug)]
    pub struct UnavailableBody<B> {
        #[pin]
        inner: B,
    }
}

impl<B> Body for UnavailableBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(self.project().inner.poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| status_from_transport(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with an I/O error below it, as tonic and hyper wrap them.
    #[derive(Debug)]
    struct Transport(io::Error);

    impl std::fmt::Display for Transport {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("transport error")
        }
    }

    impl Error for Transport {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn status_of(kind: io::ErrorKind) -> Status {
        status_from_transport(Box::new(Transport(io::Error::new(kind, "gone"))))
    }

    #[test]
    fn lost_connections_are_unavailable() {
        for kind in [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::TimedOut,
            io::ErrorKind::UnexpectedEof,
        ] {
            let status = status_of(kind);
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(status.message(), "connection lost: gone");
            assert!(status.source().is_some());
        }
    }

    #[test]
    fn other_errors_keep_their_code() {
        let status = status_of(io::ErrorKind::InvalidData);
        assert_eq!(status.code(), Code::Unknown);
        let status = status_from_transport(Box::new(Status::not_found("x")));
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "x");
    }
}
