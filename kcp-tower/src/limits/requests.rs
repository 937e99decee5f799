//! The open requests of a connection.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::watch;

/// The number of open requests of one connection. Clones count together.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct OpenRequests {
    /// `None` if nothing depends on the number.
    open: Option<Arc<watch::Sender<usize>>>,
}

/// One open request; counted until it is dropped.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct OpenRequest {
    requests: OpenRequests,
}

impl OpenRequests {
    pub(super) fn new(counting: bool) -> Self {
        let open = counting.then(|| Arc::new(watch::Sender::new(0)));
        Self { open }
    }

    /// Counts a request.
    #[must_use]
    pub fn begin(&self) -> OpenRequest {
        if let Some(open) = &self.open {
            open.send_modify(|open| *open += 1);
        }
        OpenRequest {
            requests: self.clone(),
        }
    }

    /// Completes once no request was open for that time.
    pub(super) async fn idle_for(self, time: Option<Duration>) {
        let (Some(open), Some(time)) = (self.open, time) else {
            return pending().await;
        };
        let mut open = open.subscribe();
        loop {
            // Not `wait_for`: a request that begins and ends between two polls counts too.
            let idle = *open.borrow_and_update() == 0;
            tokio::select! {
                changed = open.changed() => if changed.is_err() {
                    return pending().await;
                },
                () = tokio::time::sleep(time), if idle => return,
            }
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(open) = &self.requests.open {
            open.send_modify(|open| *open -= 1);
        }
    }
}

pin_project_lite::pin_project! {
    /// The future of a response, or its body, whose request is open until it is dropped.
    #[doc(hidden)]
    #[derive(Debug)]
    pub struct Counted<T> {
        #[pin]
        inner: T,
        request: Option<OpenRequest>,
    }
}

impl<T> Counted<T> {
    pub fn new(inner: T, request: OpenRequest) -> Self {
        Self {
            inner,
            request: Some(request),
        }
    }
}

impl<F, B, E> Future for Counted<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Counted<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        let request = this.request.take();
        Poll::Ready(response.map(|response| response.map(|inner| Counted { inner, request })))
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
