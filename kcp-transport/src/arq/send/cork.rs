//! Holding new data back until it fills a datagram.

use crate::arq::options::WriteCoalescing;
use crate::time::Time;

/// How long new data waits for company.
///
/// kcp-go v5 sess.go, SetWriteDelay: its tick runs all the time, so data waits for half of it on
/// average. Here the wait begins with the first byte, so nothing ticks while nothing waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cork {
    /// Nothing waits.
    Off,
    /// What is written next waits, and its wait has yet to begin.
    Idle,
    /// What is written waits until then.
    Waiting(Time),
}

impl Cork {
    pub(super) fn new(policy: WriteCoalescing) -> Self {
        match policy {
            WriteCoalescing::Immediate => Self::Off,
            WriteCoalescing::Delayed => Self::Idle,
        }
    }

    /// Something waits since now, and until `until` unless it waits already.
    pub(super) fn start(&mut self, until: Time) {
        if matches!(self, Self::Idle) {
            *self = Self::Waiting(until);
        }
    }

    /// Nothing waits any more.
    pub(super) fn reset(&mut self) {
        if matches!(self, Self::Waiting(_)) {
            *self = Self::Idle;
        }
    }

    /// Nothing will wait again.
    pub(super) fn turn_off(&mut self) {
        *self = Self::Off;
    }

    /// When the wait is over: the epoch without one.
    ///
    /// A wait that has yet to begin ends at the end of time, but see [`Self::is_idle`].
    pub(super) fn until(&self) -> Time {
        match self {
            Self::Off => Time::ZERO,
            Self::Idle => Time::from_micros(u64::MAX),
            Self::Waiting(until) => *until,
        }
    }

    /// Whether the wait of what was written has yet to begin.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }
}
