//! Window probes: requesting the peer's window and announcing ours.

use std::time::Duration;

use crate::time::Time;

/// Which window requests and announcements are due, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    request: bool,
    announce: bool,
    /// The announced window has reopened. It is repeated, since the peer waits for it.
    reopened: bool,
    /// When to send the next request; `None` while the sender is not blocked.
    request_at: Option<Time>,
    /// The wait that `request_at` ends, in microseconds.
    wait: u32,
    announce_at: Option<Time>,
    /// The due announcement is a repetition. An answer to the peer's request does not count as one.
    repeating: bool,
    repeats_left: u8,
    requests: Requests,
}

impl Probe {
    /// Requests the peer's window as soon as possible.
    pub(super) fn request(&mut self) {
        self.request = true;
    }

    /// Announces our window as soon as possible.
    pub(super) fn announce(&mut self) {
        self.announce = true;
    }

    /// Announces as soon as possible that the window is open again, then twice more.
    ///
    /// kcp-go v5 kcp.go, Recv: announces once, so a peer that misses the announcement waits for its
    /// own probe, up to two minutes.
    pub(super) fn announce_reopened(&mut self) {
        self.announce = true;
        self.reopened = true;
    }

    /// New data arrived, so the peer knows that the window is open.
    pub(super) fn on_data(&mut self) {
        self.announce_at = None;
        self.repeating = false;
        self.repeats_left = 0;
    }

    /// Starts, runs and stops the timers.
    pub(super) fn update(&mut self, now: Time, blocked: bool) {
        if !blocked {
            self.request_at = None;
        } else if self.request_at.is_none() {
            self.wait = FIRST_WAIT;
            self.request_at = Some(now + Duration::from_micros(self.wait.into()));
        } else if self.request_at.is_some_and(|at| at <= now) {
            self.wait = (self.wait + self.wait / 2).min(LONGEST_WAIT);
            self.request_at = Some(now + Duration::from_micros(self.wait.into()));
            self.request = true;
        }
        if self.announce_at.is_some_and(|at| at <= now) {
            self.announce_at = None;
            self.announce = true;
            self.repeating = true;
        }
    }

    /// When the next request or announcement is due. `blocked` is whether the sender waits for a
    /// window.
    pub(super) fn next(&self, blocked: bool) -> Option<Time> {
        if self.is_due() || (blocked && self.request_at.is_none()) {
            return Some(Time::ZERO);
        }
        let request_at = if blocked { self.request_at } else { None };
        [request_at, self.announce_at].into_iter().flatten().min()
    }

    /// Whether a request or announcement is due now.
    pub(super) fn is_due(&self) -> bool {
        self.request || self.announce
    }

    /// Takes the due request, if any; the caller sends it.
    pub(super) fn take_request(&mut self, now: Time) -> bool {
        if self.request {
            self.requests.on_sent(now);
        }
        std::mem::take(&mut self.request)
    }

    /// The peer has announced its window. Returns the times since the first request that this may
    /// answer, and since the last, if there are any.
    pub(super) fn on_announced(&mut self, now: Time) -> Option<(Duration, Duration)> {
        self.requests.on_answered(now)
    }

    /// Takes the due announcement, if any; the caller sends it. A reopening is repeated every
    /// `spacing`.
    pub(super) fn take_announcement(&mut self, now: Time, spacing: Duration) -> bool {
        let announce = std::mem::take(&mut self.announce);
        if std::mem::take(&mut self.reopened) {
            self.repeats_left = REPEATS;
            self.announce_at = Some(now + spacing);
            self.repeating = false;
        } else if std::mem::take(&mut self.repeating) {
            self.repeats_left = self.repeats_left.saturating_sub(1);
            self.announce_at = (self.repeats_left > 0).then_some(now + spacing);
        }
        announce
    }
}

/// Requests that are not answered.
#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    left: u8,
    /// When the first and the last left, if any are.
    first: Time,
    last: Time,
}

impl Requests {
    fn on_sent(&mut self, now: Time) {
        if self.left == 0 {
            self.first = now;
        }
        self.last = now;
        self.left = self.left.saturating_add(1);
    }

    fn on_answered(&mut self, now: Time) -> Option<(Duration, Duration)> {
        self.left = self.left.checked_sub(1)?;
        Some((now - self.first, now - self.last))
    }
}

/// The round-trip time, estimated by a handshake that was answered so long after its first and its
/// last repetition.
///
/// If nothing is lost, the time since the first is exact. If repetitions are lost, it contains waits
/// of up to a second, which the time-out of the first data would repeat. So it counts up to what
/// paths on land take. A longer path takes the time since the last repetition at least, and later
/// answers raise that before data could be acknowledged; until then, a few segments may be sent
/// again for nothing.
pub(super) fn handshake_trip(first: Duration, last: Duration) -> Duration {
    first.min(last.max(LONG_TRIP))
}

/// Most paths on land are shorter.
const LONG_TRIP: Duration = Duration::from_millis(200);

/// Wait before the first request, in microseconds.
#[doc(alias = "IKCP_PROBE_INIT")]
const FIRST_WAIT: u32 = 500_000;

/// Longest wait between requests, in microseconds.
///
/// kcp-go backs off to 120 s, so one lost answer may stall it for that long. A probe has 24 bytes,
/// so one every two seconds costs little.
#[doc(alias = "IKCP_PROBE_LIMIT")]
const LONGEST_WAIT: u32 = 2_000_000;

/// How often the announcement of a reopening is repeated.
const REPEATS: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_half_up_to_two_seconds() {
        let mut probe = Probe::default();
        let mut now = Time::from_millis(7);
        probe.update(now, true);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let at = probe.next(true).expect("blocked");
            waits.push((at - now).as_millis());
            now = at;
            probe.update(now, true);
            assert!(probe.take_request(Time::ZERO));
        }
        assert_eq!(waits, [500, 750, 1125, 1687, 2000, 2000, 2000]);
    }

    #[test]
    fn unblocking_stops_and_resets_the_timer() {
        let mut probe = Probe::default();
        probe.update(Time::ZERO, true);
        probe.update(Time::from_millis(600), true);
        assert!(probe.take_request(Time::ZERO));
        assert_eq!(probe.next(false), None);
        probe.update(Time::from_millis(700), false);
        probe.update(Time::from_millis(800), true);
        assert_eq!(probe.next(true), Some(Time::from_millis(1300)));
    }

    #[test]
    fn each_answer_to_a_request_tells_when_the_first_and_the_last_left() {
        let mut probe = Probe::default();
        for sent in [0, 50, 150] {
            probe.request();
            assert!(probe.take_request(Time::from_millis(sent)));
        }
        let mut trips = |at| {
            let trips = probe.on_announced(Time::from_millis(at));
            trips.map(|(first, last)| (first.as_millis(), last.as_millis()))
        };
        assert_eq!(trips(300), Some((300, 150)));
        assert_eq!(trips(350), Some((350, 200)));
        assert_eq!(trips(450), Some((450, 300)));
        assert_eq!(trips(500), None);
    }

    #[test]
    fn handshake_with_lost_repetitions_counts_as_that_of_a_long_path_on_land() {
        let trip = |first, last| {
            let trip = handshake_trip(Duration::from_millis(first), Duration::from_millis(last));
            trip.as_millis()
        };
        assert_eq!(trip(50, 0), 50);
        assert_eq!(trip(800, 50), 200);
        assert_eq!(trip(450, 300), 300);
        assert_eq!(trip(400, 400), 400);
    }

    #[test]
    fn answers_to_requests_do_not_count_as_repetitions() {
        let spacing = Duration::from_millis(100);
        let mut probe = Probe::default();
        probe.announce_reopened();
        let mut announced = 0;
        for round in 0..20 {
            let now = Time::ZERO + spacing / 2 * round;
            probe.update(now, false);
            if round % 2 == 1 {
                probe.announce();
            }
            announced += u32::from(probe.take_announcement(now, spacing));
        }
        assert_eq!(announced, 10 + 3);
    }

    #[test]
    fn reopening_is_announced_three_times_unless_data_arrives() {
        let spacing = Duration::from_millis(100);
        for (data_after, expected) in [(9, 3), (2, 2), (1, 1)] {
            let mut probe = Probe::default();
            probe.announce_reopened();
            let mut announced = 0;
            for round in 0..6 {
                let now = Time::ZERO + spacing * round;
                probe.update(now, false);
                announced += u32::from(probe.take_announcement(now, spacing));
                if announced == data_after {
                    probe.on_data();
                }
            }
            assert_eq!(announced, expected);
            assert_eq!(probe.next(false), None);
        }
    }
}
