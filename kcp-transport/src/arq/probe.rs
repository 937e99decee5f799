//! Asking for the peer's window and telling our own.

use std::time::Duration;

use crate::time::Time;

/// What is to be asked and told, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    ask: bool,
    tell: bool,
    /// The window to be told has opened again: worth repeating, since the peer waits for it.
    reopened: bool,
    /// When to ask next; `None` while the sender is not blocked.
    ask_at: Option<Time>,
    /// The wait that `ask_at` ends.
    wait: Duration,
    tell_at: Option<Time>,
    /// What is to be told is a repetition: an answer to a question does not count as one.
    repeating: bool,
    repeats_left: u8,
}

impl Probe {
    /// Asks for the window as soon as possible.
    pub(super) fn ask(&mut self) {
        self.ask = true;
    }

    /// Tells the window as soon as possible.
    pub(super) fn tell(&mut self) {
        self.tell = true;
    }

    /// Tells as soon as possible that the window is open again, then twice more.
    ///
    /// kcp-go v5 kcp.go, Recv: it tells once, and a peer that misses it waits for its own probe,
    /// which may be two minutes away.
    pub(super) fn tell_reopened(&mut self) {
        self.tell = true;
        self.reopened = true;
    }

    /// New data arrived: the peer knows that the window is open.
    pub(super) fn on_data(&mut self) {
        self.tell_at = None;
        self.repeating = false;
        self.repeats_left = 0;
    }

    /// Starts, runs and stops the timers.
    pub(super) fn update(&mut self, now: Time, blocked: bool) {
        if !blocked {
            self.ask_at = None;
        } else if self.ask_at.is_none() {
            self.wait = FIRST_WAIT;
            self.ask_at = Some(now + self.wait);
        } else if self.ask_at.is_some_and(|at| at <= now) {
            self.wait = (self.wait + self.wait / 2).min(LONGEST_WAIT);
            self.ask_at = Some(now + self.wait);
            self.ask = true;
        }
        if self.tell_at.is_some_and(|at| at <= now) {
            self.tell_at = None;
            self.tell = true;
            self.repeating = true;
        }
    }

    /// When something is to be asked or told next, by the state `blocked` of the sender.
    pub(super) fn next(&self, blocked: bool) -> Option<Time> {
        if self.is_due() || (blocked && self.ask_at.is_none()) {
            return Some(Time::ZERO);
        }
        let ask_at = if blocked { self.ask_at } else { None };
        [ask_at, self.tell_at].into_iter().flatten().min()
    }

    /// Whether there is something to ask or tell now.
    pub(super) fn is_due(&self) -> bool {
        self.ask || self.tell
    }

    /// Whether to ask now; the caller does so.
    pub(super) fn take_ask(&mut self) -> bool {
        std::mem::take(&mut self.ask)
    }

    /// Whether to tell now; the caller does so. A reopening is repeated every `spacing`.
    pub(super) fn take_tell(&mut self, now: Time, spacing: Duration) -> bool {
        let tell = std::mem::take(&mut self.tell);
        if std::mem::take(&mut self.reopened) {
            self.repeats_left = REPEATS;
            self.tell_at = Some(now + spacing);
            self.repeating = false;
        } else if std::mem::take(&mut self.repeating) {
            self.repeats_left = self.repeats_left.saturating_sub(1);
            self.tell_at = (self.repeats_left > 0).then_some(now + spacing);
        }
        tell
    }
}

/// Wait before the first question.
#[doc(alias = "IKCP_PROBE_INIT")]
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between questions.
///
/// kcp-go backs off to 120 s, which is how long one lost answer may stall it. A probe is 24 bytes,
/// so two seconds cost little.
#[doc(alias = "IKCP_PROBE_LIMIT")]
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How often a reopening is told again.
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
            assert!(probe.take_ask());
        }
        assert_eq!(waits, [500, 750, 1125, 1687, 2000, 2000, 2000]);
    }

    #[test]
    fn unblocking_stops_and_resets_the_timer() {
        let mut probe = Probe::default();
        probe.update(Time::ZERO, true);
        probe.update(Time::from_millis(600), true);
        assert!(probe.take_ask());
        assert_eq!(probe.next(false), None);
        probe.update(Time::from_millis(700), false);
        probe.update(Time::from_millis(800), true);
        assert_eq!(probe.next(true), Some(Time::from_millis(1300)));
    }

    #[test]
    fn answers_to_questions_are_no_repetitions() {
        let spacing = Duration::from_millis(100);
        let mut probe = Probe::default();
        probe.tell_reopened();
        let mut told = 0;
        for round in 0..20 {
            let now = Time::ZERO + spacing / 2 * round;
            probe.update(now, false);
            if round % 2 == 1 {
                probe.tell();
            }
            told += u32::from(probe.take_tell(now, spacing));
        }
        assert_eq!(told, 10 + 3);
    }

    #[test]
    fn reopening_is_told_three_times_unless_data_arrives() {
        let spacing = Duration::from_millis(100);
        for (data_after, expected) in [(9, 3), (2, 2), (1, 1)] {
            let mut probe = Probe::default();
            probe.tell_reopened();
            let mut told = 0;
            for round in 0..6 {
                let now = Time::ZERO + spacing * round;
                probe.update(now, false);
                told += u32::from(probe.take_tell(now, spacing));
                if told == data_after {
                    probe.on_data();
                }
            }
            assert_eq!(told, expected);
            assert_eq!(probe.next(false), None);
        }
    }
}
