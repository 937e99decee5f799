//! Which session a datagram is for: by its address, after a move, and at another socket.

mod migration;
mod shard_group;
mod table;
mod tombstones;

pub(in crate::net) use migration::Roaming;
pub(in crate::net) use shard_group::Group;
pub(in crate::net) use table::Table;
pub(in crate::net) use tombstones::{Epitaph, Tombstones};
