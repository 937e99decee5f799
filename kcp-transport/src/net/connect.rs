//! Opening a connection on a socket of its own.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::config::Config;
use crate::crypto::Security;
use crate::session::Role;
use crate::wire::ConversationId;

use super::clock::entropy;
use super::driver::Driver;
use super::endpoint::Endpoint;
use super::socket::{Path, Socket};
use super::stream::KcpStream;

/// Makes the socket, the session and the task that drives them.
pub(super) fn open(
    peer: SocketAddr,
    security: &Security,
    config: &Config,
    role: Role,
) -> io::Result<KcpStream> {
    // Checked first: what cannot work should not cost a socket.
    config.layout(security.overhead())?;
    let runtime = Handle::try_current().map_err(io::Error::other)?;
    let socket = Socket::connect(peer, config)?;
    let endpoint = Arc::new(Endpoint::new(socket, security, config, false)?);
    let now = endpoint.clock.now();
    let conversation = match config.conversation() {
        Some(conversation) => conversation,
        None => ConversationId::new(u32::from_le_bytes(entropy()?)),
    };
    let mut driver = Driver::new(endpoint, RECEIVE_SLOTS);
    // The kernel reports a connected socket's peer in the form it was given.
    let path = Path { peer, local: None };
    let connection = driver.register(now, path, conversation, role)?;
    runtime.spawn(driver);
    Ok(KcpStream::new(connection))
}

/// Receive buffers of a connection: each takes a coalesced run, so one call takes a whole window's
/// worth of acknowledgements or half a megabyte of data.
const RECEIVE_SLOTS: usize = 8;
