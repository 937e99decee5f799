//! What happens to a request that fails.
//!
//! tower's retry budget and back-off are used. Its `retry::Retry` and `hedge::Hedge` are not: they
//! repeat a request on the same service, and cannot leave out the endpoints that it has tried.

mod ejection;
mod latency;
mod run;

use std::fmt;
use std::time::Duration;

use tower::retry::backoff::{ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tower::retry::budget::{Budget, TpsBudget};
use tower::util::rng::HasherRng;

pub use self::ejection::Ejection;
pub(super) use self::ejection::{Health, Standing};
pub(super) use self::latency::Latencies;
pub(super) use self::run::Run;
use super::select::Seeded;

/// What happens to a request that fails.
///
/// A request is sent again only if that is safe: it is [idempotent](super::Protocol::idempotent), or
/// the failure proves that no endpoint has processed it ([`Verdict::Unsent`](super::Verdict::Unsent)).
/// It must fit into the buffer that the protocol keeps for that, and the budget must allow it: by
/// default one request in five, and ten in a second. All tries share one deadline.
///
/// ```
/// use std::time::Duration;
///
/// use kcp_tower::balance::Failure;
///
/// let failure = Failure::failover().tries(4).budget(0.5, 20);
/// let hedging = Failure::failbackup(Duration::from_millis(30));
/// ```
#[derive(Clone)]
pub struct Failure {
    mode: Mode,
    tries: u32,
    try_timeout: Option<Duration>,
    /// Share of the requests that may be repeated, and how many in a second besides.
    budget: (f32, u32),
}

/// What a failed request does next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Fast,
    Try,
    Over,
    Backup(Delay),
}

/// How long a request waits before it is sent a second time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Delay {
    Fixed(Duration),
    Percentile95,
}

impl Failure {
    /// The first failure is the answer. The default.
    #[must_use]
    pub fn failfast() -> Self {
        Self::new(Mode::Fast, 1)
    }

    /// The same endpoint again, after a pause of 10 to 20 ms that doubles each time. Another endpoint
    /// if that one takes no requests any more. 3 tries.
    #[must_use]
    pub fn failtry() -> Self {
        Self::new(Mode::Try, 3)
    }

    /// Another endpoint at once, without those already tried. If none is left, all of them again after
    /// a pause. If all are unreachable then, the pause counts as a try. 3 tries.
    #[must_use]
    pub fn failover() -> Self {
        Self::new(Mode::Over, 3)
    }

    /// As [`Failure::failover`], and another endpoint too if there is no answer after `delay`. The
    /// first good answer counts, and the others are cancelled. 2 tries. A delay of 0 sends all at once.
    ///
    /// Only idempotent requests whose content is complete are sent while another try goes on.
    #[must_use]
    pub fn failbackup(delay: Duration) -> Self {
        Self::new(Mode::Backup(Delay::Fixed(delay)), 2)
    }

    /// As [`Failure::failbackup`], with a delay that about one request in twenty exceeds: the 95th
    /// percentile of the latest 256 answers. There is no hedging before the first 20 answers.
    #[must_use]
    pub fn failbackup_p95() -> Self {
        Self::new(Mode::Backup(Delay::Percentile95), 2)
    }

    /// Most tries of a request, the first included. 0 means 1.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// How long one try may take, within the deadline of the request. After that it counts as failed,
    /// and an idempotent request is sent to another endpoint. Default: no limit.
    ///
    /// Unlike a hedge, it gives up the try that is late. It is not sent to the endpoint.
    #[must_use]
    pub fn try_timeout(mut self, limit: Duration) -> Self {
        self.try_timeout = Some(limit);
        self
    }

    /// How many requests may be sent again: a share of all requests of the last 10 s, 0.0 to 1000.0,
    /// plus a number per second. Default 0.2 and 10, as in tower. A share beyond its
    /// range becomes the nearest limit.
    ///
    /// Without a budget, retries would add load to endpoints that fail because they are overloaded.
    #[must_use]
    pub fn budget(mut self, share: f32, per_second: u32) -> Self {
        let share = if share.is_nan() { 0.0 } else { share };
        self.budget = (share.clamp(0.0, 1000.0), per_second.min(MAX_PER_SECOND));
        self
    }

    /// Whether requests may be sent more than once.
    #[must_use]
    pub fn sends_again(&self) -> bool {
        self.tries > 1 && self.mode != Mode::Fast
    }

    fn new(mode: Mode, tries: u32) -> Self {
        Self {
            mode,
            tries,
            try_timeout: None,
            budget: (0.2, 10),
        }
    }

    /// How the tries of this configuration are made.
    pub(super) fn build(&self, seed: Option<u64>) -> Tries {
        let (share, per_second) = self.budget;
        let rng = HasherRng::with_hasher(seed.map_or_else(Seeded::random, Seeded));
        Tries {
            mode: self.mode,
            most: self.tries,
            try_timeout: self.try_timeout,
            budget: TpsBudget::new(BUDGET_WINDOW, per_second, share),
            backoff: ExponentialBackoffMaker::new(SHORTEST_PAUSE, LONGEST_PAUSE, 1.0, rng).ok(),
            latencies: Latencies::default(),
        }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Self::failfast()
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("mode", &self.mode)
            .field("tries", &self.tries)
            .field("try_timeout", &self.try_timeout)
            .field("budget", &self.budget)
            .finish()
    }
}

type Rng = HasherRng<Seeded>;

/// The state that the requests of a balancer share.
pub(super) struct Tries {
    mode: Mode,
    most: u32,
    pub(super) try_timeout: Option<Duration>,
    budget: TpsBudget,
    /// `None` never happens: the limits are constants in the right order.
    backoff: Option<ExponentialBackoffMaker<Rng>>,
    pub(super) latencies: Latencies,
}

impl Tries {
    /// Whether requests may be sent more than once at all.
    pub(super) fn repeat(&self) -> bool {
        self.most > 1 && self.mode != Mode::Fast
    }

    /// How long to wait for an answer before another try, when hedging.
    fn hedge_after(&self) -> Option<Duration> {
        match self.mode {
            Mode::Backup(Delay::Fixed(delay)) => Some(delay),
            Mode::Backup(Delay::Percentile95) => self.latencies.percentile_95(),
            _ => None,
        }
    }

    fn backoff(&self) -> Option<ExponentialBackoff<Rng>> {
        self.backoff.clone().map(|mut it| it.make_backoff())
    }

    fn withdraw(&self) -> bool {
        self.budget.withdraw()
    }

    fn deposit(&self) {
        self.budget.deposit();
    }
}

/// The verdict on the outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A successful answer.
    Success,
    /// An error that any endpoint would return: the request itself is wrong.
    Rejected,
    /// A failure before the request was processed: no connection, or a stream that the endpoint
    /// refused. It is safe to send any request again.
    Unsent,
    /// A failure after which it is unknown whether the request was processed.
    Failed,
    /// The endpoint is overloaded. An idempotent request is sent to another one, never to the same one
    /// again.
    Overloaded,
    /// No answer in time. There is no time for another try, but the endpoint counts as failing.
    Late,
}

impl Verdict {
    /// Whether the verdict counts against the endpoint.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::Unsent | Self::Failed | Self::Late)
    }
}

/// A request that can be sent several times.
pub trait Attempts<R>: Send + 'static {
    /// The request for the next try, with the time that is left; `None` if it cannot be sent again. The
    /// first try always gets one.
    ///
    /// `concurrent` means that another try still goes on. It is called within the tracing span of the
    /// try.
    fn next(&mut self, left: Option<Duration>, concurrent: bool) -> Option<R>;
}

/// [`Attempts`] for requests that can be cloned.
#[derive(Clone, Debug)]
pub struct Cloned<R>(pub R);

impl<R: Clone + Send + 'static> Attempts<R> for Cloned<R> {
    fn next(&mut self, _left: Option<Duration>, _concurrent: bool) -> Option<R> {
        Some(self.0.clone())
    }
}

/// tower counts the budget over up to 60 s; ten are its default.
const BUDGET_WINDOW: Duration = Duration::from_secs(10);

/// tower's own limit is 2^31.
const MAX_PER_SECOND: u32 = 1_000_000;

/// Long enough for a server that restarts a listener, and short beside any deadline.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);
