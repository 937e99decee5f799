//! The emulated link.
//!
//! [`spec`] describes a link, [`names`] lists the named ones. [`loss`] and [`pipe`] model one direction, without a
//! clock. [`emulator`] runs both directions between two TUN devices.

pub(crate) mod emulator;
pub(crate) mod loss;
pub(crate) mod names;
pub(crate) mod pipe;
mod random;
pub(crate) mod spec;
