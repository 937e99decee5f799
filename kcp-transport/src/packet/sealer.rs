//! Placeholder.

/// Placeholder.
#[derive(Debug)]
pub struct Sealer;
