//! A host's own clock.

use kcp_transport::time::Time;

/// Microseconds of true time, which no host can see.
pub(crate) type Micros = u64;

pub(crate) const SECOND: Micros = 1_000_000;

/// Converts true time to a host's clock, and back.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    base: u64,
    /// Parts per million that it runs fast.
    drift: i64,
    /// How long it has stood still so far.
    stood: Micros,
}

impl Clock {
    pub(crate) fn new(base: u64, drift: i64) -> Self {
        Self {
            base,
            drift,
            stood: 0,
        }
    }

    /// Stops the clock for a while.
    pub(crate) fn stand(&mut self, time: Micros) {
        self.stood += time;
    }

    pub(crate) fn local(&self, now: Micros) -> Time {
        let run = now.saturating_sub(self.stood) as i64;
        let drift = run / 1000 * self.drift / 1000;
        Time::from_micros(self.base.saturating_add_signed(run + drift))
    }

    /// The first moment at which the clock shows `time` or later.
    pub(crate) fn global(&self, time: Time) -> Micros {
        let run = time.as_micros().saturating_sub(self.base);
        if run > 1 << 50 {
            return Micros::MAX;
        }
        let mut now = self.stood + run;
        if self.drift != 0 {
            now = (self.stood + run).saturating_add_signed(-(run as i64 / 1_000_000 * self.drift));
            // The rest, by steps as large as what is missing.
            loop {
                let shown = self.local(now);
                if shown >= time {
                    let before = (shown - time).as_micros() as u64;
                    let jumped = before == 1 && self.local(now.saturating_sub(1)) < time;
                    if before == 0 || now <= before || jumped {
                        break;
                    }
                    now -= before;
                } else {
                    now += ((time - shown).as_micros() as u64).max(1);
                }
            }
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn global_time_is_the_first_that_shows_the_local_one() {
        for drift in [-500, 0, 500] {
            let mut clock = Clock::new(1 << 40, drift);
            clock.stand(12_345);
            for local in (0..40_000_000).step_by(9_973) {
                let time = Time::from_micros((1 << 40) + local);
                let global = clock.global(time);
                assert!(clock.local(global) >= time, "{drift} {local}");
                assert!(
                    global <= 12_346 || clock.local(global - 2) < time,
                    "{drift} {local}"
                );
            }
        }
    }
}
