//! A layer that returns metadata of requests, as the case `custom_metadata` expects of servers: one header in the
//! response's headers, one in its trailers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use tonic::body::Body as TonicBody;
use tower_layer::Layer;
use tower_service::Service;

use super::{ECHO_HEADER, ECHO_TRAILER};

#[derive(Clone, Copy, Debug)]
pub(super) struct EchoMetadataLayer;

impl<S> Layer<S> for EchoMetadataLayer {
    type Service = EchoMetadata<S>;

    fn layer(&self, inner: S) -> EchoMetadata<S> {
        EchoMetadata { inner }
    }
}

#[derive(Clone, Debug)]
pub(super) struct EchoMetadata<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for EchoMetadata<S>
where
    S: Service<Request<B>, Response = Response<TonicBody>>,
    S::Future: Send + 'static,
{
    type Response = Response<TonicBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let header = request.headers().get(ECHO_HEADER).cloned();
        let trailer = request.headers().get(ECHO_TRAILER).cloned();
        let response = self.inner.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            if let Some(value) = header {
                response.headers_mut().insert(ECHO_HEADER, value);
            }
            let Some(value) = trailer else {
                return Ok(response);
            };
            Ok(response.map(|body| TonicBody::new(WithTrailer { body, value })))
        })
    }
}

/// A body that adds a field to the trailers of another one.
struct WithTrailer {
    body: TonicBody,
    value: HeaderValue,
}

impl Body for WithTrailer {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let value = &self.value;
        let add = |mut trailers: HeaderMap| {
            trailers.insert(ECHO_TRAILER, value.clone());
            trailers
        };
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_trailers() {
                Ok(trailers) => Frame::trailers(add(trailers)),
                Err(frame) => frame,
            })
        }))
    }
}
