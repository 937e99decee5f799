//! Halves of a stream.

mod borrowed;
mod owned;

pub use borrowed::{ReadHalf, WriteHalf};
pub use owned::{OwnedReadHalf, OwnedWriteHalf};
