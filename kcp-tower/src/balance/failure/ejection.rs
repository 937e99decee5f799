//! Ejection of endpoints that fail.

use std::time::Duration;

use tokio::time::Instant;

/// When an endpoint that fails is ejected, and how its share of the requests grows afterwards.
///
/// An ejected endpoint gets no requests for a time that grows with each ejection in a row. Then it
/// gets a tenth of its share, growing to all of it. A failure before that ejects it again at once.
///
/// An endpoint that is only away is not ejected: while it cannot be connected to, it gets no requests
/// anyway, and all of its share as soon as it can be. What fails together, as the requests of a
/// connection that is lost do, counts as one failure in a row.
///
/// ```
/// use std::time::Duration;
///
/// use kcp_tower::balance::Ejection;
///
/// let ejection = Ejection::default().failures_in_a_row(3).time(Duration::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ejection {
    failures_in_a_row: u32,
    failure_rate: f64,
    time: Duration,
    slow_return: Duration,
    max_share: f64,
}

impl Ejection {
    /// Endpoints are never ejected.
    #[must_use]
    pub fn off() -> Self {
        Self {
            failures_in_a_row: u32::MAX,
            failure_rate: f64::INFINITY,
            ..Self::default()
        }
    }

    /// A circuit breaker for each endpoint: it is ejected for `time` after this many failures in a row,
    /// even if it is the only one. Until then requests that find no other endpoint fail at once.
    #[must_use]
    pub fn circuit_breaker(failures: u32, time: Duration) -> Self {
        let default = Self::default().failures_in_a_row(failures).time(time);
        default.max_share(1.0)
    }

    /// Failures without a success between them that eject an endpoint, each of a request that began
    /// after the one before had failed, or of one without an answer in time. Default 5; 0 means 1.
    #[must_use]
    pub fn failures_in_a_row(mut self, failures: u32) -> Self {
        self.failures_in_a_row = failures.max(1);
        self
    }

    /// The share of failures among at least 20 requests within about 10 s that ejects an endpoint.
    /// Default 0.5. Above 1.0 it never does.
    #[must_use]
    pub fn failure_rate(mut self, share: f64) -> Self {
        self.failure_rate = share;
        self
    }

    /// How long the first ejection lasts; the second in a row lasts twice as long, up to ten times
    /// this. Default 5 s.
    #[must_use]
    pub fn time(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// The time in which the share of an endpoint grows to its full size after an ejection. Default 10 s.
    #[must_use]
    pub fn slow_return(mut self, time: Duration) -> Self {
        self.slow_return = time;
        self
    }

    /// The share of the endpoints of a set that may be ejected at a time, 0.0 to 1.0. Default 0.5: if
    /// most of them fail, the cause is probably common to all, and ejecting them would not help. If more
    /// fail, those that were ejected last stay ejected.
    #[must_use]
    pub fn max_share(mut self, share: f64) -> Self {
        self.max_share = share;
        self
    }

    /// How many of a number of endpoints may be ejected.
    pub(in crate::balance) fn most_of(&self, endpoints: usize) -> usize {
        let most = self.max_share.clamp(0.0, 1.0) * endpoints as f64;
        // Not negative and at most `endpoints`; the fraction is cut.
        most as usize
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures_in_a_row: 5,
            failure_rate: 0.5,
            time: Duration::from_secs(5),
            slow_return: Duration::from_secs(10),
            max_share: 0.5,
        }
    }
}

/// The health of an endpoint, judged by its answers.
///
/// ```text
///            failures              time is over
///  Normal ------------> Ejected ----------------> Returning
///    ^                     ^                       |     |
///    |                     +------- a failure -----+     |
///    +--------------- slow return is over ---------------+
/// ```
#[derive(Debug, Default)]
pub(in crate::balance) struct Health {
    in_a_row: u32,
    /// The last failure that counted.
    failed: Option<Instant>,
    /// Ejections since the endpoint was last normal.
    ejections: u32,
    ejected: Option<Ejected>,
    window: Window,
    /// Ejections ever.
    pub(in crate::balance) total: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ejected {
    until: Instant,
    normal: Instant,
}

/// Successes and failures of a time and of the one before it.
#[derive(Debug, Default)]
struct Window {
    start: Option<Instant>,
    now: (u32, u32),
    before: (u32, u32),
}

/// What an endpoint gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::balance) enum Standing {
    Normal,
    /// This share of what it would get.
    Returning(f64),
    Ejected(Instant),
}

impl Health {
    pub(in crate::balance) fn standing(&self, now: Instant) -> Standing {
        match self.ejected {
            Some(Ejected { until, .. }) if now < until => Standing::Ejected(until),
            Some(Ejected { until, normal }) if now < normal => {
                let gone = (now - until).as_secs_f64() / (normal - until).as_secs_f64();
                Standing::Returning(gone.max(FIRST_SHARE))
            }
            _ => Standing::Normal,
        }
    }

    pub(in crate::balance) fn on_success(&mut self, now: Instant) {
        self.in_a_row = 0;
        self.window.roll(now).0 += 1;
        if self.standing(now) == Standing::Normal {
            self.ejections = 0;
            self.ejected = None;
        }
    }

    /// A request that began then has failed. Returns whether that ejects the endpoint.
    pub(in crate::balance) fn on_failure(
        &mut self,
        options: &Ejection,
        began: Instant,
        now: Instant,
    ) -> bool {
        // It may have the same cause as the last one.
        let is_together = self.failed.is_some_and(|failed| began < failed);
        if !is_together {
            self.in_a_row = self.in_a_row.saturating_add(1);
            self.failed = Some(now);
        }
        self.window.roll(now).1 += 1;
        let eject = match self.standing(now) {
            // Requests that began before the ejection.
            Standing::Ejected(_) => false,
            Standing::Returning(_) => !is_together,
            Standing::Normal => {
                self.in_a_row >= options.failures_in_a_row
                    || self.window.failure_rate() >= options.failure_rate
            }
        };
        if eject {
            self.ejections = (self.ejections + 1).min(LONGEST);
            let until = now + options.time * self.ejections;
            let normal = until + options.slow_return;
            self.ejected = Some(Ejected { until, normal });
            self.in_a_row = 0;
            self.window = Window::default();
            self.total += 1;
        }
        eject
    }
}

impl Window {
    fn roll(&mut self, now: Instant) -> &mut (u32, u32) {
        let start = *self.start.get_or_insert(now);
        let age = now.saturating_duration_since(start);
        if age >= WINDOW {
            let recent = age < 2 * WINDOW;
            self.before = if recent { self.now } else { (0, 0) };
            self.now = (0, 0);
            self.start = Some(now);
        }
        &mut self.now
    }

    /// 0.0 while there are too few requests.
    fn failure_rate(&self) -> f64 {
        let failures = self.now.1 + self.before.1;
        let all = self.now.0 + self.before.0 + failures;
        if all < ENOUGH {
            return 0.0;
        }
        f64::from(failures) / f64::from(all)
    }
}

/// The part of its share that an endpoint gets first after an ejection.
const FIRST_SHARE: f64 = 0.1;

/// The longest ejection, in times of the first one.
const LONGEST: u32 = 10;

/// Two of these are looked at.
const WINDOW: Duration = Duration::from_secs(5);

/// Requests without which a share of failures means nothing.
const ENOUGH: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::sync::now;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn failures_in_a_row_eject_and_the_share_comes_back_slowly() {
        let (options, start) = (Ejection::default(), now());
        let mut health = Health::default();
        for _ in 0..4 {
            assert!(!health.on_failure(&options, start, start));
        }
        health.on_success(start);
        for failure in 1..=5 {
            assert_eq!(health.on_failure(&options, start, start), failure == 5);
        }
        let after = |count| health.standing(start + seconds(count));
        assert_eq!(after(0), Standing::Ejected(start + seconds(5)));
        assert_eq!(after(5), Standing::Returning(0.1));
        assert_eq!(after(10), Standing::Returning(0.5));
        assert_eq!(after(15), Standing::Normal);
    }

    #[test]
    fn failure_while_returning_ejects_for_longer() {
        let (options, mut at) = (Ejection::default().failures_in_a_row(1), now());
        let mut health = Health::default();
        for count in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10] {
            assert!(health.on_failure(&options, at, at));
            assert_eq!(
                health.standing(at),
                Standing::Ejected(at + count * seconds(5))
            );
            at += count * seconds(5);
        }
        at += seconds(10);
        health.on_success(at);
        assert!(health.on_failure(&options, at, at));
        assert_eq!(health.standing(at), Standing::Ejected(at + seconds(5)));
        assert_eq!(health.total, 12);
    }

    #[test]
    fn share_of_failures_ejects_once_there_are_enough_requests() {
        let (options, start) = (Ejection::default(), now());
        let options = options.failures_in_a_row(100);
        let mut health = Health::default();
        for request in 1..=10 {
            health.on_success(start);
            assert_eq!(health.on_failure(&options, start, start), request == 10);
        }
        // One request a second is never enough: the old ones are forgotten.
        let mut health = Health::default();
        for request in 0..100 {
            let at = start + request * seconds(1);
            assert!(!health.on_failure(&options.failures_in_a_row(101), at, at));
        }
    }

    #[test]
    fn failures_of_requests_at_a_time_count_as_one_in_a_row() {
        let (options, start) = (Ejection::default(), now());
        let mut health = Health::default();
        for lost in 1..=5 {
            // Requests of a connection that is lost.
            let at = start + seconds(20 * lost);
            let mut ejected = Vec::new();
            for request in 0..10 {
                let began = at - Duration::from_millis(100 * request);
                ejected.push(health.on_failure(&options, began, at));
            }
            assert_eq!(ejected.contains(&true), lost == 5, "{lost}");
        }
    }

    #[test]
    fn requests_of_before_the_ejection_change_nothing() {
        let (options, start) = (Ejection::default().failures_in_a_row(1), now());
        let mut health = Health::default();
        assert!(health.on_failure(&options, start, start));
        assert!(!health.on_failure(&options, start, start));
        health.on_success(start);
        let ejected = health.standing(start + seconds(4));
        assert_eq!(ejected, Standing::Ejected(start + seconds(5)));
    }

    #[test]
    fn part_of_a_set_may_be_ejected() {
        let most = |share, of| Ejection::default().max_share(share).most_of(of);
        assert_eq!((most(0.5, 1), most(0.5, 5), most(1.0, 5)), (0, 2, 5));
        assert_eq!((most(f64::NAN, 5), most(-1.0, 5), most(9.0, 5)), (0, 0, 5));
    }
}
