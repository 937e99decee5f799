//! Calls to one server, which are sent again if it certainly has not processed them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use kcp_tower::balance::Attempts;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Channel, channel};
use tower_service::Service;
use tracing::debug;

use super::set::judge::is_refused;
use super::set::{RETRY_BUFFER, replay};
use super::status::status_of;
use crate::calls::now;

pin_project! {
    /// A call that waits for the response.
    ///
    /// A server that closes a connection announces it by GOAWAY, and a call that is begun while that is
    /// on its way meets a closed connection. Such a call is sent again on the next connection, unless
    /// more than [`RETRY_BUFFER`] bytes of it have been read.
    pub(super) struct Resending {
        channel: Channel,
        call: replay::Calls,
        deadline: Option<Instant>,
        tries: u32,
        #[pin]
        state: State,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State {
        /// Waits for room in the channel.
        Waiting { request: Option<Request<Body>> },
        Sent { #[pin] response: channel::ResponseFuture },
    }
}

impl Resending {
    /// Sends a call over a channel that is ready.
    pub(super) fn send(
        channel: &mut Channel,
        request: Request<Body>,
        deadline: Option<Instant>,
    ) -> Self {
        let mut call = replay::Calls::replayed(request, RETRY_BUFFER);
        // The place that was reserved belongs to this clone.
        let unready = channel.clone();
        let mut channel = std::mem::replace(channel, unready);
        let state = match call.next(None, false) {
            Some(request) => State::Sent {
                response: channel.call(request),
            },
            // The first try always gets a request.
            None => State::Waiting { request: None },
        };
        Self {
            channel,
            call,
            deadline,
            tries: 1,
            state,
        }
    }
}

impl Future for Resending {
    type Output = Result<Response<Body>, Status>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let status = match this.state.as_mut().project() {
                StateProjection::Sent { response } => match ready!(response.poll(cx)) {
                    Ok(response) => return Poll::Ready(Ok(response)),
                    Err(error) => status_of(Box::new(error)),
                },
                StateProjection::Waiting { request } => {
                    match (ready!(this.channel.poll_ready(cx)), request.take()) {
                        (Ok(()), Some(request)) => {
                            let response = this.channel.call(request);
                            this.state.set(State::Sent { response });
                            continue;
                        }
                        (Ok(()), None) => return Poll::Ready(Err(Status::internal("no request"))),
                        (Err(error), _) => status_of(Box::new(error)),
                    }
                }
            };
            let left = this.deadline.map(|at| at.saturating_duration_since(now()));
            let may = *this.tries < MOST_TRIES && left != Some(Duration::ZERO);
            let request = (may && is_refused(&status)).then(|| this.call.next(left, false));
            let Some(request @ Some(_)) = request else {
                return Poll::Ready(Err(status));
            };
            *this.tries += 1;
            debug!(%status, "the server has not processed the call, which is sent again");
            this.state.set(State::Waiting { request });
        }
    }
}

impl fmt::Debug for Resending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resending")
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}

/// A server that refuses a call twice, on two connections, does not want it.
const MOST_TRIES: u32 = 3;
