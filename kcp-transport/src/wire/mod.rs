//! Bytes to values and back: the headers of kcp-go's wire format. No state, no policy.

mod number;
mod segment;
mod shard;

pub use number::{ConversationId, SeqNumber, Timestamp};
pub use segment::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Segments};
pub use shard::{SHARD_HEADER_LEN, SHARD_SIZE_LEN, ShardHeader, ShardKind};
