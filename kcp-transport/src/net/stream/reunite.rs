//! Why halves are not put together.

use std::fmt;

/// Two halves that belong to different streams, which this error gives back: that of
/// [`OwnedReadHalf::reunite`](crate::net::OwnedReadHalf::reunite) and
/// [`MessageReceiver::reunite`](crate::net::MessageReceiver::reunite).
#[derive(Debug)]
pub struct ReuniteError<R, W>(pub R, pub W);

impl<R, W> fmt::Display for ReuniteError<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the halves belong to different streams")
    }
}

impl<R: fmt::Debug, W: fmt::Debug> std::error::Error for ReuniteError<R, W> {}
