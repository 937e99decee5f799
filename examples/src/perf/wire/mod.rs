//! The protocol of `kcp perf` and `kcp ping`, which run over any connection: a header with the request and
//! its answer, then frames.

mod frame;
mod header;
mod request;

pub use frame::{Echo, FrameKind, Head, Report};
pub use header::{Answer, VERSION, answer, receive, request};
pub use request::{
    Kind, Limit, MAX_CONNECTIONS, MAX_LENGTH, MAX_MESSAGE, MAX_SECONDS, MIN_MESSAGE, Request, Side,
};
