//! Any number of connections on one transport.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime;
use tokio::sync::oneshot;

use crate::error::ConnectErrorReason;
use crate::net::connection::Handle;
use crate::net::driver::{Driver, OpenRequest, Registry};
use crate::net::endpoint::Endpoint;
use crate::net::io::{Path, spelled_for};
use crate::session::Role;

use super::addrs::ToAddrs;
use super::race::race;
use super::resolve::resolve;
use super::{Limit, Opening, answered};

/// Opens sessions on one transport. Dropping it ends none of them.
#[derive(Debug)]
pub(in crate::net) struct SharedTransport {
    pub(in crate::net) registry: Arc<Registry>,
    /// The transport is a UDP socket, which has a form of its own for addresses.
    is_socket: bool,
    runtime: runtime::Handle,
}

impl SharedTransport {
    /// Starts the task that drives the sessions.
    pub(in crate::net) fn start(endpoint: Endpoint, is_socket: bool) -> io::Result<Self> {
        let runtime = runtime::Handle::try_current().map_err(io::Error::other)?;
        let registry = Registry::new(Arc::new(endpoint));
        runtime.spawn(Driver::new(Arc::clone(&registry), RECEIVE_SLOTS));
        Ok(Self {
            registry,
            is_socket,
            runtime,
        })
    }

    /// The address sessions leave from.
    pub(in crate::net) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.registry.endpoint.transport().local_addr()
    }

    /// Connects to `target`: to the first of its addresses that answers, or, if the role does not
    /// wait for that, to the first that can be sent to.
    pub(in crate::net) async fn connect(
        &self,
        target: impl ToAddrs,
        role: Role,
    ) -> io::Result<Handle> {
        let limit = Limit::new(self.registry.endpoint.config.connect_timeout());
        let addresses = resolve(&self.runtime, target, limit.left()).await?;
        let dialled = race(&self.runtime, addresses, |peer| {
            let opening = Opening {
                peer,
                role,
                conversation: None,
            };
            self.dial(opening, limit)
        });
        let failed = |attempts| ConnectErrorReason::Failed(attempts).into();
        dialled.await.map_err(failed)
    }

    /// Opens a session and waits for the peer's answer, if the role does.
    pub(super) async fn dial(&self, opening: Opening, limit: Limit) -> io::Result<Handle> {
        let within = limit.check(opening.role)?;
        let handle = self.open(opening).await?;
        answered(handle, opening.role, within).await
    }

    /// Opens a session. Waits for the driver alone.
    async fn open(&self, opening: Opening) -> io::Result<Handle> {
        let peer = if self.is_socket {
            spelled_for(&*self.registry.endpoint.transport(), opening.peer)?
        } else {
            opening.peer
        };
        let (answer, answered) = oneshot::channel();
        self.registry.request(OpenRequest {
            path: Path::new(peer),
            role: opening.role,
            conversation: opening.conversation,
            answer,
        });
        answered.await.unwrap_or_else(|_| {
            let kind = self.registry.endpoint.mailbox.ended();
            let kind = kind.unwrap_or(io::ErrorKind::NotConnected);
            Err(io::Error::new(kind, "the endpoint is closed"))
        })
    }
}

impl Drop for SharedTransport {
    fn drop(&mut self) {
        self.registry.stop_accepting();
    }
}

/// Receive buffers: as many as one call can fill.
const RECEIVE_SLOTS: usize = 32;
