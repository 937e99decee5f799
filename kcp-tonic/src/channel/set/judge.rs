//! The verdict on the outcome of a call.

use std::error::Error;

use h2::Reason;
use http::{Response, StatusCode};
use kcp_tower::balance::Verdict;
use tonic::body::Body;
use tonic::{Code, Status};

/// The code of a response that has been read to its end, among its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct FinalCode(pub(super) Code);

/// By the status of gRPC in the head of the response or, if it was read, at its end.
pub(super) fn judge(answer: &Result<Response<Body>, Status>) -> Verdict {
    let response = match answer {
        Ok(response) => response,
        Err(status) if is_unsent(status) => return Verdict::Unsent,
        Err(status) => return of_code(status.code()),
    };
    if let Some(FinalCode(code)) = response.extensions().get() {
        return of_code(*code);
    }
    if let Some(status) = Status::from_header_map(response.headers()) {
        return of_code(status.code());
    }
    match response.status() {
        StatusCode::OK => Verdict::Success,
        // The table of gRPC for answers of proxies.
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Verdict::Failed,
        _ => Verdict::Rejected,
    }
}

/// The code of an answer, if it is known yet: a response whose end was not read has none.
pub(super) fn code(answer: &Result<Response<Body>, Status>) -> Option<Code> {
    let response = match answer {
        Ok(response) => response,
        Err(status) => return Some(status.code()),
    };
    if let Some(FinalCode(code)) = response.extensions().get() {
        return Some(*code);
    }
    Status::from_header_map(response.headers()).map(|status| status.code())
}

fn of_code(code: Code) -> Verdict {
    match code {
        Code::Ok => Verdict::Success,
        Code::Unavailable => Verdict::Failed,
        Code::ResourceExhausted => Verdict::Overloaded,
        Code::DeadlineExceeded => Verdict::Late,
        _ => Verdict::Rejected,
    }
}

/// Whether the cause of an error proves that the server has not processed the call.
fn is_unsent(status: &Status) -> bool {
    is_unconnected(status) || is_refused(status)
}

fn is_unconnected(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Whether there was a connection, but the server has not processed the call that was sent over it.
pub(in crate::channel) fn is_refused(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(hyper) = error.downcast_ref::<hyper::Error>()
            && hyper.is_canceled()
        {
            // It was queued for a connection that has ended.
            return true;
        }
        if let Some(http2) = error.downcast_ref::<h2::Error>() {
            // RFC 9113, 8.7: REFUSED_STREAM, and streams above the last one that a GOAWAY names. h2
            // fails those, and no others, with the reason of a graceful one.
            let reason = http2.reason();
            let graceful = reason == Some(Reason::NO_ERROR);
            return reason == Some(Reason::REFUSED_STREAM)
                || graceful && http2.is_go_away() && http2.is_remote();
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::status::status_of;

    fn of_error<E: Error + Send + Sync + 'static>(error: E) -> Verdict {
        judge(&Err(status_of(Box::new(error))))
    }

    #[test]
    fn refused_streams_and_failed_connections_were_not_processed() {
        let refused = h2::Error::from(Reason::REFUSED_STREAM);
        assert_eq!(of_error(refused), Verdict::Unsent);
        let unconnected = tonic::ConnectError("no route".into());
        assert_eq!(of_error(unconnected), Verdict::Unsent);
    }

    #[test]
    fn lost_connections_may_have_been_processed() {
        let lost = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(of_error(lost), Verdict::Failed);
        let internal = h2::Error::from(Reason::INTERNAL_ERROR);
        assert_eq!(of_error(internal), Verdict::Rejected);
    }

    #[test]
    fn status_in_the_head_counts_and_that_at_the_end_counts_more() {
        let mut response = Response::new(Body::empty());
        let verdict = |response: &Response<Body>| {
            let (parts, _) = response.clone_head();
            judge(&Ok(Response::from_parts(parts, Body::empty())))
        };
        assert_eq!(verdict(&response), Verdict::Success);
        for (code, expected) in [
            (Code::Unavailable, Verdict::Failed),
            (Code::ResourceExhausted, Verdict::Overloaded),
            (Code::DeadlineExceeded, Verdict::Late),
            (Code::NotFound, Verdict::Rejected),
        ] {
            let value = (code as i32).to_string().parse().unwrap();
            response.headers_mut().insert("grpc-status", value);
            assert_eq!(verdict(&response), expected);
        }
        response.extensions_mut().insert(FinalCode(Code::Ok));
        assert_eq!(verdict(&response), Verdict::Success);
        let mut proxy = Response::new(Body::empty());
        *proxy.status_mut() = StatusCode::BAD_GATEWAY;
        assert_eq!(verdict(&proxy), Verdict::Failed);
    }

    trait CloneHead {
        fn clone_head(&self) -> (http::response::Parts, ());
    }

    impl CloneHead for Response<Body> {
        fn clone_head(&self) -> (http::response::Parts, ()) {
            let mut head = Response::new(());
            *head.status_mut() = self.status();
            *head.headers_mut() = self.headers().clone();
            *head.extensions_mut() = self.extensions().clone();
            head.into_parts()
        }
    }
}
