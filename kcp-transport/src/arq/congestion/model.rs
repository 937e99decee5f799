//! A model of the path: how fast it delivers, and how long it takes when nothing waits.
//!
//! After BBRv3 (draft-ietf-ccwg-bbr), with two changes. It starts from the spacing of the first
//! flight's acks and leaves its start as soon as a queue builds. And it tells losses of a congested
//! path from those of a bad one: losses count as congestion only as far as they exceed those that
//! occur while the flow sends less than the path takes, and only with a queue or for several round
//! trips in a row.

use std::num::NonZeroU64;
use std::time::Duration;

use super::{Acked, CongestionController, Lost, PathInfo, RateSample, Transmitted};
use crate::time::Time;

/// Where the flow is in its life.
///
/// ```text
/// Startup -> Drain -> Down -> Cruise -> Refill -> Up --+
///                      ^                               |
///                      +-------------------------------+
/// any -> ProbeRtt -> Cruise
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The rate doubles each round trip.
    Startup,
    /// The queue that the start left is emptied.
    Drain,
    /// Less than the path delivers, until no queue is left.
    Down,
    /// What the path delivers.
    Cruise,
    /// The pipe is filled before it is probed.
    Refill,
    /// More than the path delivered, to see whether it takes more.
    Up,
    /// Little in flight, to measure the round trip.
    ProbeRtt,
}

/// The controller.
#[derive(Debug)]
pub(crate) struct Model {
    segment_len: u64,
    state: State,
    state_since: Time,
    /// The highest rates of this probing cycle and the one before, in bytes a second.
    highest: [u64; 2],
    /// Bounds after congestion, until the path is probed again.
    rate_low: Option<u64>,
    window_low: Option<u64>,
    /// What was too much in flight.
    window_high: Option<u64>,
    min_rtt: Duration,
    /// The last round trips.
    recent: [Duration; RECENT],
    samples: usize,
    rounds: u64,
    start: Start,
    round: Round,
    /// Rounds in a row that lost too much.
    bad_rounds: u32,
    baseline: Baseline,
    /// When the path is probed for more again.
    probe_at: Time,
    probes: u32,
    probe_rtt_at: Time,
    /// The application had less to send in the last round than it might.
    is_limited: bool,
    window: u64,
    in_flight: u64,
}

/// What the first round trips tell.
#[derive(Debug, Default)]
struct Start {
    /// Of the first flight: when its first ack came, and the bytes acknowledged since.
    train: Option<(Time, u64)>,
    first_sent: Option<Time>,
    full: u64,
    flat_rounds: u32,
    done: bool,
}

/// Bytes of the round trip at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    acked: u64,
    lost: u64,
    limited: bool,
}

/// Losses of what was sent in phases in which the path was not full, over the last few of them.
#[derive(Debug, Default)]
struct Baseline {
    phases: [(u64, u64); PHASES],
    at: usize,
    /// The last phase; without an end it goes on.
    since: Time,
    until: Option<Time>,
}

impl Baseline {
    fn begin(&mut self, now: Time) {
        self.at = (self.at + 1) % PHASES;
        self.phases[self.at] = (0, 0);
        (self.since, self.until) = (now, None);
    }

    fn end(&mut self, now: Time) {
        self.until.get_or_insert(now);
    }

    fn on_outcome(&mut self, sent_at: Time, acked: u64, lost: u64) {
        let is_within = sent_at >= self.since && self.until.is_none_or(|until| sent_at < until);
        if is_within && self.since > Time::ZERO {
            let (all, gone) = &mut self.phases[self.at];
            *all += acked + lost;
            *gone += lost;
        }
    }

    /// The part that was lost, if enough was sent to tell, and the deviation of a round of so many
    /// segments from that.
    fn loss(&self, segment_len: u64) -> Option<f64> {
        let (all, lost) = self
            .phases
            .iter()
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        (all >= ENOUGH_SEGMENTS * segment_len).then(|| lost as f64 / all as f64)
    }
}

impl Model {
    pub(crate) fn new(path: &PathInfo) -> Self {
        let segment_len = path.segment_len;
        Self {
            segment_len,
            state: State::Startup,
            state_since: path.now,
            highest: [0; 2],
            rate_low: None,
            window_low: None,
            window_high: None,
            min_rtt: path.round_trip.unwrap_or(FIRST_ROUND_TRIP),
            recent: [Duration::MAX; RECENT],
            samples: 0,
            rounds: 0,
            start: Start::default(),
            round: Round::default(),
            bad_rounds: 0,
            baseline: Baseline::default(),
            probe_at: path.now,
            probes: 0,
            probe_rtt_at: path.now + PROBE_RTT_INTERVAL,
            is_limited: false,
            window: FIRST_WINDOW * segment_len,
            in_flight: 0,
        }
    }

    fn enter(&mut self, state: State, now: Time) {
        let is_low = |state| matches!(state, State::Down | State::ProbeRtt);
        if is_low(state) && !is_low(self.state) {
            self.baseline.begin(now);
        } else if !is_low(state) {
            self.baseline.end(now);
        }
        self.state = state;
        self.state_since = now;
    }

    fn highest(&self) -> u64 {
        self.highest[0].max(self.highest[1])
    }

    /// What the path delivers, as far as it may be used.
    fn bandwidth(&self) -> u64 {
        let highest = self.highest();
        self.rate_low.map_or(highest, |low| highest.min(low))
    }

    /// Bytes in flight that fill the path at `rate` and no queue.
    fn product(&self, rate: u64) -> u64 {
        let micros = u64::try_from(self.min_rtt.as_micros()).unwrap_or(u64::MAX);
        let bytes = u128::from(rate) * u128::from(micros) / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn pacing_gain(&self) -> f64 {
        match self.state {
            State::Startup => 2.0,
            State::Drain => 0.5,
            State::Down => 0.9,
            State::Cruise | State::Refill | State::ProbeRtt => 1.0,
            State::Up => 1.25,
        }
    }

    fn window_gain(&self) -> f64 {
        match self.state {
            State::ProbeRtt => 0.5,
            State::Up => 2.25,
            _ => 2.0,
        }
    }

    /// By how much more is sent since so much is lost anyway.
    fn compensation(&self) -> f64 {
        match self.baseline.loss(self.segment_len) {
            // A queue shows that enough is sent: some of what counts as lost had arrived.
            Some(loss) if self.state != State::Startup && !self.has_queue() => {
                (1.0 / (1.0 - loss.min(0.9))).min(MOST_COMPENSATION)
            }
            _ => 1.0,
        }
    }

    /// Whether the last round trips all took longer than the path does when nothing waits.
    fn has_queue(&self) -> bool {
        let least = self.recent.iter().min().copied().unwrap_or_default();
        let margin = (self.min_rtt / 8).max(QUEUE_MARGIN);
        self.samples >= RECENT && least > self.min_rtt + margin
    }

    fn on_round(&mut self, now: Time) {
        self.rounds += 1;
        let round = std::mem::take(&mut self.round);
        self.is_limited = round.limited;
        let all = round.acked + round.lost;
        let loss = round.lost as f64 / all.max(1) as f64;
        let segments = (all / self.segment_len.max(1)).max(1) as f64;
        let threshold = match self.baseline.loss(self.segment_len) {
            Some(base) => base + (4.0 * (base.max(0.005) / segments).sqrt()).max(LOSS_MARGIN),
            None => FIRST_LOSS_THRESHOLD,
        };
        let is_bad = loss > threshold && round.lost > 3 * self.segment_len;
        self.bad_rounds = if is_bad { self.bad_rounds + 1 } else { 0 };
        let is_congested = is_bad && (self.has_queue() || self.bad_rounds >= PERSISTENT_ROUNDS);
        match self.state {
            State::Startup => self.on_start_round(now, round, is_congested),
            State::Up if is_congested => {
                self.window_high = Some(self.in_flight.max(self.product(self.bandwidth())));
                self.end_probe(now);
            }
            State::Refill => {
                self.enter(State::Up, now);
            }
            State::Down | State::ProbeRtt => {}
            _ if is_congested => {
                let delivered = self.bandwidth();
                self.rate_low = Some((delivered as f64 * BETA) as u64);
                let window = self.window_low.unwrap_or(self.window);
                self.window_low = Some((window as f64 * BETA) as u64);
            }
            _ => {}
        }
    }

    fn on_start_round(&mut self, now: Time, round: Round, is_congested: bool) {
        if round.limited && !is_congested {
            return;
        }
        let rate = self.highest();
        if rate as f64 >= self.start.full as f64 * 1.25 {
            self.start.full = rate;
            self.start.flat_rounds = 0;
        } else {
            self.start.flat_rounds += 1;
        }
        if is_congested || self.start.flat_rounds >= 3 {
            self.end_start(now);
        }
    }

    fn end_start(&mut self, now: Time) {
        self.start.done = true;
        self.enter(State::Drain, now);
    }

    /// The first flight left at once: the spacing of its acks is that of the bottleneck.
    fn on_train(&mut self, now: Time, acked: &Acked, sample: &RateSample) {
        let first_sent = *self.start.first_sent.get_or_insert(sample.sent_at);
        if self.rounds > 1 || sample.sent_at > first_sent + TRAIN_LENGTH {
            return;
        }
        let (since, bytes) = self.start.train.get_or_insert((now, 0));
        if now > *since {
            *bytes += acked.bytes;
            let micros = u64::try_from((now - *since).as_micros()).unwrap_or(u64::MAX);
            if *bytes >= TRAIN_SEGMENTS * self.segment_len && micros > 0 {
                let rate = bytes.saturating_mul(1_000_000) / micros;
                self.highest[0] = self.highest[0].max(rate / 2);
            }
        }
    }

    fn end_probe(&mut self, now: Time) {
        if !self.is_limited {
            self.highest = [0, self.highest()];
        }
        self.probes = self.probes.wrapping_add(1);
        // From two to three seconds, so that flows do not probe together for ever.
        let spread = u64::from(self.probes.wrapping_mul(0x9e37_79b9) >> 22);
        self.probe_at = now + PROBE_INTERVAL + Duration::from_millis(spread);
        self.enter(State::Down, now);
    }

    /// Goes on to the next state if it is time.
    fn step(&mut self, now: Time) {
        let time = now - self.state_since;
        match self.state {
            // The first flight makes a queue of its own.
            State::Startup if self.rounds >= 3 && self.has_queue() => self.end_start(now),
            State::Drain if self.in_flight <= self.product(self.bandwidth()) => {
                self.end_probe(now);
            }
            State::Down => {
                let is_drained = self.in_flight <= self.product(self.highest());
                if time >= self.min_rtt && (is_drained || time >= self.min_rtt * DOWN_ROUNDS) {
                    self.enter(State::Cruise, now);
                }
            }
            State::Cruise if now >= self.probe_at => {
                (self.rate_low, self.window_low) = (None, None);
                self.round = Round::default();
                self.enter(State::Refill, now);
            }
            State::Up => self.step_up(now, time),
            State::ProbeRtt if time >= PROBE_RTT_TIME.max(self.min_rtt) => {
                self.probe_rtt_at = now + PROBE_RTT_INTERVAL;
                self.enter(State::Cruise, now);
            }
            _ => {}
        }
        if now >= self.probe_rtt_at && self.start.done && self.state != State::ProbeRtt {
            self.enter(State::ProbeRtt, now);
        }
        self.set_window();
    }

    fn step_up(&mut self, now: Time, time: Duration) {
        let product = self.product(self.bandwidth());
        let is_full = self.in_flight as f64 >= 1.25 * product as f64;
        let is_over = is_full || self.has_queue() || time > self.min_rtt * UP_ROUNDS;
        if time > self.min_rtt && is_over {
            self.end_probe(now);
        } else if let Some(high) = self.window_high
            && self.in_flight + self.segment_len >= high
        {
            self.window_high = Some(high + high / 8 + self.segment_len);
        }
    }

    fn set_window(&mut self) {
        let product = self.product(self.bandwidth()) as f64 * self.compensation();
        let mut window = (product * self.window_gain()) as u64 + SPARE_SEGMENTS * self.segment_len;
        if let Some(low) = self.window_low {
            window = window.min(low);
        }
        if let Some(high) = self.window_high {
            let headroom = if self.state == State::Cruise {
                high / 7
            } else {
                0
            };
            window = window.min(high - headroom);
        }
        let least = match self.state {
            State::Startup => FIRST_WINDOW,
            _ => LEAST_WINDOW,
        };
        self.window = window.max(least * self.segment_len);
    }
}

impl CongestionController for Model {
    fn on_sent(&mut self, now: Time, sent: &Transmitted) {
        if sent.in_flight <= sent.bytes && self.state == State::Cruise && now >= self.probe_at {
            // After a pause the path may be another; there is nothing to drain.
            self.probe_at = now + PROBE_INTERVAL;
        }
        self.in_flight = sent.in_flight;
    }

    fn on_acked(&mut self, now: Time, acked: &Acked) {
        self.in_flight = acked.in_flight;
        self.min_rtt = acked.min_rtt;
        if let Some(rtt) = acked.rtt
            && rtt <= acked.min_rtt + acked.min_rtt / 64
        {
            // It is as short as ever: nothing need be emptied to see that.
            self.probe_rtt_at = self.probe_rtt_at.max(now + PROBE_RTT_INTERVAL);
        }
        self.round.acked += acked.bytes;
        if let Some(rtt) = acked.rtt {
            self.recent[self.samples % RECENT] = rtt;
            self.samples += 1;
        }
        if let Some(sample) = &acked.sample {
            if !self.has_queue() {
                self.baseline.on_outcome(sample.sent_at, acked.bytes, 0);
            }
            self.round.limited |= sample.is_limited;
            if self.state == State::Startup {
                self.on_train(now, acked, sample);
            }
            if sample.rate > 0 && (!sample.is_limited || sample.rate > self.highest()) {
                self.highest[0] = self.highest[0].max(sample.rate);
            }
            if sample.round_ended {
                self.on_round(now);
            }
        }
        self.step(now);
    }

    fn on_lost(&mut self, _now: Time, lost: &Lost) {
        self.round.lost += lost.bytes;
        if !self.has_queue() {
            self.baseline.on_outcome(lost.sent_at, 0, lost.bytes);
        }
        self.in_flight = self.in_flight.saturating_sub(lost.bytes);
    }

    fn on_persistent_loss(&mut self, now: Time) {
        self.window_low = Some(LEAST_WINDOW * self.segment_len);
        self.rate_low = Some(self.bandwidth() / 2);
        self.probe_at = now;
        if self.start.done && self.state != State::Cruise {
            self.enter(State::Cruise, now);
        }
        self.set_window();
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn rate(&self) -> Option<NonZeroU64> {
        // Until something is known, the window alone tells.
        let rate = self.bandwidth() as f64 * self.pacing_gain() * self.compensation() * MARGIN;
        let rate = rate as u64;
        if self.start.done || rate == 0 {
            return NonZeroU64::new(rate);
        }
        // A flow that never had much to send has not found out how much it might.
        let first = FIRST_WINDOW * self.segment_len * 2_000_000;
        let micros = u64::try_from(self.min_rtt.as_micros()).unwrap_or(u64::MAX);
        NonZeroU64::new(rate.max(first / micros.max(1)))
    }
}

const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What every KCP peer grants before it has told its window, in segments.
const FIRST_WINDOW: u64 = 32;
const LEAST_WINDOW: u64 = 4;

/// For acks that come together.
const SPARE_SEGMENTS: u64 = 8;

const RECENT: usize = 8;

/// A train of fewer segments tells too little, and of what is sent later too much.
const TRAIN_SEGMENTS: u64 = 8;
const TRAIN_LENGTH: Duration = Duration::from_millis(2);

const QUEUE_MARGIN: Duration = Duration::from_millis(4);

const PHASES: usize = 6;
const ENOUGH_SEGMENTS: u64 = 60;

const LOSS_MARGIN: f64 = 0.03;
const FIRST_LOSS_THRESHOLD: f64 = 0.3;
const PERSISTENT_ROUNDS: u32 = 3;

const BETA: f64 = 0.7;
const MOST_COMPENSATION: f64 = 1.25;

/// A little less than the path delivers leaves room for acks and drains queues.
const MARGIN: f64 = 0.99;

const PROBE_INTERVAL: Duration = Duration::from_secs(2);
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);

/// Round trips that emptying the queue may take: other flows may refill it.
const DOWN_ROUNDS: u32 = 4;

/// Round trips that a probe for more may take, where nothing shows that it is enough.
const UP_ROUNDS: u32 = 4;
