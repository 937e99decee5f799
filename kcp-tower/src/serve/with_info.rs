//! What a server adds to requests.

use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_service::Service;

use crate::KcpConnectInfo;
use crate::limits::{Counted, OpenRequests};

/// Puts the connection's info into each request, and counts the requests.
#[derive(Clone)]
pub(super) struct WithInfo<S> {
    service: S,
    info: KcpConnectInfo,
    extensions: Extensions,
    requests: OpenRequests,
}

impl<S> WithInfo<S> {
    pub(super) fn new(
        service: S,
        info: KcpConnectInfo,
        extensions: Extensions,
        requests: &OpenRequests,
    ) -> Self {
        Self {
            service,
            info,
            extensions,
            requests: requests.clone(),
        }
    }
}

impl<S, B, R> Service<Request<B>> for WithInfo<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<Counted<R>>;
    type Error = S::Error;
    type Future = Counted<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.info.clone());
        if !self.extensions.is_empty() {
            extensions.extend(self.extensions.clone());
        }
        Counted::new(self.service.call(request), self.requests.begin())
    }
}
