//! When a sender may write.

use std::time::{Duration, Instant};

use kcp_transport::Stats;

/// Limits a sender to a rate, and how far it writes ahead of what the connection sends.
///
/// The send buffer of a connection holds megabytes, which a slow path needs many seconds for. A test that
/// ends after some time would wait for them.
#[derive(Debug)]
pub(super) struct Pace {
    begin: Instant,
    /// Bits per second.
    rate: Option<u64>,
    /// Bytes written that may wait to be sent, if limited.
    ahead: Option<u64>,
    /// The time and the number of bytes sent when `ahead` was computed.
    last: (Instant, u64),
}

impl Pace {
    /// A pace from `begin` on. Writing ahead is limited if the sender ends after a time.
    pub(super) fn new(begin: Instant, rate: Option<u64>, timed: bool) -> Self {
        Self {
            begin,
            rate,
            ahead: timed.then_some(LEAST_AHEAD),
            last: (begin, 0),
        }
    }

    /// Until when the sender must wait, if it has written so many bytes.
    pub(super) fn wait(&mut self, now: Instant, written: u64, stats: &Stats) -> Option<Instant> {
        if let Some(rate) = self.rate {
            let seconds = written as f64 * 8.0 / rate as f64;
            let due = self.begin + Duration::from_secs_f64(seconds);
            if due > now {
                return Some(due);
            }
        }
        let segment = u64::from(stats.path_mtu);
        let waiting = stats.queued as u64 * segment;
        let ahead = self.limit(now, written.saturating_sub(waiting))?;
        (waiting > ahead).then(|| now + TICK)
    }

    /// The limit of writing ahead: what was sent in the last [`AHEAD`].
    fn limit(&mut self, now: Instant, sent: u64) -> Option<u64> {
        let ahead = self.ahead.as_mut()?;
        let (since, before) = self.last;
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= AHEAD / 2 {
            let rate = sent.saturating_sub(before) as f64 / elapsed.as_secs_f64();
            *ahead = LEAST_AHEAD.max((rate * AHEAD.as_secs_f64()) as u64);
            self.last = (now, sent);
        }
        Some(*ahead)
    }
}

/// A sender waits at most this long after everything it has written was sent; the timer of the runtime
/// ticks once a millisecond.
const AHEAD: Duration = Duration::from_millis(50);

/// The limit at the beginning, when the rate is not known.
const LEAST_AHEAD: u64 = 128 << 10;

const TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn queued(segments: usize) -> Stats {
        let mut stats = Stats::default();
        stats.queued = segments;
        stats.path_mtu = 1000;
        stats
    }

    #[test]
    fn rate_spreads_the_bytes_over_time() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin, Some(8000), false);
        assert_eq!(pace.wait(begin, 0, &queued(0)), None);
        let due = begin + Duration::from_secs(2);
        assert_eq!(pace.wait(begin, 2000, &queued(0)), Some(due));
        assert_eq!(pace.wait(due, 2000, &queued(0)), None);
    }

    #[test]
    fn timed_sender_waits_while_too_much_is_queued_and_others_do_not() {
        let begin = Instant::now();
        let mut timed = Pace::new(begin, None, true);
        assert_eq!(timed.wait(begin, 1 << 30, &queued(100)), None);
        assert!(timed.wait(begin, 1 << 30, &queued(200)).is_some());
        let mut other = Pace::new(begin, None, false);
        assert_eq!(other.wait(begin, 1 << 30, &queued(200)), None);
    }

    #[test]
    fn limit_follows_the_rate_of_the_connection() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin, None, true);
        // 10 MB in 25 ms: 20 MB may wait.
        let later = begin + Duration::from_millis(25);
        assert_eq!(pace.wait(later, 11_000_000, &queued(1000)), None);
        assert_eq!(pace.wait(later, 31_000_000, &queued(20_000)), None);
        assert!(pace.wait(later, 31_000_000, &queued(20_001)).is_some());
    }
}
