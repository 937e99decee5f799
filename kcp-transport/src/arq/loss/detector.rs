//! Which segments are lost, as far as acknowledgements of later ones tell.
//!
//! kcp-go walks its whole send buffer for every ack segment. Here each datagram counts once, from
//! the highest segment it newly acknowledges, and only holes are visited: segments below the
//! highest acknowledged one that are not acknowledged themselves.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use super::flight::{Flight, Suspicion};
use crate::time::Time;
use crate::wire::SeqNumber;

/// Why a segment is sent again before its time-out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resend {
    /// Enough later segments are acknowledged.
    Fast,
    /// One later segment is acknowledged, and there is nothing new to send that would tell more.
    Early,
}

/// A newly acknowledged segment, as evidence against the ones before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence {
    pub(crate) sequence: SeqNumber,
    /// When the transmission that arrived was sent.
    pub(crate) sent: Time,
}

/// Counts later acks and queues what they prove lost.
#[derive(Debug)]
pub(crate) struct LossDetector {
    threshold: Option<NonZeroU32>,
    highest_acked: SeqNumber,
    /// Everything before this was looked at for holes.
    scanned: SeqNumber,
    /// Segments in state [`Suspicion::Counting`], in no order; others are removed when met.
    holes: Vec<SeqNumber>,
    /// Segments in state [`Suspicion::Suspected`]; others are removed when met.
    suspects: Vec<SeqNumber>,
    /// Segments in state [`Suspicion::Due`]; others are removed when met.
    due: VecDeque<(SeqNumber, Resend)>,
    /// When holes are next considered for early retransmit.
    early_at: Option<Time>,
    /// Where among too many holes the next datagram begins to count.
    cursor: usize,
    /// Segments looked at.
    #[cfg(test)]
    pub(crate) steps: usize,
}

impl LossDetector {
    pub(crate) fn new(threshold: Option<NonZeroU32>, first: SeqNumber) -> Self {
        Self {
            threshold,
            highest_acked: first,
            scanned: first,
            holes: Vec::new(),
            suspects: Vec::new(),
            due: VecDeque::new(),
            early_at: None,
            cursor: 0,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// One datagram acknowledged `evidence`, among others before it.
    ///
    /// kcp-go v5 kcp.go, parse_fastack: an ack counts against earlier segments whose last
    /// transmission is not younger than the one that arrived. It counts every ack segment, so two
    /// forged ones make it resend the whole window; a datagram of ours counts once.
    ///
    /// Returns whether that raises a doubt about a segment, so that [`Self::consider_early`] is
    /// called for.
    pub(crate) fn on_datagram(&mut self, evidence: Evidence, flight: &mut Flight) -> bool {
        self.highest_acked = self.highest_acked.max(evidence.sequence);
        self.scan(flight);
        let mut doubt = false;
        let mut index = self.begin();
        for _ in 0..VISITS_PER_DATAGRAM {
            let Some(&sequence) = self.holes.get(index) else {
                break;
            };
            self.count_step();
            let Some(sent) = flight
                .outstanding_mut(sequence)
                .filter(|sent| sent.suspicion == Suspicion::Counting)
            else {
                self.holes.swap_remove(index);
                continue;
            };
            index += 1;
            if sequence >= evidence.sequence || sent.last_sent > evidence.sent {
                continue;
            }
            sent.later_acks += 1;
            doubt = true;
            if sent.later_acks >= self.threshold.map_or(1, NonZeroU32::get) {
                index -= 1;
                self.holes.swap_remove(index);
                if self.threshold.is_some() {
                    sent.suspicion = Suspicion::Due;
                    self.due.push_back((sequence, Resend::Fast));
                } else {
                    sent.suspicion = Suspicion::Suspected;
                    self.suspects.push(sequence);
                }
            }
        }
        self.cursor = index;
        doubt
    }

    /// Where to begin with as many holes as are looked at for one datagram: at the front if they
    /// are no more than that.
    fn begin(&self) -> usize {
        let few = self.holes.len() <= VISITS_PER_DATAGRAM;
        if few || self.cursor >= self.holes.len() {
            0
        } else {
            self.cursor
        }
    }

    /// Sets the time at which early retransmit looks at the holes, after a datagram that raised a
    /// doubt or moved `una`.
    ///
    /// kcp-go v5 kcp.go, Input and flush: that is the next full flush. One follows at once when
    /// `una` moved or a segment has reached the threshold - with fast retransmit off, its first
    /// later ack - and else at the next tick.
    pub(crate) fn consider_early(&mut self, now: Time, moved: bool, flush_interval: Duration) {
        let at_once = moved || !self.due.is_empty() || self.threshold.is_none();
        let at = if at_once { now } else { now + flush_interval };
        self.early_at = Some(self.early_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// `una` moved: what it covers needs no more looking at.
    pub(crate) fn on_advance(&mut self, flight: &Flight) {
        self.highest_acked = self.highest_acked.max(flight.una());
        if self.scanned <= flight.una() {
            self.scanned = flight.una();
            self.holes.clear();
            self.suspects.clear();
            self.due.clear();
            self.early_at = None;
        }
    }

    /// Whether early retransmit waits to look at the holes.
    pub(crate) fn has_doubts(&self) -> bool {
        self.early_at.is_some()
    }

    /// A segment was sent again because its time-out passed: counting starts afresh.
    pub(crate) fn on_timeout(&mut self, sequence: SeqNumber, flight: &mut Flight) {
        let Some(sent) = flight.outstanding_mut(sequence) else {
            return;
        };
        sent.later_acks = 0;
        if sent.suspicion == Suspicion::Counting || sequence >= self.scanned {
            return;
        }
        sent.suspicion = Suspicion::Counting;
        self.holes.push(sequence);
    }

    /// The next segment to send again, without taking it.
    pub(crate) fn peek_due(&mut self, flight: &Flight) -> Option<(SeqNumber, Resend)> {
        while let Some(&(sequence, resend)) = self.due.front() {
            let still_due = |suspicion| suspicion == Suspicion::Due;
            match flight.outstanding(sequence) {
                Some(sent) if still_due(sent.suspicion) => return Some((sequence, resend)),
                _ => self.due.pop_front(),
            };
        }
        None
    }

    /// Takes what [`Self::peek_due`] returned.
    pub(crate) fn pop_due(&mut self, flight: &mut Flight) {
        if let Some((sequence, _)) = self.due.pop_front()
            && let Some(sent) = flight.outstanding_mut(sequence)
        {
            sent.suspicion = Suspicion::Resent;
        }
    }

    /// Queues holes for early retransmit if it is time and nothing new can be sent.
    ///
    /// kcp-go v5 kcp.go, flush: while there is new data, its acks will tell more, so the decision
    /// is left to the next tick.
    pub(crate) fn poll_early(
        &mut self,
        now: Time,
        new_data: bool,
        flush_interval: Duration,
        flight: &mut Flight,
    ) {
        if self.early_at.is_none_or(|at| at > now) {
            return;
        }
        if new_data {
            self.early_at = Some(now + flush_interval);
            return;
        }
        self.early_at = None;
        let due = &mut self.due;
        let mut take = |sequence: SeqNumber, expected: Suspicion| {
            if let Some(sent) = flight.outstanding_mut(sequence)
                && sent.suspicion == expected
                && sent.later_acks > 0
            {
                sent.suspicion = Suspicion::Due;
                due.push_back((sequence, Resend::Early));
                return true;
            }
            false
        };
        let looked_at = self.holes.len().min(VISITS_PER_DATAGRAM);
        #[cfg(test)]
        {
            self.steps += looked_at;
        }
        self.holes
            .extract_if(..looked_at, |sequence| take(*sequence, Suspicion::Counting))
            .for_each(drop);
        for sequence in self.suspects.drain(..) {
            take(sequence, Suspicion::Suspected);
        }
    }

    /// When this has something to send.
    pub(crate) fn next(&self) -> Option<Time> {
        if self.due.is_empty() {
            self.early_at
        } else {
            Some(Time::ZERO)
        }
    }

    /// Releases memory that is not used.
    pub(crate) fn shrink(&mut self) {
        self.holes.shrink_to_fit();
        self.suspects.shrink_to_fit();
        self.due.shrink_to_fit();
    }

    /// Looks for holes below the highest acknowledged segment, a bounded number at a time.
    fn scan(&mut self, flight: &mut Flight) {
        self.scanned = self.scanned.max(flight.una());
        for _ in 0..SCAN_PER_DATAGRAM {
            if self.scanned >= self.highest_acked {
                return;
            }
            self.count_step();
            if let Some(sent) = flight.outstanding_mut(self.scanned)
                && sent.suspicion == Suspicion::Unsuspected
            {
                sent.suspicion = Suspicion::Counting;
                self.holes.push(self.scanned);
            }
            self.scanned = self.scanned.next();
        }
    }

    fn count_step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }

    /// Bytes held.
    pub(crate) fn memory(&self) -> usize {
        let lists = self.holes.capacity() + self.suspects.capacity();
        lists * size_of::<SeqNumber>() + self.due.capacity() * size_of::<(SeqNumber, Resend)>()
    }
}

/// Segments searched for holes per datagram.
///
/// A full datagram of acks covers 58 segments, so an honest peer is never ahead of the search for
/// long, while one forged ack at the far end of the window cannot make it long.
const SCAN_PER_DATAGRAM: usize = 256;

/// Holes counted for, or looked at for early retransmit, per datagram.
///
/// More than a window of 1024 has at half of all segments lost. If there are more yet, each
/// datagram counts for the next ones in turn.
const VISITS_PER_DATAGRAM: usize = 512;
