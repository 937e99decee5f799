//! The status of a call that failed below gRPC.
//!
//! tonic reports an I/O error of a connection as `Unknown`, a call that found its connection closed
//! as `Cancelled`, and an expired timeout as `Cancelled`. Retry policies look for `Unavailable`.

use std::error::Error;
use std::io;
use std::sync::Arc;

use h2::Reason;
use http::{HeaderName, HeaderValue, Response};
use tokio::time::Instant;
use tonic::{Code, Status, TimeoutExpired};

use crate::calls::now;

/// The status of an error of the transport: by the table of gRPC's specification if its cause is
/// known, and tonic's otherwise.
pub(super) fn status_of(error: Box<dyn Error + Send + Sync>) -> Status {
    let known = known_cause(&*error);
    let status = Status::from_error(error);
    match known {
        Some((code, message)) => {
            let mut known = Status::new(code, message);
            known.set_source(Arc::new(status));
            known
        }
        None => status,
    }
}

/// The status of a call with a deadline. A server whose own timer expires first resets the stream, which
/// is the code CANCEL of HTTP/2.
pub(super) fn at_deadline(status: Status, deadline: Option<Instant>) -> Status {
    let passed = deadline.is_some_and(|deadline| now() >= deadline);
    if !passed || status.code() != Code::Cancelled {
        return status;
    }
    let mut late = Status::new(
        Code::DeadlineExceeded,
        "the server ended the call at its deadline",
    );
    late.set_source(Arc::new(status));
    late
}

/// The response to a call with a deadline. tonic's server answers a call that has exceeded it with
/// `Cancelled`, which arrives before our own timer has expired, or after.
pub(super) fn answer_at_deadline<B>(
    mut response: Response<B>,
    deadline: Option<Instant>,
) -> Response<B> {
    let status = response.headers_mut().get_mut(GRPC_STATUS);
    if let Some(status) = status
        && *status == HeaderValue::from(i32::from(Code::Cancelled))
        && deadline.is_some_and(|deadline| now() >= deadline)
    {
        *status = HeaderValue::from(i32::from(Code::DeadlineExceeded));
    }
    response
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The first error of a chain whose status is known.
fn known_cause(error: &(dyn Error + 'static)) -> Option<(Code, String)> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(known) = status_of_one(error) {
            return Some(known);
        }
        next = error.source();
    }
    None
}

fn status_of_one(error: &(dyn Error + 'static)) -> Option<(Code, String)> {
    if let Some(io) = error.downcast_ref::<io::Error>() {
        return lost(io);
    }
    if let Some(http2) = error.downcast_ref::<h2::Error>() {
        return status_of_http2(http2);
    }
    if let Some(late) = error.downcast_ref::<TimeoutExpired>() {
        return Some((Code::DeadlineExceeded, late.to_string()));
    }
    if let Some(refused) = error.downcast_ref::<tonic::ConnectError>() {
        return Some((Code::Unavailable, refused.to_string()));
    }
    let hyper = error.downcast_ref::<hyper::Error>()?;
    // A canceled request is one that was queued for a connection which has ended; a call that its
    // caller gives up has no error.
    let ended = hyper.is_canceled() || hyper.is_closed() || hyper.is_timeout();
    ended.then(|| (Code::Unavailable, format!("connection closed: {hyper}")))
}

/// An I/O error that means the end of the connection.
fn lost(error: &io::Error) -> Option<(Code, String)> {
    let lost = matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
            | io::ErrorKind::UnexpectedEof
    );
    lost.then(|| (Code::Unavailable, format!("connection lost: {error}")))
}

/// The table of gRPC over HTTP/2, section "Errors".
fn status_of_http2(error: &h2::Error) -> Option<(Code, String)> {
    // h2 does not list its I/O error as a source.
    if let Some(io) = error.get_io() {
        return lost(io);
    }
    let code = if error.is_go_away() && error.is_remote() {
        // The server closes the connection, for whatever reason.
        Code::Unavailable
    } else {
        match error.reason()? {
            Reason::REFUSED_STREAM => Code::Unavailable,
            Reason::CANCEL => Code::Cancelled,
            Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Internal,
        }
    };
    Some((code, format!("HTTP/2: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with another one below it, as tonic and hyper wrap them.
    #[derive(Debug)]
    struct Wrapped<E>(E);

    impl<E> std::fmt::Display for Wrapped<E> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("transport error")
        }
    }

    impl<E: Error + 'static> Error for Wrapped<E> {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn status_below<E: Error + Send + Sync + 'static>(error: E) -> Status {
        status_of(Box::new(Wrapped(error)))
    }

    #[test]
    fn lost_connections_are_unavailable() {
        for kind in [
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::TimedOut,
            io::ErrorKind::UnexpectedEof,
        ] {
            let status = status_below(io::Error::new(kind, "gone"));
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(status.message(), "connection lost: gone");
            assert!(status.source().is_some());
        }
    }

    #[test]
    fn resets_of_streams_follow_the_table_of_grpc() {
        for (reason, code) in [
            (Reason::REFUSED_STREAM, Code::Unavailable),
            (Reason::CANCEL, Code::Cancelled),
            (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
            (Reason::INADEQUATE_SECURITY, Code::PermissionDenied),
            (Reason::PROTOCOL_ERROR, Code::Internal),
            (Reason::NO_ERROR, Code::Internal),
        ] {
            assert_eq!(status_below(h2::Error::from(reason)).code(), code);
        }
    }

    #[test]
    fn expired_timeouts_are_exceeded_deadlines() {
        assert_eq!(
            status_below(TimeoutExpired(())).code(),
            Code::DeadlineExceeded
        );
    }

    #[test]
    fn streams_that_the_server_cancels_at_the_deadline_have_exceeded_it() {
        let passed = Some(now());
        let ahead = now().checked_add(std::time::Duration::from_secs(3600));
        for (deadline, status, code) in [
            (passed, Status::cancelled("reset"), Code::DeadlineExceeded),
            (ahead, Status::cancelled("reset"), Code::Cancelled),
            (None, Status::cancelled("reset"), Code::Cancelled),
            (passed, Status::unavailable("lost"), Code::Unavailable),
        ] {
            assert_eq!(at_deadline(status, deadline).code(), code);
        }
    }

    #[test]
    fn answers_that_the_server_cancels_at_the_deadline_have_exceeded_it() {
        let passed = Some(now());
        let ahead = now().checked_add(std::time::Duration::from_secs(3600));
        for (deadline, status, expected) in [
            (passed, "1", "4"),
            (passed, "5", "5"),
            (ahead, "1", "1"),
            (None, "1", "1"),
        ] {
            let mut response = Response::new(());
            let value = HeaderValue::from_static(status);
            response.headers_mut().insert(GRPC_STATUS, value);
            let response = answer_at_deadline(response, deadline);
            assert_eq!(response.headers()[GRPC_STATUS], expected);
        }
    }

    #[test]
    fn other_errors_keep_their_code() {
        let status = status_below(io::Error::new(io::ErrorKind::InvalidData, "x"));
        assert_eq!(status.code(), Code::Unknown);
        let status = status_of(Box::new(Status::not_found("x")));
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "x");
    }
}
