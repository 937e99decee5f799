//! A channel as a service, and its calls.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use kcp_tower::balance;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service;

use super::resend::Resending;
use super::set::{Grpc, deadline};
use super::status::{answer_at_deadline, at_deadline, status_of};
use super::{KcpChannel, Route};
use crate::calls::{OpenCall, WaitingCall, code_of, now};

impl Service<Request<Body>> for KcpChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = CallFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        match &mut self.route {
            Route::One { channel, .. } => {
                let ready = channel.poll_ready(cx);
                ready.map_err(|error| status_of(Box::new(error)))
            }
            Route::Set(balance) => balance.poll_ready(cx),
        }
    }

    fn call(&mut self, request: Request<Body>) -> CallFuture {
        let timeout = deadline::get(request.headers());
        let deadline = timeout.and_then(|timeout| now().checked_add(timeout));
        let all_tries = self.timeout().and_then(|limit| now().checked_add(limit));
        let all_tries = deadline.into_iter().chain(all_tries).min();
        let open = OpenCall::start(&self.calls);
        let waiting = Some(WaitingCall::start(&self.calls));
        let request = request.map(|inner| Body::new(RequestBody { inner, waiting }));
        let inner = match &mut self.route {
            Route::One { channel, .. } => Inner::One {
                inner: Resending::send(channel, request, all_tries),
            },
            Route::Set(balance) => Inner::Set {
                inner: balance.call(request),
            },
        };
        CallFuture {
            inner,
            open: Some(open),
            deadline,
        }
    }
}

pin_project! {
    /// A call of [`KcpChannel`] that waits for the response.
    #[derive(Debug)]
    pub struct CallFuture {
        #[pin]
        inner: Inner,
        open: Option<OpenCall>,
        deadline: Option<Instant>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = InnerProjection]
    enum Inner {
        One { #[pin] inner: Resending },
        Set { #[pin] inner: balance::ResponseFuture<Grpc> },
    }
}

impl Future for CallFuture {
    type Output = Result<Response<Body>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = match this.inner.project() {
            InnerProjection::One { inner } => ready!(inner.poll(cx)),
            InnerProjection::Set { inner } => ready!(inner.poll(cx)),
        };
        let (mut open, deadline) = (this.open.take(), *this.deadline);
        Poll::Ready(match response {
            Ok(response) => {
                let response = answer_at_deadline(response, deadline);
                if let (Some(open), Some(code)) = (&mut open, code_of(response.headers())) {
                    open.ends_with(code);
                }
                Ok(response.map(|inner| {
                    Body::new(ResponseBody {
                        inner,
                        open,
                        deadline,
                    })
                }))
            }
            Err(status) => {
                let status = at_deadline(status, deadline);
                fail(open, &status);
                Err(status)
            }
        })
    }
}

/// The body of a request, which is read for the first time once the call has its stream.
#[derive(Debug)]
struct RequestBody {
    inner: Body,
    waiting: Option<WaitingCall>,
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        this.waiting = None;
        Pin::new(&mut this.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response, with the codes that gRPC specifies for its errors.
#[derive(Debug)]
struct ResponseBody {
    inner: Body,
    open: Option<OpenCall>,
    deadline: Option<Instant>,
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    end(this.open.take(), code_of(trailers));
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let status = at_deadline(status_of(Box::new(error)), this.deadline);
                fail(this.open.take(), &status);
                Some(Err(status))
            }
            None => {
                end(this.open.take(), None);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Ends a call with the code at the end of its response.
fn end(open: Option<OpenCall>, code: Option<Code>) {
    if let Some(mut open) = open {
        open.ends_with(code.unwrap_or(Code::Unknown));
    }
}

/// Ends a call with an error of the transport.
fn fail(open: Option<OpenCall>, status: &Status) {
    if let Some(mut open) = open {
        open.ends_with(status.code());
        open.failed();
    }
}
