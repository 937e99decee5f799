//! The bodies of the fuzz targets, which the tests of the main workspace run as well.

pub mod http2;
pub mod targets;
