//! The sockets of one listener, and which of them has which session.
//!
//! The system spreads peers over sockets that share an address, always the same peer to the same
//! socket while none of them is closed. Where a session's datagrams go elsewhere all the same, since
//! its peer has another address by now, they are handed on. Looking for the owner costs a lock, so
//! it is done only for what has no session where it came in.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

use crate::net::endpoint::Endpoint;
use crate::net::sync::lock;
use crate::wire::ConversationId;

/// What the endpoints of a listener with several sockets share.
#[derive(Debug)]
pub(in crate::net) struct ShardGroup {
    endpoints: Vec<Weak<Endpoint>>,
    owners: Mutex<Owners>,
}

/// Which endpoint has which session.
#[derive(Debug, Default)]
struct Owners {
    shards: HashMap<(SocketAddr, ConversationId), usize>,
    /// The session of each address that data was handed on for last: where its parity belongs. Those
    /// of sessions that there are, so no more than that.
    latest: HashMap<SocketAddr, ConversationId>,
}

impl ShardGroup {
    /// A group without sessions; an endpoint is known by its place.
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

    /// Forgets a session. The last one to go lets endpoints end that waited for it.
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

    /// Whether no endpoint has a session. Until then none ends: one socket less, and the system
    /// would send the peers of others elsewhere.
    pub(in crate::net) fn is_empty(&self) -> bool {
        lock(&self.owners).shards.is_empty()
    }

    /// The endpoint other than `shard` that has a session with this name, for which data has come.
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

    /// The endpoint other than `shard` that has the session which parity from `peer` is for: that
    /// whose data was handed on last. Parity names none itself.
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
