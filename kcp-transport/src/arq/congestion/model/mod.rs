//! A model of the path: how long a round trip takes when nothing waits, and how much fills it.
//!
//! The window aims at a small number of segments that wait at the bottleneck. Once a round trip it
//! becomes what it was, times the shortest round-trip time there is, over the shortest of the last
//! round, plus that number (FAST TCP, IEEE/ACM Transactions on Networking 14(6), 2006). Flows that
//! share a bottleneck see the same queue and get about the same rate, whatever they began with.
//! Losses do not count unless they exceed what the path loses while its queue is empty, so a path
//! that loses at random is filled as one that does not.
//!
//! From BBR (draft-ietf-ccwg-bbr) come the start at growing rates, and emptying the queue every few
//! seconds so that the shortest round trip can be measured. A flow that measures one at its base
//! defers its own turn: after a while all flows of a bottleneck empty it at the same time.

mod base;
mod losses;
mod start;

use std::num::NonZeroU64;
use std::time::Duration;

use super::{Acked, CongestionController, Lost, PathInfo, Transmitted};
use crate::time::Time;
use base::BaseTrip;
use losses::Losses;
use start::Start;

/// The phase of the flow.
///
/// ```text
/// Startup -> Drain -> Cruise <-> ProbeRtt
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The rate doubles each round trip.
    Startup,
    /// The queue that the start left is emptied.
    Drain,
    /// A few segments wait at the bottleneck.
    Cruise,
    /// Less than the path holds is in flight, to measure the round trip.
    ProbeRtt,
}

/// The controller. Times are in seconds, amounts in bytes.
#[derive(Debug)]
pub(crate) struct Model {
    segment_len: f64,
    state: State,
    window: f64,
    /// The window of [`State::ProbeRtt`].
    low_window: f64,
    /// Since when no more than that is in flight.
    low_since: Option<Time>,
    in_flight: f64,
    base: BaseTrip,
    round: Round,
    rounds: u64,
    /// The shortest round trip of the last round.
    trip: f64,
    start: Start,
    /// Rounds that the start took.
    start_rounds: u64,
    /// When the start or the last [`State::ProbeRtt`] ended.
    measured_at: Time,
    /// Rounds in a row without a queue, and by how much the window grows faster for that.
    quiet_rounds: u32,
    urge: f64,
    /// The part of the usual queue that the bottleneck has room for.
    room: f64,
    losses: Losses,
    /// Rounds in a row that lost too much.
    bad_rounds: u32,
    /// The last round after which the window was cut, and whether one was since the last emptying.
    cut_in: u64,
    was_cut: bool,
    probe_rtt_at: Time,
    /// The window to return to after an outage.
    restore: f64,
}

/// What happened in the round trip at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    acked: f64,
    lost: f64,
    /// The application had less to send than it might.
    is_limited: bool,
    shortest: Option<f64>,
}

impl Round {
    fn loss(&self) -> f64 {
        self.lost / (self.acked + self.lost).max(1.0)
    }
}

impl Model {
    pub(crate) fn new(path: &PathInfo) -> Self {
        let segment_len = path.segment_len as f64;
        let trip = path.round_trip.unwrap_or(FIRST_ROUND_TRIP).as_secs_f64();
        Self {
            segment_len,
            state: State::Startup,
            window: FIRST_WINDOW * segment_len,
            low_window: 0.0,
            low_since: None,
            in_flight: 0.0,
            base: BaseTrip::new(trip),
            round: Round::default(),
            rounds: 0,
            trip,
            start: Start::default(),
            start_rounds: 0,
            measured_at: path.now,
            quiet_rounds: 0,
            urge: 1.0,
            room: 1.0,
            losses: Losses::default(),
            bad_rounds: 0,
            cut_in: 0,
            was_cut: false,
            probe_rtt_at: path.now,
            restore: 0.0,
        }
    }

    /// Bytes that are to wait at the bottleneck.
    ///
    /// The fourth root keeps the queue short where the path is slow, and large enough to be
    /// measured where it is fast, and flows at the same bottleneck still converge to the same rate.
    fn spare(&self) -> f64 {
        let rate = self.window / self.trip.max(SHORTEST_TRIP);
        let segments = SPARE * (rate / self.segment_len).sqrt().sqrt();
        let usual = segments.max(LEAST_WINDOW) * self.segment_len;
        usual.max(rate * GRAIN) * self.room
    }

    fn on_round(&mut self, now: Time) {
        self.rounds += 1;
        let round = std::mem::take(&mut self.round);
        self.trip = round.shortest.unwrap_or(self.trip);
        if self.restore > 0.0 {
            self.window = self.window.max(self.restore);
            self.restore = 0.0;
        }
        match self.state {
            State::Startup => {
                let loses = round.loss() > START_LOSS && round.lost > 3.0 * self.segment_len;
                if !round.is_limited && (self.start.is_over() || loses) {
                    self.end_start(now);
                }
            }
            State::Cruise => {
                self.adapt(&round);
                if self.is_unclear(now, round.loss()) {
                    self.probe_rtt();
                }
            }
            State::Drain | State::ProbeRtt => {}
        }
    }

    fn end_start(&mut self, now: Time) {
        self.state = State::Drain;
        self.start_rounds = self.rounds;
        self.measured_at = now;
        let fills = self.start.rate() * self.base.get();
        self.window = fills.max(LEAST_WINDOW * self.segment_len);
        self.probe_rtt_at = now + PROBE_RTT_INTERVAL;
    }

    /// Sets the window after a round in [`State::Cruise`].
    fn adapt(&mut self, round: &Round) {
        let (trip, base, spare) = (self.trip, self.base.get(), self.spare());
        let queue = (trip - base).max(0.0);
        // How long the spare segments take at the present rate.
        let usual = spare * trip / self.window;
        if queue < usual / 4.0 && !round.is_limited && round.loss() <= UNCLEAR_LOSS {
            self.quiet_rounds += 1;
        } else {
            (self.quiet_rounds, self.urge) = (0, 1.0);
        }
        if self.quiet_rounds >= 2 {
            self.urge = (self.urge * 1.5).min(MOST_URGE);
        }
        let growth = (spare * self.urge).min(self.window / 4.0).max(spare);
        let target = self.window * base / trip + growth;
        let mut window = self.window + STEP * (target - self.window);
        if round.is_limited {
            window = window.min(self.window);
        }
        if self.is_congested(round, queue, usual) {
            window = window.min(self.window * BETA);
        }
        let window = window.clamp(self.window / 2.0, self.window * 2.0);
        self.window = window.max(LEAST_WINDOW * self.segment_len);
    }

    /// Whether it is time to measure what the path loses by itself, though its queue is empty.
    fn is_unclear(&self, now: Time, loss: f64) -> bool {
        let settled = self.rounds >= self.start_rounds + UNCLEAR_ROUNDS;
        let is_new = self.losses.is_unknown() && settled && loss > UNCLEAR_LOSS;
        let is_old = now - self.measured_at >= 2 * PROBE_RTT_INTERVAL;
        is_new || is_old && loss > SOME_LOSS
    }

    /// Whether losses show that the bottleneck overflows.
    fn is_congested(&mut self, round: &Round, queue: f64, usual: f64) -> bool {
        let threshold = self
            .losses
            .threshold(round.acked + round.lost, self.segment_len);
        let is_bad = round.loss() > threshold && round.lost > 3.0 * self.segment_len;
        self.bad_rounds = if is_bad { self.bad_rounds + 1 } else { 0 };
        let is_queued = queue > usual.min(LONG_QUEUE) / 2.0;
        let counts = is_bad && is_queued || self.bad_rounds >= PERSISTENT_ROUNDS;
        // What was in flight at the last cut was sent with the window before it.
        if !counts || self.rounds <= self.cut_in + 1 {
            return false;
        }
        self.cut_in = self.rounds;
        self.was_cut = true;
        if is_queued {
            self.room = (self.room * BETA).max(LEAST_ROOM);
        }
        true
    }

    /// Goes on to the next state if it is time.
    fn step(&mut self, now: Time) {
        match self.state {
            State::Startup => {
                // The first flight makes a queue of its own.
                if self.rounds >= 3 && self.base.has_queue() {
                    self.end_start(now);
                } else {
                    let fills = self.start.rate() * self.base.get();
                    let window = 2.0 * fills + MORE_SEGMENTS * self.segment_len;
                    self.window = window.max(FIRST_WINDOW * self.segment_len);
                }
            }
            State::Drain if self.in_flight <= self.window => self.cruise(),
            State::Cruise if now >= self.probe_rtt_at => self.probe_rtt(),
            State::ProbeRtt => self.step_probe_rtt(now),
            State::Drain | State::Cruise => {}
        }
    }

    /// The queue is empty: goes on with a window that fills the path.
    fn cruise(&mut self) {
        self.state = State::Cruise;
        self.trip = self.base.get();
        self.round.shortest = None;
        self.window += self.spare();
    }

    fn probe_rtt(&mut self) {
        self.state = State::ProbeRtt;
        let fills = self.window * (self.base.get() / self.trip).min(1.0);
        self.low_window = (LOW * fills).max(LEAST_WINDOW * self.segment_len);
        self.low_since = None;
        self.base.begin_cycle();
        if !self.was_cut {
            self.room = (self.room / BETA).min(1.0);
        }
        self.was_cut = false;
    }

    fn step_probe_rtt(&mut self, now: Time) {
        if self.low_since.is_none() && self.in_flight <= self.low_window + self.segment_len {
            self.low_since = Some(now);
            self.losses.begin(now);
        }
        let Some(since) = self.low_since else {
            return;
        };
        if (now - since).as_secs_f64() >= self.trip {
            self.losses.end(now);
            self.measured_at = now;
            self.probe_rtt_at = now + PROBE_RTT_INTERVAL;
            let fills = self.window * (self.base.get() / self.trip).min(1.0);
            self.window = fills.max(LEAST_WINDOW * self.segment_len);
            self.cruise();
        }
    }
}

impl CongestionController for Model {
    fn on_sent(&mut self, _now: Time, sent: &Transmitted) {
        self.in_flight = sent.in_flight as f64;
    }

    fn on_acked(&mut self, now: Time, acked: &Acked) {
        self.in_flight = acked.in_flight as f64;
        self.round.acked += acked.bytes as f64;
        if let Some(rtt) = acked.rtt {
            let rtt = rtt.as_secs_f64();
            if self.base.on_sample(rtt) && self.state != State::ProbeRtt {
                // The queue is empty: nothing need be done to measure that.
                self.probe_rtt_at = self.probe_rtt_at.max(now + PROBE_RTT_INTERVAL);
            }
            self.round.shortest = Some(self.round.shortest.map_or(rtt, |it| it.min(rtt)));
        }
        if let Some(sample) = &acked.sample {
            if !self.base.has_short_queue() {
                self.losses.on_acked(sample.sent_at, acked.bytes);
            }
            self.round.is_limited |= sample.is_limited;
            if self.state == State::Startup {
                let is_first = self.rounds <= 1;
                self.start
                    .on_acked(now, acked, sample, is_first, self.segment_len);
            }
            if sample.round_ended {
                if self.state == State::Startup && !self.round.is_limited {
                    self.start.on_round();
                }
                self.on_round(now);
            }
        }
        self.step(now);
    }

    fn on_lost(&mut self, _now: Time, lost: &Lost) {
        let bytes = lost.bytes as f64;
        self.round.lost += bytes;
        if !self.base.has_short_queue() {
            self.losses.on_lost(lost.sent_at, lost.bytes);
        }
        self.in_flight = (self.in_flight - bytes).max(0.0);
    }

    fn on_persistent_loss(&mut self, _now: Time) {
        if self.state == State::Startup {
            self.start.slow_down();
            return;
        }
        self.state = State::Cruise;
        self.restore = self.restore.max(self.window / 2.0);
        self.window = LEAST_WINDOW * self.segment_len;
        (self.quiet_rounds, self.urge) = (0, 1.0);
    }

    fn window(&self) -> u64 {
        let window = match self.state {
            State::ProbeRtt => self.low_window,
            _ => self.window,
        };
        // Narrowing on purpose: it saturates.
        window as u64
    }

    fn rate(&self) -> Option<NonZeroU64> {
        let rate = match self.state {
            // A flow that never had much to send has not found out how much it might.
            State::Startup if self.start.rate() > 0.0 => {
                let least = 2.0 * FIRST_WINDOW * self.segment_len / self.base.get();
                self.start.pacing_rate().max(least)
            }
            // Until something is known, the window alone limits.
            State::Startup => return None,
            State::Drain => self.start.rate() / 2.0,
            // The window limits; the rate only spreads what it lets out.
            State::Cruise | State::ProbeRtt => PACE * self.window / self.trip.max(SHORTEST_TRIP),
        };
        NonZeroU64::new(rate as u64)
    }
}

const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What every KCP peer grants before it has advertised its window, in segments.
const FIRST_WINDOW: f64 = 32.0;
const LEAST_WINDOW: f64 = 4.0;

/// For acks that come together, in segments.
const MORE_SEGMENTS: f64 = 8.0;

/// With the fourth root of segments a second, the segments that wait: 10 at 10 Mbit/s, 18 at 100.
const SPARE: f64 = 1.88;

/// Round-trip times are measured to about a millisecond; a shorter queue would not be seen.
const GRAIN: f64 = 0.001;
const SHORTEST_TRIP: f64 = 0.0001;

/// How far the window goes towards its target in one round. The queue that it leads to is measured
/// a round later, so a full step would overshoot.
const STEP: f64 = 0.7;

/// By how much faster the window grows at most after rounds without a queue.
const MOST_URGE: f64 = 64.0;

/// The window is cut to this part when the bottleneck overflows (RFC 9438, as BBRv3).
const BETA: f64 = 0.7;
const LEAST_ROOM: f64 = 0.2;

/// Losses in the start that end it, well above those of any usable path.
const START_LOSS: f64 = 0.45;

/// Where as much is lost after the start, what the path loses by itself is measured early.
const UNCLEAR_LOSS: f64 = 0.25;
const UNCLEAR_ROUNDS: u64 = 4;

/// Where less is lost, nothing need be known about it.
const SOME_LOSS: f64 = 0.03;

/// Rounds in a row that lose too much without a queue: a policer, or a bottleneck without one.
const PERSISTENT_ROUNDS: u32 = 3;

/// A queue that lasts longer counts as one, in seconds, however many segments are to wait.
const LONG_QUEUE: f64 = 0.02;

/// What is sent above the rate of the window, so that the window limits.
const PACE: f64 = 1.1;

/// How often the queue is emptied, and the part of the path that stays in flight meanwhile. It costs
/// a quarter of a round trip in 2.5 s.
const PROBE_RTT_INTERVAL: Duration = Duration::from_millis(2500);
const LOW: f64 = 0.75;

#[cfg(test)]
mod tests;
