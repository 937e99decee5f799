//! The emulated link.
//!
//! [`spec`] describes a link, [`names`] lists the named ones. `loss` and `pipe` model one direction, without a
//! clock. [`emulator`] runs both directions between two TUN devices.

pub mod emulator;
mod loss;
pub mod names;
mod pipe;
mod random;
pub mod spec;

pub use self::pipe::Counters;
