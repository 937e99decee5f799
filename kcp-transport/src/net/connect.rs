//! Opening a connection on a transport of its own.

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
use super::socket::Socket;
use super::stream::KcpStream;
use super::transport::{Path, Transport};

/// Makes the socket, the session and the task that drives them.
pub(super) fn open(
    peer: SocketAddr,
    security: &Security,
    config: &Config,
    role: Role,
) -> io::Result<KcpStream> {
    // Checked first: what cannot work should not cost a socket.
    config.layout(security.overhead())?;
    Handle::try_current().map_err(io::Error::other)?;
    let socket = Arc::new(Socket::connect(peer, config)?);
    open_on(socket, peer, security, config, role)
}

/// Makes the session and the task that drives it.
pub(super) fn open_on(
    transport: Arc<dyn Transport>,
    peer: SocketAddr,
    security: &Security,
    config: &Config,
    role: Role,
) -> io::Result<KcpStream> {
    let runtime = Handle::try_current().map_err(io::Error::other)?;
    let endpoint = Arc::new(Endpoint::new(transport, security, config, false)?);
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
