//! The name of a session among those of its endpoint.

/// Which session a timer is for: its place and, since places are reused, its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::net) struct SessionKey {
    pub(in crate::net) slot: usize,
    pub(in crate::net) generation: u64,
}
