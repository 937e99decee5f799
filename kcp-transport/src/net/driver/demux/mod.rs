//! Which session a datagram is for: by its address, after a move, and at another socket.

mod migration;
mod shard_group;
mod table;
mod tombstones;

pub(in crate::net) use migration::MigrationIndex;
pub(in crate::net) use shard_group::ShardGroup;
pub(in crate::net) use table::DemuxTable;
pub(in crate::net) use tombstones::{TimeWaitEntry, Tombstones};
