//! Why a case did not pass.

use std::io;
use std::time::Duration;

use kcp_transport::error::ConfigError;

use crate::process::PeerError;

/// Why a case did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// kcp-transport does not support the options of the case.
    #[error("not supported")]
    Unsupported(#[source] ConfigError),
    /// A socket could not be bound.
    #[error("cannot bind a socket")]
    Setup(#[source] io::Error),
    /// A KCP stream failed.
    #[error("{during} failed")]
    Stream {
        /// The operation.
        during: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// The peer's program failed.
    #[error("the peer failed")]
    Peer(#[from] PeerError),
    /// The gRPC channel could not connect.
    #[error(transparent)]
    Channel(#[from] kcp_tonic::ChannelError),
    /// The gRPC server failed.
    #[error("gRPC failed")]
    Transport(#[from] tonic::transport::Error),
    /// A call failed.
    #[error("{call} failed: {:?}, {}", .status.code(), .status.message())]
    Call {
        /// The name of the method.
        call: &'static str,
        /// The status of the call.
        status: Box<tonic::Status>,
    },
    /// A check of the case failed.
    #[error("{0}")]
    Wrong(String),
    /// The case exceeded its time limit.
    #[error("not finished after {} s", .0.as_secs())]
    TimeLimit(Duration),
    /// The case panicked.
    #[error("panicked")]
    Panic(#[source] tokio::task::JoinError),
}

impl Failure {
    /// Wraps an error of a stream, for `map_err`.
    pub(crate) fn stream(during: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Stream { during, source }
    }

    /// Wraps the status of a call, for `map_err`.
    pub(crate) fn call(call: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |status| Self::Call {
            call,
            status: Box::new(status),
        }
    }

    /// The failure and its causes, on one line.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        reason.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
