//! A warning about datagrams that do not authenticate.

use std::net::SocketAddr;
use std::time::Duration;

use crate::time::Time;

/// Warns at the first such datagram, and then at most once in [`INTERVAL`], so that a flood does not
/// fill a log.
#[derive(Debug, Default)]
pub(super) struct UnauthenticWarning {
    /// Datagrams since the last warning.
    dropped: u64,
    next: Time,
}

impl UnauthenticWarning {
    /// Counts a datagram, and warns if it is time to.
    pub(super) fn count(&mut self, now: Time, peer: SocketAddr) {
        self.dropped += 1;
        if now < self.next {
            return;
        }
        let dropped = std::mem::take(&mut self.dropped);
        self.next = now + INTERVAL;
        tracing::warn!(
            %peer,
            dropped,
            "datagrams do not authenticate: the sender has another key or cipher, or forges them"
        );
    }
}

const INTERVAL: Duration = Duration::from_secs(10);
