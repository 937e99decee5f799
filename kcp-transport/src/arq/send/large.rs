//! Whether large segments arrive.

use std::time::Duration;

use crate::arq::narrow;
use crate::time::Time;

/// Counts the large segments that were lost since one of them arrived.
///
/// Where small segments are acknowledged and large ones are not, a path has become too narrow (RFC
/// 8899, section 4.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LargeSegments {
    /// Segments of more bytes are large.
    least: u16,
    lost: u16,
    /// When the first of them was sent again, in ticks modulo 2^16.
    since: u16,
}

impl LargeSegments {
    /// Those of more than `least` bytes are large.
    pub(super) fn above(least: usize) -> Self {
        Self {
            least: narrow(least),
            lost: 0,
            since: 0,
        }
    }

    /// A segment of `len` bytes is sent again. If they are more than `most`, it was cut for a wider
    /// path, and is known not to fit.
    pub(super) fn on_sent_again(&mut self, now: Time, len: usize, most: usize) {
        if len > self.least.into() && len <= most {
            if self.lost == 0 {
                self.since = ticks(now);
            }
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// A segment of `len` bytes is acknowledged.
    pub(super) fn on_arrived(&mut self, len: usize) {
        if len > self.least.into() {
            self.lost = 0;
        }
    }

    /// Number of large segments sent again since one was acknowledged; 0 while the first of them was
    /// sent again less than `wait` ago, since many may be at once.
    pub(super) fn lost(&self, now: Time, wait: Duration) -> u32 {
        let passed = ticks(now).wrapping_sub(self.since);
        if TICK * u32::from(passed) < wait {
            return 0;
        }
        self.lost.into()
    }
}

/// Narrowing on purpose: only differences matter.
fn ticks(time: Time) -> u16 {
    (time.as_micros() / TICK.as_micros() as u64) as u16
}

/// Sixteen bits of them are a quarter of an hour, and a probe time-out has two of them at least.
const TICK: Duration = Duration::from_millis(15);
