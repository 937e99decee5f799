//! Whether the connections to a server are as busy as they can be.

use std::time::Duration;

use kcp_tower::ConnectionInfo;
use tokio::time::Instant;

/// The work of the connections since it was last looked at.
///
/// One core at a time handles the packets of a connection. More calls on it would only share that core.
#[derive(Debug, Default)]
pub(super) struct Saturation {
    looked_at: Option<Instant>,
    /// Of each connection by its conversation: microseconds of work.
    work: Vec<(u32, u64)>,
    saturated: bool,
}

impl Saturation {
    /// Whether each connection worked for nearly all of the time since the last look. `work` is
    /// called for a look, at most once in a [`WINDOW`].
    pub(super) fn update(&mut self, now: Instant, work: impl FnOnce() -> Vec<(u32, u64)>) -> bool {
        let passed = self.looked_at.map(|at| now.saturating_duration_since(at));
        if passed.is_some_and(|passed| passed < WINDOW) {
            return self.saturated;
        }
        let work = work();
        self.saturated = passed.is_some_and(|passed| {
            let full = passed.mul_f64(FULL).as_micros();
            let is_full = |&(conversation, now): &(u32, u64)| {
                let before = self.work.iter().find(|it| it.0 == conversation);
                before.is_some_and(|before| u128::from(now.saturating_sub(before.1)) >= full)
            };
            !work.is_empty() && work.iter().all(is_full)
        });
        (self.looked_at, self.work) = (Some(now), work);
        self.saturated
    }
}

/// The work of connections so far.
pub(super) fn work(connections: &[ConnectionInfo]) -> Vec<(u32, u64)> {
    let work = |it: &ConnectionInfo| {
        let conversation = it.conversation().get();
        (conversation, it.endpoint_stats().busy_micros)
    };
    connections.iter().map(work).collect()
}

/// Shorter times would show the bursts of a connection, not its load.
const WINDOW: Duration = Duration::from_millis(100);

/// The part of the time that a full core works for a connection: the rest is waking up.
const FULL: f64 = 0.9;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::now;

    #[test]
    fn connections_are_saturated_while_each_works_nearly_all_the_time() {
        let (mut saturation, start) = (Saturation::default(), now());
        let mut at = |millis, work: &[(u32, u64)]| {
            saturation.update(start + Duration::from_millis(millis), || work.to_vec())
        };
        assert!(!at(0, &[(1, 500_000)]), "of unknown time");
        assert!(!at(99, &[(1, 599_000)]), "too early");
        assert!(at(100, &[(1, 590_000)]));
        assert!(at(199, &[]), "not looked at again");
        assert!(!at(200, &[(1, 679_999)]), "worked less");
        assert!(!at(300, &[(1, 779_999), (2, 0)]), "a new one may have room");
        assert!(at(400, &[(1, 879_999), (2, 90_000)]));
        assert!(!at(500, &[(1, 979_999), (2, 91_000)]));
        assert!(!at(600, &[]), "all closed");
        assert!(!at(700, &[(3, 100_000)]), "made meanwhile");
    }

    #[test]
    fn long_pause_counts_as_a_whole() {
        let (mut saturation, start) = (Saturation::default(), now());
        let mut at = |seconds, work: u64| {
            saturation.update(start + Duration::from_secs(seconds), || vec![(1, work)])
        };
        at(0, 0);
        assert!(!at(60, 2_000_000), "busy for two of sixty seconds");
        assert!(at(61, 2_950_000));
    }
}
