//! Opening a connection on a transport of its own.

mod address;
mod race;
mod resolve;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime;

use crate::config::Config;
use crate::crypto::Security;
use crate::session::Role;
use crate::wire::ConversationId;

use super::connection::Handle;
use super::driver::{Driver, Registry};
use super::endpoint::{Endpoint, Purpose};
use super::io::{Path, Socket, Transport, entropy};

/// Creates the socket, the session and the task that drives them.
pub(super) fn open(
    peer: SocketAddr,
    security: &Security,
    config: &Config,
    role: Role,
) -> io::Result<Handle> {
    // Checked first: an unusable configuration should not cost a socket.
    config.layout(security.overhead())?;
    runtime::Handle::try_current().map_err(io::Error::other)?;
    let socket = Socket::connect(peer, config)?;
    let endpoint = Endpoint::on_socket(socket, security, config, Purpose::One)?;
    open_with(endpoint, peer, role)
}

/// Creates the session and the task that drives it.
pub(super) fn open_on(
    transport: Arc<dyn Transport>,
    peer: SocketAddr,
    security: &Security,
    config: &Config,
    role: Role,
) -> io::Result<Handle> {
    open_with(
        Endpoint::new(transport, security, config, Purpose::One)?,
        peer,
        role,
    )
}

fn open_with(endpoint: Endpoint, peer: SocketAddr, role: Role) -> io::Result<Handle> {
    let runtime = runtime::Handle::try_current().map_err(io::Error::other)?;
    let endpoint = Arc::new(endpoint);
    let now = endpoint.clock.now();
    let conversation = match endpoint.config.conversation() {
        Some(conversation) => conversation,
        None => ConversationId::new(u32::from_le_bytes(entropy()?)),
    };
    let mut driver = Driver::new(Registry::new(endpoint), RECEIVE_SLOTS);
    // The socket has the address family of the peer, so the kernel reports the peer in the same
    // form.
    let path = Path { peer, local: None };
    let connection = driver.register(now, path, conversation, role)?;
    runtime.spawn(driver);
    Ok(Handle(connection))
}

/// Receive buffers of a connection. Each takes a coalesced run, so one call takes the
/// acknowledgements of a whole window, or half a megabyte of data.
const RECEIVE_SLOTS: usize = 8;
