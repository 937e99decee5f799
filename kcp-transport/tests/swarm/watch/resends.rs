//! Checks from outside why segments are retransmitted, and when windows are requested.

use std::time::Duration;

use kcp_transport::config::{Config, Congestion, Redundancy};
use kcp_transport::session::Session;
use kcp_transport::stats::Stats;
use kcp_transport::time::Time;
use kcp_transport::wire::SEGMENT_HEADER_LEN;

/// Whether each segment that is sent again is known to be lost by acknowledgements of what was sent
/// later, or nothing was acknowledged for a time-out.
#[derive(Debug)]
pub(crate) struct Resends {
    /// Later transmissions that must have arrived before one is lost at once; none if that is off.
    threshold: Option<usize>,
    /// Whether all that is due leaves at once: not if a rate makes it wait.
    at_once: bool,
    /// Transmissions so far.
    count: u64,
    /// The numbers of those that have arrived, and when that was acknowledged.
    arrived: Vec<(u64, Time)>,
    /// When a segment was sent last, and when before the last batch.
    sent_at: Time,
    sent_before: Time,
    /// The shortest time-out since then: what it made due may have had to wait.
    rto: Duration,
    /// How many more segments the last time-out may have made due that had to wait.
    probes_left: u64,
    /// The longest round trip that was measured.
    longest: Duration,
    /// An acknowledgement answered another transmission than the last.
    reordered: bool,
    /// The peer tells what has arrived beyond a gap: until it does, less is known to be lost.
    pub(crate) is_told: bool,
    /// What the session had counted before: fast, early, by time-outs, and copies.
    counted: [u64; 4],
    /// What copies may take, in percent of all else; none if there are none.
    overhead: Option<u64>,
    /// Bytes of all data segments sent, and of those that are saved for copies.
    bytes: u64,
    saved: u64,
    batch: Reasons,
    room: Room,
    /// What parity has brought is not seen here, so not all that was acknowledged is known.
    pub(crate) receives_parity: bool,
}

/// How many segments were sent again that had a reason of some kind. One that is lost by many
/// acknowledgements is, after some time, also lost by one.
#[derive(Debug, Default)]
struct Reasons {
    all: u64,
    /// Enough later transmissions have arrived, or one has and it is late.
    many: u64,
    one: u64,
    /// A time-out.
    quiet: u64,
    many_or_one: u64,
    many_or_quiet: u64,
    one_or_quiet: u64,
    any: u64,
    /// The peer has room for it.
    has_room: u64,
    /// Should have been sent earlier.
    overdue: u64,
}

/// What the peer has room for.
#[derive(Debug)]
struct Room {
    /// The first segment for which there is none.
    end: u64,
    /// The same, when there was the most room.
    most: u64,
    /// Since when there has been so much again.
    since: Time,
}

impl Room {
    fn on_heard(&mut self, now: Time, end: u64) {
        if self.end < self.most && end >= self.most {
            self.since = now;
        }
        self.end = end;
        self.most = self.most.max(end);
    }

    /// Since when nothing has had to wait for room.
    fn since(&self) -> Option<Time> {
        (self.end == self.most).then_some(self.since)
    }
}

/// The transmissions of a segment, with their numbers.
#[derive(Debug)]
pub(crate) struct Sending {
    all: Vec<(u64, Time)>,
}

impl Sending {
    pub(crate) fn first(&self) -> Time {
        self.all[0].1
    }

    pub(crate) fn last(&self) -> Time {
        self.all[self.all.len() - 1].1
    }

    /// Those by which the session knows what was acknowledged.
    pub(crate) fn recent(&self) -> &[(u64, Time)] {
        &self.all[self.all.len().saturating_sub(3)..]
    }

    /// Its number, if there was no other.
    fn only(&self) -> Option<u64> {
        (self.all.len() == 1).then_some(self.all[0].0)
    }
}

impl Resends {
    pub(crate) fn new(config: &Config, mss: usize) -> Self {
        Self {
            overhead: match config.redundancy() {
                Redundancy::Adaptive { overhead } | Redundancy::Always { overhead, .. } => {
                    Some(overhead.get().into())
                }
                _ => None,
            },
            bytes: 0,
            saved: SAVED_DATAGRAMS * (mss + SEGMENT_HEADER_LEN) as u64,
            threshold: config.fast_retransmit_after().map(|it| it.get() as usize),
            at_once: config.send_rate().is_none()
                && config.controller().is_none()
                && config.congestion() != Congestion::Model,
            count: 0,
            arrived: Vec::new(),
            sent_at: Time::ZERO,
            sent_before: Time::ZERO,
            rto: Duration::MAX,
            probes_left: 0,
            longest: Duration::ZERO,
            reordered: false,
            is_told: false,
            counted: [0; 4],
            batch: Reasons::default(),
            // As KCP assumes.
            room: Room {
                end: 32,
                most: 32,
                since: Time::ZERO,
            },
            receives_parity: false,
        }
    }

    /// The segment that this transmission belongs to was acknowledged by its timestamp.
    pub(crate) fn on_acknowledged(&mut self, now: Time, sending: &Sending, number: u64, at: Time) {
        self.arrived.push((number, now));
        self.longest = self.longest.max(now - at);
        self.reordered |= at < sending.last();
    }

    /// A segment was acknowledged by `una` alone.
    pub(crate) fn on_covered(&mut self, now: Time, sending: &Sending) {
        self.arrived
            .extend(sending.only().map(|number| (number, now)));
    }

    /// The peer has said that it has room for the segments before this one.
    pub(crate) fn on_room(&mut self, now: Time, end: u64) {
        self.room.on_heard(now, end);
    }

    fn on_sent(&mut self, now: Time, len: usize) -> (u64, Time) {
        self.bytes += (len + SEGMENT_HEADER_LEN) as u64;
        self.count += 1;
        (self.count, now)
    }

    /// What is sent, if it is no copy, restarts the time-out.
    fn restart(&mut self, now: Time) {
        if now > self.sent_at {
            self.sent_before = self.sent_at;
        }
        self.sent_at = now;
        self.rto = Duration::MAX;
    }

    /// A segment is sent for the first time.
    pub(crate) fn on_new(&mut self, now: Time, len: usize) -> Sending {
        self.restart(now);
        Sending {
            all: vec![self.on_sent(now, len)],
        }
    }

    /// A segment is sent again, by a session with these statistics.
    pub(crate) fn on_resend(
        &mut self,
        now: Time,
        place: u64,
        (sending, len): (&mut Sending, usize),
        stats: &Stats,
    ) {
        let (number, last) = sending.all[sending.all.len() - 1];
        let later = self.arrived.iter().filter(|it| it.0 > number);
        let nth = |n: usize| later.clone().map(|it| it.1).nth(n - 1);
        let lost_at = self.threshold.and_then(nth);
        let trip = stats.smoothed_rtt.unwrap_or_default();
        let many = lost_at.is_some();
        // What came since may have made it longer.
        let one = nth(1).is_some() && now - last >= trip * 3 / 4;
        let before = match now > self.sent_at {
            true => self.sent_at,
            false => self.sent_before,
        };
        let passed = now - before >= self.rto.min(stats.rto);
        let quiet = passed || self.probes_left > 0;
        self.probes_left = match passed {
            true => PROBES - 1,
            false => self.probes_left.saturating_sub(1),
        };
        // As late as reordering can make it.
        let patience = stats.rto.max(self.longest) * 2;
        let room = self.room.since();
        let is_late = |since: Time| room.is_some_and(|it| now - since.max(it) > TIMER_GRAIN);
        let late = |since: Time| self.at_once && is_late(since);
        let overdue = nth(1).is_some_and(|since| late(since.max(last + patience)))
            || (!self.reordered && !self.is_told && lost_at.is_some_and(late));
        let batch = &mut self.batch;
        batch.all += 1;
        batch.many += u64::from(many);
        batch.one += u64::from(one);
        batch.quiet += u64::from(quiet);
        batch.many_or_one += u64::from(many || one);
        batch.many_or_quiet += u64::from(many || quiet);
        batch.one_or_quiet += u64::from(one || quiet);
        batch.any += u64::from(many || one || quiet);
        batch.has_room += u64::from(place < self.room.end);
        batch.overdue += u64::from(overdue);
        if self.overhead.is_none() {
            // Else it may be a copy.
            self.restart(now);
        }
        let sent = self.on_sent(now, len);
        sending.all.push(sent);
    }

    /// The session has read or sent something.
    pub(crate) fn on_time_out(&mut self, rto: Duration) {
        self.rto = self.rto.min(rto);
    }

    /// The session has laid out datagrams: what it counted must have had these reasons.
    pub(crate) fn check(&mut self, stats: &Stats) -> Result<(), String> {
        self.on_time_out(stats.rto);
        let counted = [
            stats.fast_retransmitted,
            stats.early_retransmitted,
            stats.timeout_retransmitted,
            stats.redundant_sent,
        ];
        let [fast, early, quiet, copies] = [0, 1, 2, 3].map(|it| counted[it] - self.counted[it]);
        self.counted = counted;
        let batch = std::mem::take(&mut self.batch);
        let fits = quiet <= batch.quiet
            && fast + early + quiet + copies == batch.all
            && (self.receives_parity
                || (fast <= batch.many
                    && early <= batch.one
                    && fast + early <= batch.many_or_one
                    && fast + early <= batch.has_room
                    && fast + quiet <= batch.many_or_quiet
                    && early + quiet <= batch.one_or_quiet
                    && batch.any + copies >= batch.all
                    && batch.overdue <= copies));
        if !fits {
            return Err(format!(
                "{fast} sent again fast, {early} early, {quiet} by time-outs and {copies} copied, \
                 but {batch:?}"
            ));
        }
        let copied = stats.redundant_bytes;
        let paid = self.overhead.unwrap_or(0) * (self.bytes - copied) / 100;
        let saved = if self.overhead.is_some() {
            self.saved
        } else {
            0
        };
        if copied > paid + saved {
            return Err(format!("{copied} bytes copied of {}", self.bytes));
        }
        Ok(())
    }
}

/// Whether a sender that is blocked by a window of zero probes often enough.
#[derive(Debug, Default)]
pub(crate) struct WindowProbes {
    /// Since when the sender is blocked, or when it last probed.
    waits_since: Option<Time>,
}

impl WindowProbes {
    /// A segment was sent that the peer answers.
    pub(crate) fn on_asked(&mut self) {
        self.waits_since = None;
    }

    /// Its host goes on after a pause, in which it could not probe.
    pub(crate) fn on_resumed(&mut self) {
        self.waits_since = None;
    }

    pub(crate) fn check(&mut self, now: Time, session: &Session) -> Result<(), String> {
        let stats = session.stats();
        let waits = stats.queued > 0 && (stats.remote_window == 0 || stats.in_flight == 0);
        if !waits || !session.is_validated() {
            self.waits_since = None;
            return Ok(());
        }
        let since = *self.waits_since.get_or_insert(now);
        if now - since > LONGEST_SILENCE {
            return Err(format!(
                "{} segments wait, and nothing is asked for {:?}",
                stats.queued,
                now - since
            ));
        }
        Ok(())
    }
}

/// A blocked sender probes at least every two seconds.
const LONGEST_SILENCE: Duration = Duration::from_millis(2_500);

/// Segments that are sent again after a time-out.
const PROBES: u64 = 4;

/// Copies that are saved for later.
const SAVED_DATAGRAMS: u64 = 16;

/// How late timers are at most.
const TIMER_GRAIN: Duration = Duration::from_millis(16);
