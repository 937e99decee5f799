//! Requests and replies of the test service.

use super::proto::{
    EchoStatus, Payload, ResponseParameters, SimpleRequest, StreamingOutputCallRequest,
};

/// A payload of this many zero bytes.
pub(super) fn payload(len: usize) -> Payload {
    Payload { body: vec![0; len] }
}

/// The length of a payload that may be absent.
pub(super) fn len_of(payload: Option<&Payload>) -> usize {
    payload.map_or(0, |it| it.body.len())
}

pub(super) fn unary(request: usize, response: i32) -> SimpleRequest {
    SimpleRequest {
        response_size: response,
        payload: Some(payload(request)),
        response_status: None,
    }
}

pub(super) fn duplex(request: usize, response: i32) -> StreamingOutputCallRequest {
    StreamingOutputCallRequest {
        response_parameters: vec![parameters(response)],
        payload: Some(payload(request)),
        response_status: None,
    }
}

pub(super) fn parameters(size: i32) -> ResponseParameters {
    ResponseParameters {
        size,
        interval_us: 0,
    }
}

/// A request for an error with the code UNKNOWN.
pub(super) fn unknown(message: &str) -> EchoStatus {
    EchoStatus {
        code: tonic::Code::Unknown.into(),
        message: message.to_owned(),
    }
}
