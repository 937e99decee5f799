//! How much may be in flight, and how fast it may leave, besides what the peer's window allows.

mod fixed;
mod kcp;
mod model;

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::time::Time;

pub use fixed::FixedRate;
pub(super) use kcp::CongestionWindow;
pub(super) use model::Model;

/// Decides how much of a connection's data may be in flight, and how fast it leaves.
///
/// Losses are found by the connection; a controller is notified of them. Bytes are those of data
/// segments with their headers; a segment in flight is one that is neither acknowledged nor lost.
/// KCP's own windows limit what is in flight as well. A window below four full segments counts as
/// four, and rates below 1500 bytes a second as that, so that no controller can stop a connection.
///
/// Probes, copies and acknowledgements leave regardless of the controller, and use up its rate.
pub trait CongestionController: Send + fmt::Debug {
    /// A data segment is sent, for the first time or again.
    fn on_sent(&mut self, now: Time, sent: &Transmitted) {
        let _ = (now, sent);
    }

    /// A datagram has acknowledged something.
    fn on_acked(&mut self, now: Time, acked: &Acked);

    /// A transmission is lost.
    fn on_lost(&mut self, now: Time, lost: &Lost) {
        let _ = (now, lost);
    }

    /// A segment that was reported as lost had arrived.
    fn on_spurious(&mut self, now: Time) {
        let _ = now;
    }

    /// Nothing was acknowledged for three probe time-outs in a row.
    fn on_persistent_loss(&mut self, now: Time) {
        let _ = now;
    }

    /// Most bytes in flight.
    fn window(&self) -> u64;

    /// Bytes that may leave in a second; `None` leaves them to the window.
    fn rate(&self) -> Option<NonZeroU64>;
}

/// Makes a controller for each connection.
pub trait ControllerFactory: Send + Sync + fmt::Debug {
    /// A controller for a new connection.
    fn new_controller(&self, path: &PathInfo) -> Box<dyn CongestionController>;
}

/// What is known when a controller is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct PathInfo {
    /// Most bytes of a segment with its header.
    pub segment_len: u64,
    /// The round-trip time that the handshake took, if it was measured.
    pub round_trip: Option<Duration>,
    /// The time now.
    pub now: Time,
}

/// A data segment that is sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Transmitted {
    /// Its bytes.
    pub bytes: u64,
    /// Bytes in flight, these included.
    pub in_flight: u64,
}

/// What a datagram has acknowledged.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Acked {
    /// Bytes of newly acknowledged segments.
    pub bytes: u64,
    /// A sample of the rate at which the path delivers, if it is known which transmission arrived.
    pub sample: Option<RateSample>,
    /// Round-trip time that the datagram gives, if it gives one.
    pub rtt: Option<Duration>,
    /// The shortest round-trip time of the last ten seconds or more.
    pub min_rtt: Duration,
    /// Bytes in flight, less these.
    pub in_flight: u64,
}

/// A sample of the rate at which the path delivers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RateSample {
    /// Bytes a second; 0 if the time was too short to tell.
    pub rate: u64,
    /// Bytes delivered, and lost, since the transmission was sent.
    pub delivered: u64,
    /// Bytes lost since the transmission was sent.
    pub lost: u64,
    /// When the transmission was sent.
    pub sent_at: Time,
    /// Bytes that were in flight when it was.
    pub in_flight_when_sent: u64,
    /// Less was sent than might have been: the path may be faster than this.
    pub is_limited: bool,
    /// A round trip has passed since this was last true.
    pub round_ended: bool,
}

/// A transmission that is lost.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Lost {
    /// Its bytes.
    pub bytes: u64,
    /// When it was sent.
    pub sent_at: Time,
    /// Bytes that were in flight when it was.
    pub in_flight_when_sent: u64,
}
