//! The emulated link: what it is, what it does to packets, and the threads that do it.
//!
//! [`spec`] describes a link, [`loss`] and [`pipe`] are one direction without a clock, and
//! [`emulator`] runs two of them between two TUN devices.

pub(crate) mod emulator;
pub(crate) mod loss;
pub(crate) mod names;
pub(crate) mod pipe;
mod random;
pub(crate) mod spec;
