//! An event for each datagram, at trace level.

use crate::wire::ConversationId;

/// Emits an event for a datagram of `len` bytes; `what` is its message.
#[cold]
#[inline(never)]
pub(super) fn datagram(conversation: ConversationId, len: usize, what: &str) {
    tracing::trace!(target: TARGET, %conversation, len, "{what}");
}

/// The target to filter for.
const TARGET: &str = "kcp_transport::datagram";
