//! The only place that reads a clock or draws entropy.
#![allow(clippy::disallowed_methods)]

use std::io;

use tokio::time::Instant;

use crate::time::Time;

/// A monotonic clock. It follows tokio's paused time in tests.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Clock {
    epoch: Instant,
}

impl Clock {
    /// Starts a clock whose epoch is now.
    pub(in crate::net) fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    pub(in crate::net) fn now(&self) -> Time {
        Time::ZERO + self.epoch.elapsed()
    }

    /// The instant at which the clock shows `time`, or one a year from its epoch if the platform
    /// cannot represent it.
    pub(in crate::net) fn instant(&self, time: Time) -> Instant {
        self.epoch
            .checked_add(time - Time::ZERO)
            .unwrap_or_else(|| self.epoch + FAR)
    }
}

/// Unpredictable bytes from the operating system.
pub(in crate::net) fn entropy<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// A year: no timer of this crate is longer.
const FAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
