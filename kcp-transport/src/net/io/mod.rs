//! Sockets and other transports, the clock and entropy.

mod address;
mod clock;
mod closed;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
mod maker;
mod rebindable;
mod receive;
mod socket;
mod transport;

pub(super) use address::spelled_for;
pub(super) use clock::{Clock, entropy};
pub(super) use closed::ClosedTransport;
pub(super) use maker::{SocketHook, SocketMaker};
pub(super) use rebindable::RebindableSocket;
pub(super) use receive::ReceiveBuffers;
pub(super) use socket::Socket;
pub use transport::{Path, Received, Transport};
pub(super) use transport::{is_closed, is_too_long, is_unroutable};
