//! Encoding and decoding: the headers of kcp-go's wire format and the extension frames of this
//! crate. No state and no policy.

mod extension;
mod number;
mod received;
mod segment;
mod shard;

pub use extension::{
    CAPABILITY_MIGRATION, CAPABILITY_RECEIVED, Frame, FrameWriter, Frames, Hello,
    MAX_LEN as MAX_EXTENSION_LEN, Token,
};
pub use number::{ConversationId, SeqNumber, Timestamp};
pub use received::Received;
pub use segment::{Command, SEGMENT_HEADER_LEN, SegmentHeader, Segments};
pub use shard::{SHARD_HEADER_LEN, SHARD_SIZE_LEN, ShardHeader, ShardKind};
