//! How the code is put together: which modules know each other.

mod layers;
