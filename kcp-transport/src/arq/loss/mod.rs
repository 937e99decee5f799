//! What was sent and not yet acknowledged, how long that takes, and what of it is lost.

mod deadlines;
mod detector;
mod flight;
mod rtt;

pub(super) use deadlines::{Deadline, Deadlines};
pub(super) use detector::{Evidence, LossDetector, Resend};
pub(super) use flight::{Flight, Sent, Suspicion};
pub(super) use rtt::{MAX_RTO, RttEstimator};
