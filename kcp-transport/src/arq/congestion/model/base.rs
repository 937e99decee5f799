//! The round-trip time of the path when nothing waits at the bottleneck.

/// The shortest round trip of this cycle and the one before, in seconds.
#[derive(Debug)]
pub(super) struct BaseTrip {
    /// Of the cycle before; an estimate before there is a sample.
    before: f64,
    current: Option<f64>,
    /// The last round trips.
    recent: [f64; RECENT],
    samples: usize,
}

impl BaseTrip {
    /// `estimate` counts until there is a sample.
    pub(super) fn new(estimate: f64) -> Self {
        Self {
            before: estimate,
            current: None,
            recent: [f64::MAX; RECENT],
            samples: 0,
        }
    }

    pub(super) fn get(&self) -> f64 {
        self.current.map_or(self.before, |it| it.min(self.before))
    }

    /// Takes a sample into account. Returns whether it is about as short as the base.
    pub(super) fn on_sample(&mut self, rtt: f64) -> bool {
        if self.samples == 0 {
            // A handshake may have been repeated, or answered late.
            self.before = rtt;
        }
        self.recent[self.samples % RECENT] = rtt;
        self.samples += 1;
        let is_short = rtt <= self.get() * (1.0 + TOLERANCE);
        self.current = Some(self.current.map_or(rtt, |it| it.min(rtt)));
        is_short
    }

    /// The queue is about to be emptied: samples of before the last such time are forgotten.
    pub(super) fn begin_cycle(&mut self) {
        self.before = self.current.take().unwrap_or(self.before);
    }

    /// The shortest of the last few samples, once there are enough.
    fn standing(&self) -> Option<f64> {
        let least = self.recent.iter().copied().fold(f64::MAX, f64::min);
        (self.samples >= RECENT).then_some(least)
    }

    /// Whether a lasting queue has built up.
    pub(super) fn has_queue(&self) -> bool {
        let base = self.get();
        let margin = (base / 8.0).max(MARGIN);
        self.standing().is_some_and(|it| it > base + margin)
    }

    /// Whether something waits at the bottleneck.
    pub(super) fn has_short_queue(&self) -> bool {
        let base = self.get();
        self.standing().is_some_and(|it| it > base * SHORT_QUEUE)
    }
}

const RECENT: usize = 8;

/// A round trip that is longer by so little is as short as the base.
const TOLERANCE: f64 = 1.0 / 64.0;

/// Timers are late by so much, in seconds.
const MARGIN: f64 = 0.004;

const SHORT_QUEUE: f64 = 1.06;
