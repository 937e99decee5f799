//! The delay of write coalescing: new data is held back until it fills a datagram.

use crate::arq::options::WriteCoalescing;
use crate::time::Time;

/// How long new data is held back.
///
/// kcp-go v5 sess.go, SetWriteDelay: its tick always runs, so data waits for half a tick on
/// average. Here the delay begins with the first byte, so no timer runs while nothing waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cork {
    /// Data is not held back.
    Off,
    /// Data is held back, and the delay has not begun.
    Idle,
    /// Data is held back until this time.
    Waiting(Time),
}

impl Cork {
    pub(super) fn new(policy: WriteCoalescing) -> Self {
        match policy {
            WriteCoalescing::Immediate => Self::Off,
            WriteCoalescing::Delayed => Self::Idle,
        }
    }

    /// Changes the policy. A delay that has begun goes on, unless there are none any more.
    pub(super) fn set_policy(&mut self, policy: WriteCoalescing) {
        match (policy, &self) {
            (WriteCoalescing::Immediate, _) => *self = Self::Off,
            (WriteCoalescing::Delayed, Self::Off) => *self = Self::Idle,
            (WriteCoalescing::Delayed, _) => {}
        }
    }

    /// Starts the delay, which ends at `until`, unless it has begun already.
    pub(super) fn start(&mut self, until: Time) {
        if matches!(self, Self::Idle) {
            *self = Self::Waiting(until);
        }
    }

    /// Ends the delay, since the queue is empty.
    pub(super) fn reset(&mut self) {
        if matches!(self, Self::Waiting(_)) {
            *self = Self::Idle;
        }
    }

    /// Holds nothing back from now on.
    pub(super) fn turn_off(&mut self) {
        *self = Self::Off;
    }

    /// When the delay ends: the epoch if data is not held back.
    ///
    /// The end of time for a delay that has not begun; see [`Self::is_idle`].
    pub(super) fn until(&self) -> Time {
        match self {
            Self::Off => Time::ZERO,
            Self::Idle => Time::from_micros(u64::MAX),
            Self::Waiting(until) => *until,
        }
    }

    /// Whether the delay has not begun.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }
}
