//! Placeholder.

/// Placeholder.
#[derive(Debug)]
pub struct Opener;
