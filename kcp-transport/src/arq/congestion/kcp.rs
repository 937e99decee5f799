//! KCP's congestion window.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::time::Time;

/// The number of segments that congestion control allows in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CongestionWindow {
    cwnd: u32,
    ssthresh: u32,
    /// The window in bytes, which can grow by less than a segment.
    #[doc(alias = "incr")]
    bytes: u32,
    mss: u32,
    /// When the window was last cut, by a fast retransmit and by a time-out.
    fast_cut: Option<Time>,
    timeout_cut: Option<Time>,
}

impl CongestionWindow {
    /// A window of one segment.
    ///
    /// kcp-go v5 kcp.go, flush: its window is zero until the first flush sets it to one, which
    /// delays the first segment by a tick. Ours starts at one.
    pub(crate) fn new(mss: usize) -> Self {
        let mss = u32::try_from(mss).unwrap_or(u32::MAX);
        Self {
            cwnd: 1,
            ssthresh: MIN_SSTHRESH,
            bytes: mss,
            mss,
            fast_cut: None,
            timeout_cut: None,
        }
    }

    /// Maximum number of segments in flight.
    pub(crate) fn limit(&self) -> usize {
        usize::try_from(self.cwnd).unwrap_or(usize::MAX)
    }

    /// Grows the window after `una` moved: slow start below `ssthresh`, about a segment per round
    /// trip above it.
    ///
    /// kcp-go v5 kcp.go, Input: once per datagram, however much it acknowledges, and never beyond
    /// the remote window.
    pub(crate) fn on_advance(&mut self, remote_window: u16) {
        let remote = u32::from(remote_window);
        if self.cwnd >= remote {
            return;
        }
        if self.cwnd < self.ssthresh {
            self.cwnd += 1;
            self.bytes = self.bytes.saturating_add(self.mss);
        } else {
            self.bytes = self.bytes.max(self.mss);
            let share = u64::from(self.mss) * u64::from(self.mss) / u64::from(self.bytes);
            let share = u32::try_from(share).unwrap_or(self.mss);
            self.bytes = self.bytes.saturating_add(share + self.mss / 16);
            if (self.cwnd + 1).saturating_mul(self.mss) <= self.bytes {
                self.cwnd = self.bytes.div_ceil(self.mss);
            }
        }
        if self.cwnd > remote {
            self.cwnd = remote;
            self.bytes = remote.saturating_mul(self.mss);
        }
    }

    /// Cuts the window after a fast or early retransmit with `in_flight` segments in flight.
    ///
    /// kcp-go cuts once per flush, however many segments that retransmits. Here there is no flush,
    /// so at most one cut is made per flush interval.
    pub(crate) fn on_fast_retransmit(
        &mut self,
        now: Time,
        in_flight: usize,
        threshold: Option<NonZeroU32>,
        flush_interval: Duration,
    ) {
        if recently(self.fast_cut, now, flush_interval) {
            return;
        }
        self.fast_cut = Some(now);
        let in_flight = u32::try_from(in_flight).unwrap_or(u32::MAX);
        self.ssthresh = (in_flight / 2).max(MIN_SSTHRESH);
        // kcp-go v5 kcp.go, flush: with fast retransmit off it adds 0xffffffff, which subtracts
        // one. We add zero.
        let inflation = threshold.map_or(0, NonZeroU32::get);
        self.cwnd = self.ssthresh.saturating_add(inflation);
        self.bytes = self.cwnd.saturating_mul(self.mss);
    }

    /// Resets the window after a retransmission time-out with `limit` segments allowed in flight.
    pub(crate) fn on_timeout(&mut self, now: Time, limit: usize, flush_interval: Duration) {
        if recently(self.timeout_cut, now, flush_interval) {
            return;
        }
        self.timeout_cut = Some(now);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        self.ssthresh = (limit / 2).max(MIN_SSTHRESH);
        self.cwnd = 1;
        self.bytes = self.mss;
    }
}

fn recently(cut: Option<Time>, now: Time, interval: Duration) -> bool {
    cut.is_some_and(|cut| now - cut < interval)
}

#[doc(alias = "IKCP_THRESH_MIN")]
const MIN_SSTHRESH: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    fn window() -> CongestionWindow {
        CongestionWindow::new(1000)
    }

    #[test]
    fn slow_start_adds_a_segment_per_datagram_until_ssthresh() {
        let mut window = window();
        window.ssthresh = 10;
        for expected in 2..=10 {
            window.on_advance(100);
            assert_eq!(window.limit(), expected);
        }
        window.on_advance(100);
        assert_eq!(window.limit(), 10);
    }

    #[test]
    fn additive_increase_adds_about_a_segment_per_window() {
        let mut window = window();
        window.ssthresh = 10;
        let mut steps = 0;
        while window.limit() < 11 {
            window.on_advance(100);
            steps += 1;
        }
        // Nine steps of slow start, then 1000 bytes in portions of 1/10 and 1/16 segment.
        assert_eq!(steps, 9 + 7);
    }

    #[test]
    fn window_stays_within_the_remote_window() {
        let mut window = window();
        window.ssthresh = 100;
        for _ in 0..50 {
            window.on_advance(7);
        }
        assert_eq!(window.limit(), 7);
    }

    #[test]
    fn fast_retransmit_halves_once_per_interval() {
        let mut window = window();
        let now = Time::from_millis(5);
        window.on_fast_retransmit(now, 40, NonZeroU32::new(2), TICK);
        assert_eq!((window.limit(), window.ssthresh), (22, 20));
        window.on_fast_retransmit(now, 20, NonZeroU32::new(2), TICK);
        assert_eq!(window.limit(), 22);
        window.on_fast_retransmit(now + TICK, 20, None, TICK);
        assert_eq!(window.limit(), 10);
    }

    #[test]
    fn timeout_resets_to_one_and_a_burst_of_them_holds_ssthresh() {
        let mut window = window();
        let now = Time::from_millis(5);
        window.on_timeout(now, 32, TICK);
        window.on_timeout(now, 1, TICK);
        assert_eq!((window.limit(), window.ssthresh), (1, 16));
    }
}
