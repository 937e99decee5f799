//! Opening connections: finding a host's addresses, trying them, on sockets of their own or on a
//! shared one.

mod addrs;
mod alone;
mod builder;
mod descriptor;
mod race;
mod resolve;
mod shared;
mod within;

pub use addrs::ToAddrs;
pub use builder::ClientBuilder;
pub(super) use resolve::bind_to;
pub(super) use shared::SharedTransport;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::session::Role;
use crate::time::Time;
use crate::wire::ConversationId;

use super::connection::Handle;
use super::io::Clock;

/// A connection that is to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    /// In the form in which the transport reports it.
    pub(super) peer: SocketAddr,
    pub(super) role: Role,
    /// Random if there is none.
    pub(super) conversation: Option<ConversationId>,
}

/// The time that all attempts have together.
#[derive(Clone, Copy, Debug)]
struct Limit {
    clock: Clock,
    end: Time,
}

impl Limit {
    fn new(timeout: Duration) -> Self {
        let clock = Clock::start();
        let end = clock.now() + timeout;
        Self { clock, end }
    }

    fn left(self) -> Duration {
        self.end - self.clock.now()
    }

    /// How long an attempt of this role may take.
    fn check(self, role: Role) -> io::Result<Duration> {
        let left = self.left();
        if left.is_zero() && role == Role::Connect {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "not tried, because the connect time-out had expired",
            ));
        }
        Ok(left)
    }
}

/// Waits for the peer's answer if the role does.
async fn answered(handle: Handle, role: Role, within: Duration) -> io::Result<Handle> {
    if role == Role::Connect {
        handle.0.limit_connecting(within);
        handle.connected().await?;
    }
    Ok(handle)
}
