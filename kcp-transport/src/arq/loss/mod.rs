//! Segments in flight, their round-trip time, and which of them are lost.

mod deadlines;
mod detector;
mod flight;
mod rtt;

pub(super) use deadlines::{Deadline, Deadlines};
pub(super) use detector::{Evidence, LossDetector, Resend};
pub(super) use flight::{Flight, Sent, Suspicion};
pub(super) use rtt::{MAX_RTO, RttEstimator};
