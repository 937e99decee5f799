//! Detects that the local address of a connected socket is gone.

use std::sync::Mutex;
use std::time::Duration;

use crate::net::sync::lock;
use crate::time::Time;

/// Consecutive sends that failed because the local address or the route was gone.
#[derive(Debug, Default)]
pub(in crate::net) struct LocalErrors(Mutex<Streak>);

#[derive(Debug, Default)]
struct Streak {
    since: Option<Time>,
    failures: u32,
    /// How often the socket was replaced and sending failed again.
    replaced: u32,
}

impl LocalErrors {
    /// Records whether sending failed at `now`. Returns whether the socket is to be replaced.
    ///
    /// A new socket may fail too, as long as there is no address at all, so each attempt waits for
    /// twice as long as the one before.
    pub(in crate::net) fn note(&self, now: Time, failed: bool) -> bool {
        let mut streak = lock(&self.0);
        if !failed {
            *streak = Streak::default();
            return false;
        }
        let since = *streak.since.get_or_insert(now);
        streak.failures += 1;
        let wait = (SUSTAINED * (1 << streak.replaced.min(8))).min(LONGEST);
        let replace = streak.failures >= MIN_FAILURES && now - since >= wait;
        if replace {
            *streak = Streak {
                since: Some(now),
                failures: 0,
                replaced: streak.replaced + 1,
            };
        }
        replace
    }
}

/// A route that changes fails for less.
const SUSTAINED: Duration = Duration::from_millis(200);

/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_secs(5);

/// Failures in a row; one may concern a single datagram.
const MIN_FAILURES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sustained_errors_replace_the_socket_and_ever_more_rarely() {
        let errors = LocalErrors::default();
        let mut replaced = Vec::new();
        for millis in (0..10_000).step_by(50) {
            if errors.note(Time::from_millis(millis), true) {
                replaced.push(millis);
            }
        }
        assert_eq!(replaced, [200, 600, 1400, 3000, 6200]);
    }

    #[test]
    fn success_ends_a_streak() {
        let errors = LocalErrors::default();
        for millis in (0..10_000).step_by(50) {
            assert!(!errors.note(Time::from_millis(millis), millis % 200 != 0));
        }
    }
}
