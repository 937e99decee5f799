//! Why segments are sent again, and when windows are asked for, as seen from outside.

use std::time::Duration;

use kcp_transport::config::Config;
use kcp_transport::session::Session;
use kcp_transport::stats::Stats;
use kcp_transport::time::Time;

/// Whether each segment that is sent again has waited for its time-out, or is known to be lost by
/// acknowledgements of later ones.
#[derive(Debug)]
pub(crate) struct Resends {
    /// Acknowledgements after which a segment is lost; none if that is off.
    threshold: Option<usize>,
    no_delay: bool,
    /// Of each datagram the highest segment it newly acknowledged, when that had been sent, and when
    /// the datagram came; none if that is so far ahead that not all before are looked at at once.
    evidence: Vec<(u64, Time, Option<Time>)>,
    /// Longest time that a segment waits while another was acknowledged and nothing new is sent;
    /// none if a rate makes all wait.
    early: Option<Duration>,
    /// When a new segment was sent last.
    new_at: Time,
    /// What the session had counted before: fast, early, and by time-outs.
    counted: [u64; 3],
    batch: Reasons,
    /// What parity has brought is not seen here, so not all that was acknowledged is known.
    pub(crate) hears_parity: bool,
}

/// How many segments were sent again that had a reason of some kind. Whoever is lost by many
/// acknowledgements is also by one.
#[derive(Debug, Default)]
struct Reasons {
    all: u64,
    /// Enough acknowledgements of later segments, or at least one.
    many: u64,
    one: u64,
    /// A time-out.
    late: u64,
    many_or_late: u64,
    one_or_late: u64,
    /// Should have been sent earlier: by one acknowledgement, or by many.
    overdue: u64,
    forgotten: u64,
}

/// When a segment was sent, and how long it waits at least before that is for nothing.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) first: Time,
    pub(crate) last: Time,
    time_out: Duration,
}

impl Resends {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            threshold: config.fast_retransmit_after().map(|it| it.get() as usize),
            no_delay: config.no_delay(),
            evidence: Vec::new(),
            early: match config.send_rate() {
                Some(_) => None,
                None => Some(config.flush_interval() + TIMER_GRAIN),
            },
            new_at: Time::ZERO,
            counted: [0; 3],
            batch: Reasons::default(),
            hears_parity: false,
        }
    }

    /// A datagram acknowledged this segment, the highest of those it newly acknowledged. All before
    /// `una` are of no interest any more.
    pub(crate) fn on_acknowledged(&mut self, now: Time, evidence: Option<(u64, Time)>, una: u64) {
        let heard = |place: u64| (place < una + SEARCHED).then_some(now);
        let evidence = evidence.map(|(place, sent)| (place, sent, heard(place)));
        self.evidence.extend(evidence);
        self.evidence.retain(|&(place, ..)| place >= una);
    }

    /// A segment is sent for the first time.
    pub(crate) fn on_new(&mut self, now: Time, rto: Duration) -> Sending {
        self.new_at = now;
        Sending {
            first: now,
            last: now,
            time_out: rto,
        }
    }

    /// A segment is sent again.
    pub(crate) fn on_resend(
        &mut self,
        now: Time,
        place: u64,
        sending: &mut Sending,
        rto: Duration,
    ) {
        let last = sending.last;
        let speaks =
            |&&(later, sent, _): &&(u64, Time, Option<Time>)| later > place && sent >= last;
        let acks = self.evidence.iter().filter(speaks).count();
        let many = self.threshold.is_some_and(|threshold| acks >= threshold);
        // Later on it is lost by no more than one acknowledgement.
        let times = self.evidence.iter().filter(speaks);
        let times = times.filter_map(|it| it.2.filter(|_| sending.first == last));
        let nth = |n: usize| times.clone().nth(n - 1);
        let overdue = self
            .early
            .zip(nth(1))
            .is_some_and(|(limit, since)| now - since.max(self.new_at) > limit);
        let lost = self
            .threshold
            .filter(|_| self.early.is_some())
            .and_then(nth);
        let forgotten = lost.is_some_and(|since| now - since > TIMER_GRAIN);
        let one = acks > 0;
        // Time has whole microseconds only.
        let late = (now - sending.last).as_micros() >= sending.time_out.as_micros();
        let batch = &mut self.batch;
        batch.all += 1;
        batch.many += u64::from(many);
        batch.one += u64::from(one);
        batch.late += u64::from(late);
        batch.many_or_late += u64::from(many || late);
        batch.one_or_late += u64::from(one || late);
        batch.overdue += u64::from(overdue);
        batch.forgotten += u64::from(forgotten);
        let more = if self.no_delay { rto / 2 } else { rto };
        // Which of several reasons it was cannot be seen.
        let backed_off = sending.time_out + more;
        let time_out = if one || self.hears_parity {
            backed_off.min(rto)
        } else {
            backed_off
        };
        sending.time_out = time_out.min(MAX_TIME_OUT);
        sending.last = now;
    }

    /// The session has laid out datagrams: what it counted must have had these reasons.
    pub(crate) fn check(&mut self, stats: &Stats) -> Result<(), String> {
        let counted = [
            stats.fast_retransmitted,
            stats.early_retransmitted,
            stats.timeout_retransmitted,
        ];
        let [fast, early, late] = [0, 1, 2].map(|it| counted[it] - self.counted[it]);
        self.counted = counted;
        let batch = std::mem::take(&mut self.batch);
        let fits = late <= batch.late
            && fast + early + late == batch.all
            && (self.hears_parity
                || (fast <= batch.many
                    && fast + early <= batch.one
                    && fast + late <= batch.many_or_late
                    && batch.all <= batch.one_or_late
                    && batch.overdue <= fast + early
                    && batch.forgotten == 0));
        if !fits {
            return Err(format!(
                "{fast} sent again fast, {early} early and {late} by time-outs, but {batch:?}"
            ));
        }
        Ok(())
    }
}

/// Whether a sender that can do nothing else asks its peer for room, often enough.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// Since when there is nothing to do but to ask, or when that was done last.
    waits_since: Option<Time>,
}

impl Questions {
    /// A segment was sent that the peer answers.
    pub(crate) fn on_asked(&mut self) {
        self.waits_since = None;
    }

    /// Its host goes on after a pause, in which nothing could be asked.
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

/// Windows are asked for every two seconds at least.
const LONGEST_SILENCE: Duration = Duration::from_millis(2_500);

/// Segments that a datagram makes its receiver look at.
const SEARCHED: u64 = 256;

/// How late timers are at most.
const TIMER_GRAIN: Duration = Duration::from_millis(16);

/// No time-out is longer.
const MAX_TIME_OUT: Duration = Duration::from_secs(60);
