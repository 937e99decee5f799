//! The key of a session within its endpoint.

/// Identifies a session of an endpoint. Slots are reused, so a generation distinguishes their
/// sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::net) struct SessionKey {
    pub(in crate::net) slot: usize,
    pub(in crate::net) generation: u64,
}
