//! Which transmissions are lost, as far as acknowledgements of later ones tell.
//!
//! After RACK (RFC 8985): what counts is the order in which segments were sent, retransmissions
//! included, not that of their numbers. Acknowledgements repeat the time of the transmission they
//! answer, so it is known which one arrived. A transmission is lost once one that was sent later
//! has arrived and it is overdue itself, or, on a path that has not reordered anything, once enough
//! later ones have arrived. A lost retransmission is found like any other.
//!
//! kcp-go walks its whole send buffer for every ack segment. Here transmissions are kept in the
//! order of sending, each is looked at once, and none behind the first that is not yet lost.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use super::beyond::Beyond;
use super::flight::{Flight, Resend, Sent, SentState, Transmission};
use super::path::PathModel;
use crate::arq::LONG_PAUSE;
use crate::time::Time;
use crate::wire::SeqNumber;

/// All transmissions that may be lost, and those that are.
#[derive(Debug)]
pub(in crate::arq) struct Rack {
    /// In order of sending. Those acknowledged or sent again since are dropped when met.
    order: VecDeque<SeqNumber>,
    /// Number of the first transmission in `order`; numbers begin at 1.
    first: u64,
    /// Numbers of the newest transmissions that arrived, the newest first; 0 where there are none.
    arrived: [u64; MAX_THRESHOLD],
    /// Of these, which one shows a loss.
    threshold: Option<u8>,
    /// The peer has listed which transmissions before this one have arrived; 0 if it never does.
    told: u64,
    reordering: Reordering,
    /// When the first transmission is lost that has later ones arrived.
    timer: Option<Time>,
    /// Segments to send again, probes first. Those that have been since are dropped when met.
    due: VecDeque<(SeqNumber, Resend)>,
    /// Lost segments for which the peer has no room, if there are any.
    beyond: Option<Box<Beyond>>,
    /// Transmissions looked at.
    #[cfg(test)]
    pub(in crate::arq) steps: usize,
}

impl Rack {
    /// `threshold` is how many later transmissions must arrive before one counts as lost at once;
    /// with `None`, or more than five, only time decides.
    pub(in crate::arq) fn new(threshold: Option<NonZeroU32>) -> Self {
        Self {
            order: VecDeque::new(),
            first: 1,
            arrived: [0; MAX_THRESHOLD],
            threshold: usable(threshold),
            told: 0,
            reordering: Reordering::default(),
            timer: None,
            due: VecDeque::new(),
            beyond: None,
            #[cfg(test)]
            steps: 0,
        }
    }

    /// A segment is sent now. Returns the transmission.
    pub(in crate::arq) fn on_sent(&mut self, sequence: SeqNumber, at: Time) -> Transmission {
        let number = self.next_number();
        self.order.push_back(sequence);
        Transmission { number, at }
    }

    fn next_number(&self) -> u64 {
        self.first + self.order.len() as u64
    }

    /// A transmission has arrived.
    pub(in crate::arq) fn on_arrived(&mut self, number: u64) {
        let place = self.arrived.iter().position(|it| *it <= number);
        if let Some(place) = place.filter(|it| self.arrived[*it] < number) {
            self.arrived[place..].rotate_right(1);
            self.arrived[place] = number;
        }
    }

    /// The peer has listed which transmissions before this one have arrived.
    ///
    /// From then on others are not lost by the number of later acknowledgements: their own may have
    /// been lost, which the next list will show.
    pub(in crate::arq) fn on_told(&mut self, number: u64) {
        self.told = self.told.max(number).max(1);
    }

    /// An earlier transmission of a segment arrived that was taken for lost and sent again.
    pub(in crate::arq) fn on_spurious(&mut self) {
        let next = self.next_number();
        self.reordering.on_spurious(self.arrived[0], next);
    }

    /// Finds what is lost by what has arrived, and queues it; passes each to `lost`. To be called
    /// after acknowledgements, and at the time of [`Self::next`].
    pub(in crate::arq) fn detect(
        &mut self,
        now: Time,
        path: &PathModel,
        flight: &mut Flight,
        mut lost: impl FnMut(u64, u64),
    ) {
        let was = self.timer.take();
        let window = self.window(path, flight.unacked());
        let trip = match path.current() {
            Duration::ZERO => path.probe_timeout(),
            trip => trip,
        };
        for _ in 0..STEPS {
            let Some(&sequence) = self.order.front() else {
                return;
            };
            let number = self.first;
            self.count_step();
            if let Some(sent) = flight.flying_since(sequence, number) {
                if number >= self.arrived[0] {
                    return;
                }
                // Every datagram carries the number of the first that is missing.
                let is_told = sequence == flight.una() || self.is_told(number);
                let counted = is_told && self.is_lost_by_count(number);
                let at = sent + trip + window;
                if !counted && at > now {
                    self.timer = Some(at);
                    return;
                }
                if !counted && was.is_some_and(|was| was + LONG_PAUSE < now) {
                    // That late, this side was suspended, and acks may be waiting unread.
                    self.timer = Some(now + path.probe_timeout());
                    return;
                }
                let bytes = flight.outstanding(sequence).map_or(0, Sent::wire_len);
                flight.queue_again(sequence, SentState::Lost);
                let resend = if counted { Resend::Fast } else { Resend::Early };
                self.due.push_back((sequence, resend));
                let next = self.next_number();
                self.reordering.on_lost(number, next);
                lost(number, bytes);
            }
            self.order.pop_front();
            self.first += 1;
        }
        // The rest has its turn at the next call.
        self.timer = Some(now);
    }

    /// Queues up to `most` segments, to make the peer acknowledge something: the first that it has
    /// not acknowledged, without which it may not know the conversation, then those whose last
    /// transmission is the oldest.
    pub(in crate::arq) fn probe(&mut self, most: usize, flight: &mut Flight) {
        let una = flight.una();
        let first = flight.outstanding(una).map(|sent| sent.last().number);
        let first = first.filter(|number| flight.is_flying(una, *number));
        let oldest = self.order.iter().enumerate().take(STEPS);
        let oldest = oldest.map(|(index, &sequence)| (sequence, self.first + index as u64));
        let mut place = 0;
        for (sequence, number) in first.map(|number| (una, number)).into_iter().chain(oldest) {
            if place < most && flight.is_flying(sequence, number) {
                flight.queue_again(sequence, SentState::Probing);
                self.due.insert(place, (sequence, Resend::Probe));
                place += 1;
            }
        }
    }

    /// The segments that are queued as probes.
    pub(in crate::arq) fn probes(&self) -> impl Iterator<Item = SeqNumber> {
        let probes = self.due.iter().take_while(|it| it.1 == Resend::Probe);
        probes.map(|it| it.0)
    }

    /// How long beyond a round trip a transmission may take when later ones have arrived.
    fn window(&self, path: &PathModel, unacked: usize) -> Duration {
        let least = path.least().unwrap_or_else(|| path.probe_timeout());
        if self.reordering.seen {
            let multiplier = u32::from(self.reordering.multiplier);
            (least / 4 * multiplier).min(path.current())
        } else if unacked <= FEW {
            (least / 8).min(FEW_WINDOW)
        } else {
            least / 4
        }
    }

    /// Changes the threshold, as in [`Self::new`].
    pub(in crate::arq) fn set_threshold(&mut self, threshold: Option<NonZeroU32>) {
        self.threshold = usable(threshold);
    }

    /// Whether a list of the peer would include this transmission if it had arrived.
    fn is_told(&self, number: u64) -> bool {
        self.told == 0 || number < self.told
    }

    /// Whether enough transmissions after this one have arrived, on a path that keeps the order.
    fn is_lost_by_count(&self, number: u64) -> bool {
        let enough = self.threshold.map(|it| self.arrived[usize::from(it) - 1]);
        !self.reordering.seen && enough.is_some_and(|nth| number < nth)
    }

    /// The next segment to send again, without taking it.
    ///
    /// A peer whose memory is short may take back room that it had announced. What it drops then is
    /// lost whenever it is sent again, so it is only once there is room.
    pub(in crate::arq) fn peek_due(&mut self, flight: &Flight) -> Option<(SeqNumber, Resend)> {
        while let Some(waited) = self.beyond.as_mut().and_then(|it| it.pop(flight)) {
            self.due.push_back(waited);
        }
        self.beyond.take_if(|it| it.is_empty());
        while let Some(&(sequence, resend)) = self.due.front() {
            let sent = flight.outstanding(sequence);
            if sent.is_some_and(|sent| sent.state == resend.state()) {
                if resend == Resend::Probe || flight.is_within_window(sequence) {
                    return Some((sequence, resend));
                }
                self.beyond.get_or_insert_default().push(sequence, resend);
            }
            self.due.pop_front();
        }
        None
    }

    /// Takes what [`Self::peek_due`] returned.
    pub(in crate::arq) fn pop_due(&mut self) {
        self.due.pop_front();
    }

    /// Why something is to be sent again first, if anything is; it may be acknowledged meanwhile.
    pub(in crate::arq) fn next_due(&self, flight: &Flight) -> Option<Resend> {
        let due = self.due.front().map(|it| it.1);
        due.or_else(|| self.beyond.as_ref()?.first(flight).map(|it| it.1))
    }

    /// Number of the first transmission that is neither acknowledged nor lost, or an earlier one.
    pub(in crate::arq) fn first(&self) -> u64 {
        self.first
    }

    /// When to call [`Self::detect`].
    pub(in crate::arq) fn next(&self) -> Option<Time> {
        self.timer
    }

    /// Nothing is in flight any more.
    pub(in crate::arq) fn clear(&mut self) {
        self.first = self.next_number();
        self.order.clear();
        self.due.clear();
        self.beyond = None;
        self.timer = None;
    }

    /// Releases memory that is not used.
    pub(in crate::arq) fn shrink(&mut self) {
        self.order.shrink_to_fit();
        self.due.shrink_to_fit();
    }

    /// Bytes held.
    pub(in crate::arq) fn memory(&self) -> usize {
        self.order.capacity() * size_of::<SeqNumber>()
            + self.due.capacity() * size_of::<(SeqNumber, Resend)>()
            + self.beyond.as_ref().map_or(0, |it| it.memory())
    }

    fn count_step(&mut self) {
        #[cfg(test)]
        {
            self.steps += 1;
        }
    }
}

/// How much reordering there is on the path.
#[derive(Clone, Copy, Debug, Default)]
struct Reordering {
    /// Something that was taken for lost had only been overtaken.
    seen: bool,
    /// The window, in quarters of the shortest round trip.
    multiplier: u8,
    /// Recoveries after which all this is forgotten.
    persist: u8,
    /// Transmissions from this one on belong to another round trip.
    round_end: u64,
    recovery_end: u64,
}

impl Reordering {
    fn on_spurious(&mut self, arrived: u64, next: u64) {
        if !self.seen || arrived >= self.round_end {
            self.multiplier = (self.multiplier + 1).min(MAX_MULTIPLIER);
            self.round_end = next;
        }
        self.seen = true;
        self.persist = PERSIST;
    }

    fn on_lost(&mut self, number: u64, next: u64) {
        if number < self.recovery_end {
            return;
        }
        self.recovery_end = next;
        self.persist = self.persist.saturating_sub(1);
        if self.seen && self.persist == 0 {
            self.seen = false;
            self.multiplier = 0;
        }
    }
}

/// The threshold, if arrivals are counted that far.
fn usable(threshold: Option<NonZeroU32>) -> Option<u8> {
    let threshold = threshold.and_then(|it| u8::try_from(it.get()).ok());
    threshold.filter(|it| usize::from(*it) <= MAX_THRESHOLD)
}

/// Most transmissions that must arrive before an earlier one is lost by their number.
const MAX_THRESHOLD: usize = 5;

/// Transmissions looked at in one call.
///
/// More than a window of 1024 has at half of all segments lost; one forged ack at the far end of
/// the window cannot make it long.
const STEPS: usize = 512;

/// Segments in flight that make a thin flow: there, a few milliseconds count and a needless
/// retransmission costs little.
const FEW: usize = 4;

/// Most that is waited for one of a few that was overtaken.
const FEW_WINDOW: Duration = Duration::from_millis(5);

/// Recoveries without reordering after which none is expected any more (RFC 8985, section 6.2).
const PERSIST: u8 = 16;

/// The window is at most twice the shortest round trip.
const MAX_MULTIPLIER: u8 = 8;
