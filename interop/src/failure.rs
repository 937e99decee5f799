//! Why a case did not pass.

use std::io;
use std::time::Duration;

use kcp_transport::error::ConfigError;

use crate::process::PeerError;

/// Why a case did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// We do not support the options of the case.
    #[error("not supported")]
    Unsupported(#[source] ConfigError),
    /// A socket could not be made.
    #[error("cannot set up the case")]
    Setup(#[source] io::Error),
    /// A KCP stream failed.
    #[error("{during} failed")]
    Stream {
        /// What was done with it.
        during: &'static str,
        /// How it failed.
        source: io::Error,
    },
    /// The peer failed, or reports that we did.
    #[error("the peer failed")]
    Peer(#[from] PeerError),
    /// There is no gRPC channel.
    #[error(transparent)]
    Channel(#[from] kcp_tonic::ChannelError),
    /// The gRPC server failed.
    #[error("gRPC failed")]
    Transport(#[from] tonic::transport::Error),
    /// A call failed.
    #[error("{call} failed: {:?}, {}", .status.code(), .status.message())]
    Call {
        /// The method.
        call: &'static str,
        /// How it ended.
        status: Box<tonic::Status>,
    },
    /// Something else was received than expected.
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
    /// For `map_err` on what a stream's functions return.
    pub(crate) fn stream(during: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Stream { during, source }
    }

    /// For `map_err` on what a call returns.
    pub(crate) fn call(call: &'static str) -> impl FnOnce(tonic::Status) -> Self {
        move |status| Self::Call {
            call,
            status: Box::new(status),
        }
    }

    /// The failure and its causes, in one line.
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
