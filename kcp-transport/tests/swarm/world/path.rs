//! One direction of a path, with all that may go wrong on it.

use kcp_transport::testing::Rng;

use crate::clock::{Micros, SECOND};

/// How bad a path is; probabilities are per datagram.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathPlan {
    pub(crate) delay: Micros,
    pub(crate) jitter: Micros,
    pub(crate) loss: f64,
    pub(crate) burst: Option<Burst>,
    pub(crate) reorder: f64,
    pub(crate) duplicate: f64,
    pub(crate) flip: f64,
    pub(crate) truncate: f64,
    pub(crate) extend: f64,
    /// Longer datagrams are lost, also when all else is healed.
    pub(crate) longest: Option<usize>,
    /// Bytes a second, and how many of them wait at most.
    pub(crate) rate: Option<(u64, u64)>,
}

/// Losses that come in bursts.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    pub(crate) begin: f64,
    pub(crate) end: f64,
    /// While a burst lasts.
    pub(crate) loss: f64,
}

pub(crate) struct Path {
    plan: PathPlan,
    rng: Rng,
    in_burst: bool,
    busy_until: Micros,
    /// Reasons for which nothing passes now.
    cuts: u32,
    /// Longer datagrams are lost for the time being.
    narrowed: Option<usize>,
}

impl Path {
    pub(crate) fn new(plan: PathPlan, seed: u64) -> Self {
        Self {
            plan,
            rng: Rng::new(seed),
            in_burst: false,
            busy_until: 0,
            cuts: 0,
            narrowed: None,
        }
    }

    pub(crate) fn delay(&self) -> Micros {
        self.plan.delay
    }

    pub(crate) fn cut(&mut self) {
        self.cuts += 1;
    }

    pub(crate) fn mend(&mut self) {
        self.cuts = self.cuts.saturating_sub(1);
    }

    /// Loses longer datagrams until the path heals, or is narrowed again.
    pub(crate) fn narrow(&mut self, longest: usize) {
        self.narrowed = Some(longest);
    }

    /// From now on only delay, rate and the first limit of lengths remain, with room for all that waits.
    pub(crate) fn heal(&mut self) {
        let rate = self
            .plan
            .rate
            .map(|(rate, _)| (rate.max(200_000), u64::MAX));
        self.plan = PathPlan {
            delay: self.plan.delay,
            rate,
            longest: self.plan.longest,
            ..PathPlan::default()
        };
        self.in_burst = false;
        self.narrowed = None;
    }

    /// Puts a datagram on the path; `arrive` is called for each copy that comes out at the end.
    pub(crate) fn send(
        &mut self,
        now: Micros,
        datagram: &[u8],
        mut arrive: impl FnMut(Micros, Vec<u8>),
    ) {
        let limits = [self.narrowed, self.plan.longest];
        if limits.into_iter().flatten().any(|it| datagram.len() > it) {
            return;
        }
        let Some(departure) = self.departure(now, datagram.len() as u64) else {
            return;
        };
        if self.is_lost() {
            return;
        }
        let copies = if self.rng.chance(self.plan.duplicate) {
            1 + self.rng.below(3)
        } else {
            1
        };
        for _ in 0..copies {
            let mut at = departure + self.plan.delay + self.rng.below(self.plan.jitter);
            if self.rng.chance(self.plan.reorder) {
                at += self.rng.below(self.plan.delay * 3);
            }
            let mut datagram = datagram.to_vec();
            self.damage(&mut datagram);
            arrive(at, datagram);
        }
    }

    fn is_lost(&mut self) -> bool {
        if let Some(burst) = &self.plan.burst {
            let change = if self.in_burst {
                burst.end
            } else {
                burst.begin
            };
            if self.rng.chance(change) {
                self.in_burst = !self.in_burst;
            }
            if self.in_burst && self.rng.chance(burst.loss) {
                return true;
            }
        }
        self.cuts > 0 || (self.plan.loss > 0.0 && self.rng.chance(self.plan.loss))
    }

    /// When the datagram leaves the queue; `None` if that is full.
    fn departure(&mut self, now: Micros, len: u64) -> Option<Micros> {
        let Some((rate, queue)) = self.plan.rate else {
            return Some(now);
        };
        let start = self.busy_until.max(now);
        if (start - now).saturating_mul(rate) / SECOND > queue {
            return None;
        }
        self.busy_until = start + (len * SECOND).div_ceil(rate);
        Some(self.busy_until)
    }

    fn damage(&mut self, datagram: &mut Vec<u8>) {
        let len = datagram.len() as u64;
        if self.plan.flip > 0.0 && self.rng.chance(self.plan.flip) {
            for _ in 0..=self.rng.below(3) {
                let bit = self.rng.below(len * 8);
                datagram[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        }
        if self.plan.truncate > 0.0 && self.rng.chance(self.plan.truncate) {
            datagram.truncate(self.rng.below(len) as usize);
        }
        if self.plan.extend > 0.0 && self.rng.chance(self.plan.extend) {
            let more = 1 + self.rng.below(40) as usize;
            let old = datagram.len();
            datagram.resize(old + more, 0);
            if self.rng.chance(0.5) {
                self.rng.fill(&mut datagram[old..]);
            }
        }
    }
}
