//! The sockets of one listener, and the owner of each session.
//!
//! The kernel spreads peers over sockets with one address: a peer stays at one socket as long as
//! none of them is closed. Datagrams that arrive at another socket, for example after the address
//! of the peer has changed, are forwarded to the owner of the session. Finding the owner takes a
//! lock, so it is done only for datagrams that match no session of the receiving socket.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

use crate::net::endpoint::Endpoint;
use crate::net::sync::lock;
use crate::wire::ConversationId;

/// State shared by the endpoints of a listener with several sockets.
#[derive(Debug)]
pub(in crate::net) struct ShardGroup {
    endpoints: Vec<Weak<Endpoint>>,
    owners: Mutex<Owners>,
}

/// The endpoint of each session.
#[derive(Debug, Default)]
struct Owners {
    shards: HashMap<(SocketAddr, ConversationId), usize>,
    /// The session of each address for which data was forwarded last: parity from the address
    /// belongs to it. Holds existing sessions only.
    latest: HashMap<SocketAddr, ConversationId>,
}

impl ShardGroup {
    /// A group without sessions. A shard is an index into `endpoints`.
    pub(in crate::net) fn new(endpoints: &[Arc<Endpoint>]) -> Self {
        Self {
            endpoints: endpoints.iter().map(Arc::downgrade).collect(),
            owners: Mutex::default(),
        }
    }

    pub(in crate::net) fn insert(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        shard: usize,
    ) {
        let mut owners = lock(&self.owners);
        owners.shards.insert((peer, conversation), shard);
    }

    /// Removes a session. When the last one is removed, all endpoints are woken, since they may
    /// end.
    pub(in crate::net) fn remove(&self, peer: SocketAddr, conversation: ConversationId) {
        let empty = {
            let mut owners = lock(&self.owners);
            owners.shards.remove(&(peer, conversation));
            if owners.latest.get(&peer) == Some(&conversation) {
                owners.latest.remove(&peer);
            }
            owners.shards.is_empty()
        };
        if empty {
            for endpoint in self.endpoints.iter().filter_map(Weak::upgrade) {
                endpoint.mailbox.wake();
            }
        }
    }

    /// Whether no endpoint has a session. No driver ends before: with one socket less, the kernel
    /// would send the peers of the remaining sockets elsewhere.
    pub(in crate::net) fn is_empty(&self) -> bool {
        lock(&self.owners).shards.is_empty()
    }

    /// The endpoint other than `shard` that owns a session for which data has arrived.
    pub(in crate::net) fn owner(
        &self,
        peer: SocketAddr,
        conversation: ConversationId,
        shard: usize,
    ) -> Option<Arc<Endpoint>> {
        let mut owners = lock(&self.owners);
        let owner = *owners.shards.get(&(peer, conversation))?;
        if owner == shard {
            return None;
        }
        owners.latest.insert(peer, conversation);
        drop(owners);
        self.endpoint(owner)
    }

    /// The endpoint other than `shard` that owns the session of parity from `peer`: the one whose
    /// data was forwarded last, since parity carries no conversation id.
    pub(in crate::net) fn owner_of_parity(
        &self,
        peer: SocketAddr,
        shard: usize,
    ) -> Option<Arc<Endpoint>> {
        let owners = lock(&self.owners);
        let conversation = *owners.latest.get(&peer)?;
        let owner = *owners.shards.get(&(peer, conversation))?;
        drop(owners);
        self.endpoint(owner).filter(|_| owner != shard)
    }

    fn endpoint(&self, shard: usize) -> Option<Arc<Endpoint>> {
        self.endpoints.get(shard)?.upgrade()
    }
}
