//! What a server adds to requests.

use std::task::{Context, Poll};

use http::{Extensions, Request};
use tower_service::Service;

use crate::KcpConnectInfo;

/// Puts the connection's info into each request.
#[derive(Clone)]
pub(super) struct WithInfo<S> {
    service: S,
    info: KcpConnectInfo,
    extensions: Extensions,
}

impl<S> WithInfo<S> {
    pub(super) fn new(service: S, info: KcpConnectInfo, extensions: Extensions) -> Self {
        Self {
            service,
            info,
            extensions,
        }
    }
}

impl<S, B> Service<Request<B>> for WithInfo<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let extensions = request.extensions_mut();
        extensions.insert(self.info.clone());
        if !self.extensions.is_empty() {
            extensions.extend(self.extensions.clone());
        }
        self.service.call(request)
    }
}
