//! Segments in flight, their round-trip time, and which of them are lost.

mod beyond;
mod flight;
mod path;
mod probe_timeout;
mod protect;
mod rack;

pub(super) use flight::{
    Flight, INITIAL_REMOTE_WINDOW, RECENT, Resend, Resent, Sent, Transmission,
};
pub(super) use path::PathModel;
pub(super) use probe_timeout::ProbeTimer;
pub(super) use protect::Protector;
pub(super) use rack::Rack;
