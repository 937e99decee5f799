//! An event for each datagram, at trace level.

use crate::wire::ConversationId;

/// A datagram of `len` bytes was received or is sent, as `what` says.
#[cold]
#[inline(never)]
pub(super) fn datagram(conversation: ConversationId, len: usize, what: &str) {
    tracing::trace!(target: TARGET, conv = conversation.get(), len, "{what}");
}

/// The target to filter for.
const TARGET: &str = "kcp_transport::datagram";
