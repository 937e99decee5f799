//! Why a test failed.

use std::io;
use std::time::Duration;

use super::wire::Side;

/// Why a test failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// No connection was made.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection ended with an error.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The bytes of the peer are not those of this program.
    #[error("the {} speaks another protocol than kcp perf and kcp ping", .0.name())]
    OtherProtocol(Side),
    /// The peer has another version of this program.
    #[error("the {} has version {} of the protocol; allowed: {}", .0.name(), .1, super::wire::VERSION)]
    Version(Side, u8),
    /// The header of the peer is not valid.
    #[error("the {} sent an invalid header: {}", .0.name(), .1)]
    Header(Side, String),
    /// Bytes of the peer after the header are not valid.
    #[error("the {} sent invalid data: {}", .0.name(), .1)]
    Data(Side, String),
    /// The server refused the test, with this reason.
    #[error("the server refused the test: {0}")]
    Refused(String),
    /// The peer reports an error of its own.
    #[error("the {} reports: {}", .0.name(), .1)]
    Reported(Side, String),
    /// The peer ended the connection before the end of the test.
    #[error("the {} ended the connection before the end of the test", .0.name())]
    Ended(Side),
    /// Nothing arrived from the peer for this time, and nothing was acknowledged.
    #[error("the {} sent nothing for {} seconds", .0.name(), .1.as_secs())]
    Silent(Side, Duration),
    /// The server was stopped.
    #[error("the server was stopped during the test")]
    ServerStopped,
}

/// Text of a peer that can be printed on a terminal: without control characters, at most 300 characters.
#[must_use]
pub(super) fn printable(text: &str) -> String {
    let printable = text.chars().filter(|it| !it.is_control());
    printable.take(300).collect()
}
