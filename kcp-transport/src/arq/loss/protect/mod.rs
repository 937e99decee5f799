//! Copies of segments that nothing would follow, sent before it is known whether they are needed.
//!
//! A lost segment is noticed by what is acknowledged after it. A flow of single datagrams has
//! nothing after it, so each loss costs it a probe time-out. Where a path loses, the segments of
//! small flushes are therefore sent again a few milliseconds later, within a budget. Bulk is not
//! copied: there, a copy would take the place of data, and losses are noticed anyway. But once all of
//! it has been sent, what was lost of the last round trip is sent again over an idle path, and losing
//! that again costs another round trip: it is copied too.

mod history;

use std::collections::VecDeque;
use std::time::Duration;

use super::flight::{Flight, SentState};
use super::path::PathModel;
use crate::arq::options::Redundancy;
use crate::time::Time;
use crate::wire::{SEGMENT_HEADER_LEN, SeqNumber, Timestamp};
use history::History;

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
    /// Something later that was sent before the copy has arrived, and the segment had not.
    is_missed: bool,
    /// A later copy of the same time was acknowledged: the ack of this one may have been left out.
    is_covered: bool,
    /// When no ack is expected any more.
    until: Time,
}

impl Watched {
    /// Takes the ack of some segment into account, beside which the peer states that all before `una`
    /// has arrived.
    ///
    /// A peer that reads several datagrams before it answers leaves out the acks that `una` covers,
    /// except for the last one. So the absence of an ack does not always show a loss.
    fn on_ack(&mut self, sequence: SeqNumber, echo: Timestamp, una: SeqNumber) {
        if self.sequence == sequence {
            for (acked, stamp) in self.acked.iter_mut().zip(self.stamps) {
                *acked |= stamp == echo;
            }
        } else if self.sequence < sequence {
            let [first, copy] = self.stamps;
            // What arrived had left before the copy did.
            let is_before = echo.since(first) < copy.since(first);
            self.acked[0] |= is_before && self.sequence < una;
            self.is_missed |= is_before && self.sequence >= una;
            self.is_covered |= echo == copy;
        }
    }

    /// Whether nothing more can become known.
    fn is_decided(&self) -> bool {
        self.acked[0] && (self.acked[1] || self.is_covered)
    }
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

    /// A lost segment is sent again, and nothing waits to be sent after it: if that is lost too, the
    /// end of what was written comes a round trip later.
    pub(in crate::arq) fn on_resent(&mut self, now: Time, path: &PathModel, sequence: SeqNumber) {
        if self.copies(now, path) > 0 {
            self.schedule(now, path, sequence, 1);
        }
    }

    /// How often a segment is to be copied.
    fn copies(&mut self, now: Time, path: &PathModel) -> u8 {
        let (at_least, overhead, most_lost) = match self.redundancy {
            Redundancy::Off => return 0,
            Redundancy::Adaptive { overhead } => (0, overhead.get(), REMAINING_LOSS),
            Redundancy::Always { copies, overhead } => (copies, overhead.get(), LITTLE_LOSS),
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
        // An average of few losses comes down between them.
        let mut remaining = match path.may_lose() {
            true => loss.max(2.0 * most_lost),
            false => loss,
        };
        while remaining > most_lost && copies < MOST_COPIES {
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
            self.spacing = steps(first_spacing(least));
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
                is_missed: false,
                is_covered: false,
                until: now + trip * 2 + PATIENCE,
            });
        }
    }

    /// Whether it is known what becomes of a segment and its copy by [`Self::judge`].
    pub(in crate::arq) fn watches(&self, sequence: SeqNumber) -> bool {
        self.watched.iter().any(|it| it.sequence == sequence)
    }

    /// A segment was acknowledged, for the first time or again; all before `una` has arrived.
    pub(in crate::arq) fn on_ack(&mut self, sequence: SeqNumber, echo: Timestamp, una: SeqNumber) {
        for watched in &mut self.watched {
            watched.on_ack(sequence, echo, una);
        }
    }

    /// Decides what became of segments and copies that no more acks are expected of.
    pub(in crate::arq) fn judge(&mut self, now: Time, path: &mut PathModel) {
        while let Some(watched) = self.watched.front().copied() {
            if !watched.is_decided() && watched.until > now {
                break;
            }
            self.watched.pop_front();
            if let Some(longer) = self.history.on_outcome(&watched, path) {
                let least = path.least().unwrap_or(MIN_RTT);
                let spacing = if longer {
                    self.spacing * 2
                } else {
                    self.spacing / 2
                };
                // The path may have become too short for copies since these were sent.
                let most = steps(least / 3);
                self.spacing = spacing.clamp(steps(first_spacing(least)).min(most), most);
            }
        }
    }

    /// A segment is not copied after all.
    pub(in crate::arq) fn drop_copies(&mut self, sequence: SeqNumber) {
        self.pending.retain(|copy| copy.sequence != sequence);
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

/// Time between copies on a path of this round-trip time before outcomes are known, and at least.
fn first_spacing(least: Duration) -> Duration {
    (least / 25).clamp(Duration::from_millis(1), MOST_FIRST_SPACING)
}

/// At least one.
fn steps(spacing: Duration) -> u32 {
    u32::try_from(spacing.as_micros() / STEP.as_micros()).map_or(u32::MAX, |steps| steps.max(1))
}

/// Bytes that a segment with so much data takes.
fn cost(len: usize) -> u64 {
    (len + SEGMENT_HEADER_LEN) as u64
}

/// Most segments of a flush that are copied: of more, each shows the loss of those before it.
const MOST_FLUSHED: usize = 4;

/// Most segments in flight that a flow of small flushes has.
const MOST_IN_FLIGHT: usize = 16;

/// Round-trip times below this are not worth a timer: a probe time-out costs little more.
const MIN_RTT: Duration = Duration::from_millis(8);

/// The part of segments that may be lost with all their copies: a quarter of the hundredth that
/// p99 leaves out, as a call has two of them, and tails have others.
const REMAINING_LOSS: f64 = 0.0025;

/// The same for messages that each have their time, of which many follow each other.
const LITTLE_LOSS: f64 = 0.0005;

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

#[cfg(test)]
mod tests;
