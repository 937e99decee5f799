//! A connection on a transport of its own.

use std::io;
use std::sync::Arc;

use tokio::runtime;

use crate::net::connection::Handle;
use crate::net::driver::{Driver, Registry};
use crate::net::endpoint::Endpoint;
use crate::net::io::{Path, entropy};
use crate::wire::ConversationId;

use super::Opening;

/// Makes the session and the task that drives it.
pub(super) fn open(endpoint: Endpoint, opening: Opening) -> io::Result<Handle> {
    let runtime = runtime::Handle::try_current().map_err(io::Error::other)?;
    let endpoint = Arc::new(endpoint);
    let now = endpoint.clock.now();
    let conversation = match opening.conversation {
        Some(conversation) => conversation,
        None => ConversationId::new(u32::from_le_bytes(entropy()?)),
    };
    let mut driver = Driver::new(Registry::new(endpoint), RECEIVE_SLOTS);
    let path = Path::new(opening.peer);
    let connection = driver.register(now, path, conversation, opening.role)?;
    runtime.spawn(driver);
    Ok(Handle(connection))
}

/// Receive buffers of a connection: each takes a coalesced run, so one call takes a whole window's
/// worth of acknowledgements or half a megabyte of data.
const RECEIVE_SLOTS: usize = 8;
