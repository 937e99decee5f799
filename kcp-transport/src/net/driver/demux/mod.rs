//! Finding the session of a datagram: by its address, after a migration, and at another socket.

mod migration;
mod shard_group;
mod table;
mod tombstones;

pub(in crate::net) use migration::MigrationIndex;
pub(in crate::net) use shard_group::ShardGroup;
pub(in crate::net) use table::DemuxTable;
pub(in crate::net) use tombstones::{TimeWaitEntry, Tombstones};
