//! When the next segment is due.

use std::time::Duration;

use super::Sender;
use crate::arq::LONG_PAUSE;
use crate::arq::loss::Resend;
use crate::time::Time;

impl Sender {
    /// Whether a queued segment fits into a window of `limit` segments.
    pub(in crate::arq) fn can_send_new(&self, limit: usize) -> bool {
        !self.queue.is_empty() && self.flight.len() < limit
    }

    /// When the next segment is due: the epoch if now.
    pub(in crate::arq) fn next(&self, limit: usize) -> Option<Time> {
        let open_at = self.open_at();
        let new_data = if self.queue.wants_update() {
            Some(Time::ZERO)
        } else {
            let release = self.queue.release(self.flight.len());
            let release = release.filter(|_| self.flight.len() < limit);
            release.and_then(|at| open_at.map(|open| open.max(at)))
        };
        if self.flight.unacked() == 0 {
            return new_data;
        }
        let again = match self.rack.next_due(&self.flight) {
            Some(Resend::Probe) => Some(Time::ZERO),
            Some(Resend::Fast | Resend::Early) => open_at,
            None => None,
        };
        // A retransmission that waits for the rate is as good as a probe: see [`Self::update`].
        let probe = again.is_none().then(|| self.probe_at());
        let overdue = self.rack.next().or(probe);
        let copy = self.protector.as_ref().and_then(|it| it.next());
        [new_data, again, overdue, copy].into_iter().flatten().min()
    }

    /// When the controller lets a segment out, the epoch if now; `None` if that needs an ack.
    fn open_at(&self) -> Option<Time> {
        match &self.regulator {
            Some(regulator) => regulator.open_at(self.flight.flying()),
            None => Some(Time::ZERO),
        }
    }

    /// Whether the controller lets a segment out now.
    pub(super) fn is_open(&mut self, now: Time) -> bool {
        let flying = self.flight.flying();
        match &mut self.regulator {
            Some(regulator) => regulator.is_open(now, flying),
            None => true,
        }
    }

    fn probe_at(&self) -> Time {
        let timeout = self.path.probe_timeout();
        self.timer.at(timeout, self.step())
    }

    /// By how much a wait is longer than the one before.
    ///
    /// kcp-go v5 kcp.go, flush: a time-out lengthens the segment's own time-out by the current one,
    /// or half of it.
    fn step(&self) -> Duration {
        let timeout = self.path.probe_timeout();
        if self.path.no_delay() {
            timeout / 2
        } else {
            timeout
        }
    }

    /// Updates what is due, so that [`Self::peek`] finds it.
    pub(in crate::arq) fn update(&mut self, now: Time, flush_interval: Duration) {
        self.queue.update(now, flush_interval);
        if let Some(protector) = &mut self.protector {
            protector.judge(now, &mut self.path);
        }
        if self.flight.unacked() == 0 {
            return;
        }
        if self.rack.next().is_some_and(|at| at <= now) {
            self.detect_losses(now);
        }
        // While losses are looked for, the peer acknowledges something; while there are any, their
        // retransmission is as good as a probe.
        let repairs = self.rack.peek_due(&self.flight).is_some() && self.open_at().is_some();
        let looks = self.rack.next().is_some() || repairs;
        if !looks && self.probe_at() <= now {
            self.probe(now);
        }
    }

    /// The probe time-out has passed: the oldest segments are sent again.
    ///
    /// Of a few, all are: nothing else might show that the others are lost too. Of many, two: one
    /// may be lost, and the acknowledgement of the other shows what became of the rest.
    fn probe(&mut self, now: Time) {
        let timeout = self.path.probe_timeout();
        let most = if self.timer.is_overdue(now, timeout, self.step()) {
            // That late, this side was suspended, and acks may be waiting unread.
            1
        } else if self.flight.unacked() <= THIN {
            THIN
        } else {
            2
        };
        self.timer.on_passed(now);
        if self.timer.passed() == PERSISTENT
            && let Some(regulator) = &mut self.regulator
        {
            regulator.on_persistent_loss(now);
        }
        self.rack.probe(most, &mut self.flight);
        if self.flight.unacked() <= THIN
            && let Some(protector) = &mut self.protector
        {
            for sequence in self.rack.probes() {
                protector.on_probed(now, &self.path, sequence);
            }
        }
    }

    /// Whether something was due so long ago that this side must have been suspended.
    pub(in crate::arq) fn is_overdue(&self, now: Time) -> bool {
        let timeout = self.path.probe_timeout();
        let in_flight = self.flight.unacked() > 0;
        in_flight
            && (self.timer.is_overdue(now, timeout, self.step())
                || self.rack.next().is_some_and(|at| at + LONG_PAUSE < now))
    }

    pub(super) fn is_released(&self, now: Time) -> bool {
        self.queue.is_released(now, self.flight.len())
    }
}

/// Segments in flight that make a thin flow (Linux, `tcp-thin.txt`).
const THIN: usize = 4;

/// Probe time-outs in a row after which a controller is told.
const PERSISTENT: u32 = 3;
