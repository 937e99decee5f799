//! Copies of segments that nothing would follow, sent before it is known whether they are needed.
//!
//! A lost segment is noticed by what is acknowledged after it. A flow of single datagrams has
//! nothing after it, so each loss costs it a probe time-out. Where a path loses, the segments of
//! small flushes are therefore sent again a few milliseconds later, within a budget. Bulk is never
//! copied: there, a copy would take the place of data, and losses are noticed anyway.

use std::collections::VecDeque;
use std::time::Duration;

use super::flight::{Flight, SentState};
use super::path::PathModel;
use crate::arq::options::Redundancy;
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SeqNumber, Timestamp};

/// Decides what is copied, and when.
#[derive(Debug)]
pub(in crate::arq) struct Protector {
    redundancy: Redundancy,
    /// Bytes that may be sent twice.
    credit: u64,
    most_credit: u64,
    /// Time between copies, in units of [`STEP`]; 0 before the path is known.
    spacing: u32,
    /// Segments laid out since the queue was last empty: the first, and how many.
    flush: Option<(SeqNumber, usize)>,
    pending: VecDeque<Copy>,
    watched: VecDeque<Watched>,
    history: History,
    /// Since when the path has a standing queue.
    congested_since: Option<Time>,
    suspended_until: Time,
    /// The segment that is not copied.
    opening: Option<SeqNumber>,
}

/// A copy to be sent.
#[derive(Clone, Copy, Debug)]
struct Copy {
    sequence: SeqNumber,
    at: Time,
    /// How many more, this one included.
    left: u8,
}

/// A segment and its first copy, until it is known what became of both.
#[derive(Clone, Copy, Debug)]
struct Watched {
    sequence: SeqNumber,
    stamps: [Timestamp; 2],
    acked: [bool; 2],
    /// When no ack is expected any more.
    until: Time,
}

impl Protector {
    /// `mss` is the most data in a segment.
    pub(in crate::arq) fn new(redundancy: Redundancy, mss: usize) -> Self {
        let most_credit = SAVED_DATAGRAMS * (mss + SEGMENT_HEADER_LEN) as u64;
        Self {
            redundancy,
            credit: most_credit,
            most_credit,
            spacing: 0,
            flush: None,
            pending: VecDeque::new(),
            watched: VecDeque::new(),
            history: History::default(),
            congested_since: None,
            suspended_until: Time::ZERO,
            opening: None,
        }
    }

    /// Never copies this segment.
    pub(in crate::arq) fn exclude(&mut self, opening: SeqNumber) {
        self.opening = Some(opening);
    }

    /// A segment with `len` bytes of data is sent that is no copy: it pays for some.
    pub(in crate::arq) fn on_sent(&mut self, len: usize) {
        let gain = cost(len) * u64::from(self.redundancy.overhead()) / 100;
        self.credit = (self.credit + gain).min(self.most_credit);
    }

    /// A new segment is sent.
    pub(in crate::arq) fn on_new(&mut self, sequence: SeqNumber) {
        let (_, count) = self.flush.get_or_insert((sequence, 0));
        *count += 1;
    }

    /// Everything written is sent: the application has nothing more for now.
    pub(in crate::arq) fn on_flushed(&mut self, now: Time, path: &PathModel, in_flight: usize) {
        let Some((first, count)) = self.flush.take() else {
            return;
        };
        if count > MOST_FLUSHED || in_flight > MOST_IN_FLIGHT {
            return;
        }
        let copies = self.copies(now, path);
        if copies == 0 {
            return;
        }
        for offset in 0..count {
            self.schedule(now, path, first.advance(offset), copies);
        }
    }

    /// A segment of a thin flow is sent as a probe: if that is lost too, the wait is long.
    pub(in crate::arq) fn on_probed(&mut self, now: Time, path: &PathModel, sequence: SeqNumber) {
        if self.copies(now, path) > 0 {
            self.schedule(now, path, sequence, 1);
        }
    }

    /// How often a segment is to be copied.
    fn copies(&mut self, now: Time, path: &PathModel) -> u8 {
        let (at_least, overhead) = match self.redundancy {
            Redundancy::Off => return 0,
            Redundancy::Adaptive { overhead } => (0, overhead.get()),
            Redundancy::Always { copies, overhead } => (copies, overhead.get()),
        };
        // Both estimates: the shortest may be of another path.
        let is_long = path.estimate().is_some_and(|trip| trip >= MIN_RTT)
            && path.least().is_some_and(|trip| trip >= MIN_RTT);
        if !is_long || overhead == 0 || self.is_suspended(now, path) {
            return 0;
        }
        let loss = path.loss();
        // An acknowledgement may be lost as well as what it answers.
        let loss = 1.0 - (1.0 - loss).max(0.0).sqrt();
        let mut copies = 0;
        let mut remaining = loss;
        while remaining > REMAINING_LOSS && copies < MOST_COPIES {
            remaining *= loss;
            copies += 1;
        }
        // More for one segment than the budget pays in the long run would leave others with none.
        let affordable = u8::try_from(overhead / 100).unwrap_or(u8::MAX).max(1);
        copies.max(at_least).min(affordable).min(MOST_COPIES)
    }

    /// Whether the path is in a state in which copies would do harm.
    fn is_suspended(&mut self, now: Time, path: &PathModel) -> bool {
        let least = path.least().unwrap_or_default();
        let queueing = path.smoothed().unwrap_or_default().saturating_sub(least);
        if queueing > least.max(STANDING_QUEUE) {
            let since = *self.congested_since.get_or_insert(now);
            if now - since >= CONGESTED {
                self.suspended_until = now + SUSPENSION;
            }
        } else {
            self.congested_since = None;
        }
        if path.loss() > HEAVY_LOSS {
            self.suspended_until = now + SUSPENSION;
        }
        now < self.suspended_until
    }

    fn schedule(&mut self, now: Time, path: &PathModel, sequence: SeqNumber, left: u8) {
        let at = now + self.spacing(path);
        if self.pending.len() < MOST_PENDING && self.opening != Some(sequence) {
            self.pending.push_back(Copy { sequence, at, left });
        }
    }

    fn spacing(&mut self, path: &PathModel) -> Duration {
        let least = path.least().unwrap_or(MIN_RTT);
        if self.spacing == 0 {
            let first = (least / 25).clamp(Duration::from_millis(1), MOST_FIRST_SPACING);
            self.spacing = u32::try_from(first.as_micros() / STEP.as_micros())
                .unwrap_or(1)
                .max(1);
        }
        // On a path that got shorter, as on any.
        (STEP * self.spacing).min(least / 3)
    }

    /// When a copy is due; it may be acknowledged meanwhile.
    pub(in crate::arq) fn next(&self) -> Option<Time> {
        self.pending.iter().map(|copy| copy.at).min()
    }

    /// The segment to copy now, if any.
    pub(in crate::arq) fn peek(&mut self, now: Time, flight: &Flight) -> Option<SeqNumber> {
        loop {
            let place = self.pending.iter().position(|copy| copy.at <= now)?;
            let sequence = self.pending[place].sequence;
            let sent = flight.outstanding(sequence);
            let is_wanted = sent.filter(|it| it.state == SentState::Flying);
            if is_wanted.is_some_and(|it| cost(it.data.len()) <= self.credit) {
                return Some(sequence);
            }
            self.pending.remove(place);
        }
    }

    /// The segment that [`Self::peek`] returned is sent, which has `len` bytes of data and was first
    /// sent at `first`.
    pub(in crate::arq) fn on_copied(
        &mut self,
        now: Time,
        sequence: SeqNumber,
        len: usize,
        path: &PathModel,
        stamps: Option<[Timestamp; 2]>,
    ) {
        self.credit = self.credit.saturating_sub(cost(len));
        let spacing = self.spacing(path);
        let place = self
            .pending
            .iter()
            .position(|copy| copy.sequence == sequence);
        if let Some(place) = place {
            let copy = &mut self.pending[place];
            copy.left = copy.left.saturating_sub(1);
            copy.at = now + spacing;
            if copy.left == 0 {
                self.pending.remove(place);
            }
        }
        if let Some(stamps) = stamps.filter(|stamps| stamps[0] != stamps[1]) {
            if self.watched.len() >= MOST_WATCHED {
                self.watched.pop_front();
            }
            // Of the first flight there is no sample yet, but the time that the handshake took.
            let trip = path.current().max(path.estimate().unwrap_or_default());
            self.watched.push_back(Watched {
                sequence,
                stamps,
                acked: [false; 2],
                until: now + trip * 2 + PATIENCE,
            });
        }
    }

    /// Whether it is known what becomes of a segment and its copy by [`Self::judge`].
    pub(in crate::arq) fn watches(&self, sequence: SeqNumber) -> bool {
        self.watched.iter().any(|it| it.sequence == sequence)
    }

    /// A segment was acknowledged, for the first time or again.
    pub(in crate::arq) fn on_ack(&mut self, sequence: SeqNumber, echo: Timestamp) {
        for watched in &mut self.watched {
            if watched.sequence == sequence {
                for (acked, stamp) in watched.acked.iter_mut().zip(watched.stamps) {
                    *acked |= stamp == echo;
                }
            }
        }
    }

    /// Decides what became of segments and copies that no more acks are expected of.
    pub(in crate::arq) fn judge(&mut self, now: Time, path: &mut PathModel) {
        while let Some(watched) = self.watched.front().copied() {
            if watched.acked != [true; 2] && watched.until > now {
                break;
            }
            self.watched.pop_front();
            if let Some(longer) = self.history.on_outcome(watched.acked, path) {
                let least = path.least().unwrap_or(MIN_RTT);
                let most = u32::try_from(least.as_micros() / 3 / STEP.as_micros()).unwrap_or(1);
                let spacing = if longer {
                    self.spacing * 2
                } else {
                    self.spacing / 2
                };
                let first = (least / 25).clamp(Duration::from_millis(1), MOST_FIRST_SPACING);
                let floor = u32::try_from(first.as_micros() / STEP.as_micros()).unwrap_or(1);
                self.spacing = spacing.clamp(floor.max(1), most.max(1));
            }
        }
    }

    /// Something was acknowledged: its copies are not needed.
    pub(in crate::arq) fn drop_acknowledged(&mut self, flight: &Flight) {
        self.pending
            .retain(|copy| flight.outstanding(copy.sequence).is_some());
    }

    /// Releases unused memory.
    pub(in crate::arq) fn shrink(&mut self) {
        self.pending.shrink_to_fit();
        self.watched.shrink_to_fit();
    }

    /// Bytes of heap memory, this value itself included.
    pub(in crate::arq) fn memory(&self) -> usize {
        size_of::<Self>()
            + self.pending.capacity() * size_of::<Copy>()
            + self.watched.capacity() * size_of::<Watched>()
    }
}

/// What became of segments and their copies.
#[derive(Clone, Copy, Debug)]
struct History {
    /// How often both were acknowledged, in 256ths.
    ///
    /// A peer that collects its acks leaves out all but the last. Of such a peer, a first ack that
    /// is missing says nothing.
    both: u32,
    /// Of the last segments whose first transmission was lost, newest in the lowest bit: whether
    /// the copy was lost too.
    lost_with: u32,
    lost: u32,
}

impl Default for History {
    fn default() -> Self {
        Self {
            both: 128,
            lost_with: 0,
            lost: 0,
        }
    }
}

impl History {
    /// Takes one outcome into account. Returns whether copies should be further from their
    /// segments, if they should be elsewhere.
    fn on_outcome(&mut self, acked: [bool; 2], path: &mut PathModel) -> Option<bool> {
        if acked != [false; 2] {
            let both = if acked == [true; 2] { 256 } else { 0 };
            self.both = (self.both * 3 + both) / 4;
        }
        let is_told = self.both >= LEAST_BOTH;
        match acked {
            [false, true] if !is_told => path.on_outcome(false),
            _ => acked.into_iter().for_each(|acked| path.on_outcome(!acked)),
        }
        if acked[0] || !is_told {
            return None;
        }
        self.lost_with = self.lost_with << 1 | u32::from(!acked[1]);
        self.lost = (self.lost + 1).min(u32::BITS);
        if self.lost < ENOUGH_LOST {
            return None;
        }
        let lost = f64::from(self.lost);
        let together = f64::from(self.lost_with.count_ones()) / lost;
        // Twice the deviation of so few outcomes.
        if together > path.loss() + TOGETHER + 1.0 / lost.sqrt() {
            (self.lost_with, self.lost) = (0, 0);
            return Some(true);
        }
        if self.lost == u32::BITS && together < path.loss() + APART {
            (self.lost_with, self.lost) = (0, 0);
            return Some(false);
        }
        None
    }
}

/// Bytes that a segment with so much data takes.
fn cost(len: usize) -> u64 {
    (len + SEGMENT_HEADER_LEN) as u64
}

/// Most segments of a flush that are copied: more are told lost by each other.
const MOST_FLUSHED: usize = 4;

/// Most segments in flight that a flow of small flushes has.
const MOST_IN_FLIGHT: usize = 16;

/// Round-trip times below this are not worth a timer: a probe time-out costs little more.
const MIN_RTT: Duration = Duration::from_millis(8);

/// The part of segments that may be lost with all their copies: a quarter of the hundredth that
/// p99 leaves out, as a call has two of them, and tails have others.
const REMAINING_LOSS: f64 = 0.0025;

const MOST_COPIES: u8 = 3;

/// Budget that is saved for later, in full datagrams.
const SAVED_DATAGRAMS: u64 = 16;

/// Loss of half of all round trips, a quarter in each direction, is a path that is overloaded.
const HEAVY_LOSS: f64 = 0.45;

/// A queue that holds a round trip, and at least so much, for so long, is too.
const STANDING_QUEUE: Duration = Duration::from_millis(50);
const CONGESTED: Duration = Duration::from_secs(1);

/// Nothing is copied for so long then.
const SUSPENSION: Duration = Duration::from_secs(5);

/// Grain of the spacing.
const STEP: Duration = Duration::from_micros(250);

/// Most time between copies on a path of which nothing is known. Later it is adapted, up to a third
/// of the round trip.
const MOST_FIRST_SPACING: Duration = Duration::from_millis(5);

const MOST_PENDING: usize = 64;
const MOST_WATCHED: usize = 32;

/// How long beyond two round trips an ack is waited for.
const PATIENCE: Duration = Duration::from_millis(50);

/// Below this, in 256ths, a peer does not acknowledge each transmission by itself. Losing a quarter
/// in each direction leaves a third.
const LEAST_BOTH: u32 = 64;

/// Losses after which their pattern is looked at.
const ENOUGH_LOST: u32 = 8;

/// If copies are lost with their segments so much more often than anything else, they are too close;
/// if little more, they may be closer.
const TOGETHER: f64 = 0.2;
const APART: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arq::loss::{Rack, Sent};
    use crate::arq::options::Percent;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn adaptive(overhead: u16) -> Redundancy {
        Redundancy::Adaptive {
            overhead: Percent::new(overhead),
        }
    }

    /// A path of that round-trip time on which one in so many transmissions was lost.
    fn path(trip: Duration, one_in: usize) -> PathModel {
        let mut path = PathModel::new(true);
        for index in 0..2000 {
            path.on_sample(Time::ZERO, trip);
            path.on_outcome(one_in > 0 && index % one_in == one_in - 1);
        }
        path
    }

    fn copies(redundancy: Redundancy, path: &PathModel) -> u8 {
        Protector::new(redundancy, 1000).copies(at(0), path)
    }

    /// A flight of so many segments of 1000 bytes.
    fn flight(count: u32) -> Flight {
        let mut flight = Flight::new(SeqNumber::first(0));
        let mut rack = Rack::new(None);
        for sequence in 0..count {
            let sent = rack.on_sent(SeqNumber::first(sequence), Time::ZERO);
            flight.push(Sent::new(vec![0; 1000], 0, sent));
        }
        flight
    }

    #[test]
    fn number_of_copies_follows_the_loss_and_the_budget() {
        let expected = [(0, 0), (500, 0), (100, 1), (20, 1), (8, 2), (5, 2)];
        for (one_in, copied) in expected {
            let path = path(ms(50), one_in);
            assert_eq!(copies(adaptive(400), &path), copied, "1 in {one_in}");
            assert_eq!(copies(adaptive(100), &path), copied.min(1));
            assert_eq!(copies(adaptive(0), &path), 0);
            assert_eq!(copies(Redundancy::Off, &path), 0);
            let always = Redundancy::Always {
                copies: 1,
                overhead: Percent::new(200),
            };
            assert_eq!(copies(always, &path), copied.max(1));
        }
    }

    #[test]
    fn short_and_unknown_paths_are_not_protected() {
        assert_eq!(copies(adaptive(400), &path(ms(7), 20)), 0);
        assert_eq!(copies(adaptive(400), &PathModel::new(true)), 0);
    }

    #[test]
    fn new_path_is_protected_until_enough_has_arrived() {
        let mut path = PathModel::new(true);
        path.on_handshake(ms(50));
        let mut clean = 0;
        while copies(adaptive(100), &path) > 0 {
            path.on_outcome(false);
            clean += 1;
        }
        assert!((20..80).contains(&clean), "{clean}");
        path.on_outcome(true);
        assert_eq!(copies(adaptive(100), &path), 1);
    }

    #[test]
    fn path_that_loses_half_of_all_is_overloaded() {
        let heavy = path(ms(50), 2);
        let mut protector = Protector::new(adaptive(400), 1000);
        assert_eq!(protector.copies(at(0), &heavy), 0);
        let better = path(ms(50), 10);
        assert_eq!(protector.copies(at(4999), &better), 0);
        assert!(protector.copies(at(5000), &better) > 0);
    }

    #[test]
    fn path_with_a_standing_queue_is_overloaded_after_a_second() {
        let mut full = path(ms(50), 20);
        for _ in 0..100 {
            full.on_sample(Time::ZERO, ms(160));
        }
        let mut protector = Protector::new(adaptive(100), 1000);
        assert_eq!(protector.copies(at(0), &full), 1);
        assert_eq!(protector.copies(at(999), &full), 1);
        assert_eq!(protector.copies(at(1000), &full), 0);
    }

    #[test]
    fn segments_of_a_small_flush_are_copied_after_the_spacing_and_of_a_large_one_are_not() {
        let path = path(ms(50), 20);
        for count in 1..8 {
            let flight = flight(count);
            let mut protector = Protector::new(adaptive(100), 1000);
            for sequence in 0..count {
                protector.on_new(SeqNumber::first(sequence));
            }
            protector.on_flushed(at(10), &path, count as usize);
            if count > 4 {
                assert_eq!(protector.next(), None);
                continue;
            }
            assert_eq!(protector.next(), Some(at(12)));
            assert_eq!(protector.peek(at(11), &flight), None);
            for sequence in (0..count).map(SeqNumber::first) {
                assert_eq!(protector.peek(at(12), &flight), Some(sequence));
                protector.on_copied(at(12), sequence, 1000, &path, None);
            }
            assert_eq!(protector.next(), None);
        }
    }

    #[test]
    fn nothing_is_copied_while_much_is_in_flight() {
        let path = path(ms(50), 20);
        let mut protector = Protector::new(adaptive(100), 1000);
        protector.on_new(SeqNumber::first(0));
        protector.on_flushed(at(10), &path, 17);
        assert_eq!(protector.next(), None);
    }

    #[test]
    fn what_is_acknowledged_is_not_copied() {
        let path = path(ms(50), 20);
        let mut protector = Protector::new(adaptive(100), 1000);
        protector.on_new(SeqNumber::first(7));
        protector.on_flushed(at(10), &path, 1);
        protector.drop_acknowledged(&flight(3));
        assert_eq!(protector.next(), None);
    }

    #[test]
    fn budget_is_the_overhead_and_sixteen_datagrams() {
        let path = path(ms(50), 20);
        for overhead in [10, 50, 100, 300] {
            let flight = flight(1);
            let mut protector = Protector::new(adaptive(overhead), 1000);
            let mut copied = 0;
            for call in 0..1000 {
                let now = at(call * 60);
                protector.on_sent(1000);
                protector.on_new(SeqNumber::first(0));
                protector.on_flushed(now, &path, 1);
                while let Some(due) = protector.next() {
                    if let Some(sequence) = protector.peek(due, &flight) {
                        protector.on_copied(due, sequence, 1000, &path, None);
                        copied += 1;
                    }
                }
            }
            let budget = 1000 * u64::from(overhead.min(100)) / 100 + SAVED_DATAGRAMS;
            assert!(copied <= budget, "{copied} at {overhead} %");
            assert!(
                copied + 2 * SAVED_DATAGRAMS >= budget,
                "{copied} at {overhead} %"
            );
        }
    }

    /// What outcomes of segments and copies make of spacing and loss.
    fn outcomes(all: impl Iterator<Item = [bool; 2]>) -> (u32, f64) {
        let mut path = path(ms(50), 100);
        let mut protector = Protector::new(adaptive(100), 1000);
        protector.spacing(&path);
        for (index, acked) in (0..).zip(all) {
            let now = at(index * 1000);
            let sequence = SeqNumber::first(index as u32);
            let stamps = [0, 2].map(|it| Timestamp::from_wire(index as u32 * 1000 + it));
            protector.on_copied(now, sequence, 1000, &path, Some(stamps));
            for (stamp, _) in stamps.into_iter().zip(acked).filter(|it| it.1) {
                protector.on_ack(sequence, stamp);
            }
            protector.judge(now + ms(900), &mut path);
            assert!(!protector.watches(sequence));
        }
        (protector.spacing * 250, path.loss())
    }

    #[test]
    fn acks_of_the_first_copy_are_awaited_for_two_round_trips_of_the_handshake() {
        let mut path = PathModel::new(true);
        path.on_handshake(ms(400));
        let mut protector = Protector::new(adaptive(100), 1000);
        let sequence = SeqNumber::first(1);
        let stamps = [0, 2].map(Timestamp::from_wire);
        protector.on_copied(at(2), sequence, 1000, &path, Some(stamps));
        protector.on_ack(sequence, stamps[0]);
        protector.judge(at(400), &mut path);
        assert!(protector.watches(sequence));
        protector.on_ack(sequence, stamps[1]);
        protector.judge(at(402), &mut path);
        assert!(!protector.watches(sequence));
        assert!(path.loss() < 1.0 / 100.0, "{}", path.loss());
    }

    #[test]
    fn copies_that_are_lost_with_their_segments_move_away_from_them() {
        let bursts = (0..400).map(|index| [index % 10 > 0; 2]);
        assert_eq!(outcomes(bursts).0, 16_500, "to a third of the round trip");
        let alone = (0..400).map(|index| [index % 10 > 0, true]);
        assert_eq!(outcomes(alone).0, 2000, "no closer than they began");
    }

    #[test]
    fn each_of_both_counts_as_lost_or_not() {
        let (_, loss) = outcomes((0..2000).map(|index| [index % 10 > 0, true]));
        assert!((0.03..0.07).contains(&loss), "{loss}");
    }

    #[test]
    fn peer_that_acknowledges_only_the_last_of_both_loses_nothing() {
        let (_, loss) = outcomes((0..2000).map(|_| [false, true]));
        assert!(loss < 0.001, "{loss}");
    }
}
