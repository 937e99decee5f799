//! The tries of one request.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep};
use tower::retry::backoff::Backoff;
use tower_service::Service;
use tracing::field::Empty;
use tracing::{Instrument, Span, debug_span};

use super::{Attempts, Mode, Verdict};
use crate::balance::error::BalanceError;
use crate::balance::member::Member;
use crate::balance::protocol::{Key, Protocol};
use crate::balance::sync::now;
use crate::balance::{Answer, Shared};

/// One request, with all its tries.
pub(in crate::balance) struct Run<P: Protocol> {
    shared: Arc<Shared<P>>,
    attempts: P::Attempts,
    key: Option<Key>,
    idempotent: bool,
    deadline: Option<Instant>,
    /// Endpoints that are left out.
    tried: Vec<u64>,
    tries: u32,
    flying: FuturesUnordered<Flight<P>>,
}

type Flight<P> = Pin<Box<dyn Future<Output = Landed<P>> + Send>>;

/// A try that is over.
struct Landed<P: Protocol> {
    member: Arc<Member<P>>,
    answer: Answer<P>,
    verdict: Verdict,
}

impl<P: Protocol> Run<P> {
    pub(in crate::balance) fn new(shared: Arc<Shared<P>>, request: P::Request) -> Self {
        let protocol = &shared.protocol;
        let limit = protocol.time_limit(&request);
        let key = protocol.key(&request);
        let idempotent = shared.tries.repeat() && protocol.idempotent(&request);
        let attempts = protocol.attempts(request);
        shared.tries.deposit();
        shared.counts.request();
        Self {
            attempts,
            key,
            idempotent,
            deadline: limit.map(|limit| now() + limit),
            tried: Vec::new(),
            tries: 0,
            flying: FuturesUnordered::new(),
            shared,
        }
    }

    /// Tries until there is an answer, no try is left, or the deadline has passed.
    ///
    /// Dropping the future cancels all tries.
    pub(in crate::balance) async fn answer(mut self) -> Answer<P> {
        let shared = Arc::clone(&self.shared);
        let Some(deadline) = self.deadline else {
            return self.tries().await;
        };
        match tokio::time::timeout_at(deadline, self.tries()).await {
            Ok(answer) => answer,
            Err(_) => {
                self.flying_are_late();
                let tries = self.tries;
                Err(shared.protocol.refuse(BalanceError::Deadline { tries }))
            }
        }
    }

    async fn tries(&mut self) -> Answer<P> {
        self.shared.set.answered().await;
        self.start(None)?;
        let mut backoff = self.shared.tries.backoff();
        loop {
            let hedge_after = self.hedge_after();
            let landed = tokio::select! {
                biased;
                Some(landed) = self.flying.next() => landed,
                () = hedge(hedge_after) => {
                    self.start_another();
                    continue;
                }
            };
            let good = matches!(landed.verdict, Verdict::Success | Verdict::Rejected);
            let failed = (&landed.member, landed.verdict);
            if good || !self.try_again(failed, &mut backoff).await && self.flying.is_empty() {
                return landed.answer;
            }
        }
    }

    /// Starts the try that follows a failed one, if there may be one.
    async fn try_again(
        &mut self,
        (member, verdict): (&Arc<Member<P>>, Verdict),
        backoff: &mut Option<impl Backoff>,
    ) -> bool {
        let same = self.shared.tries.mode == Mode::Try && verdict != Verdict::Overloaded;
        let again = |run: &Self| same && run.shared.takes_requests(member);
        loop {
            let none_left = !again(self) && !self.shared.has_choice(&self.tried);
            if none_left && !self.flying.is_empty() || !self.may_repeat(verdict) {
                return false;
            }
            if none_left {
                self.tried.clear();
            }
            if let Some(backoff) = backoff
                && (same || none_left)
            {
                backoff.next_backoff().await;
            }
            let again = again(self).then_some(member);
            if again.is_some() || self.shared.has_choice(&self.tried) {
                return self.start(again).is_ok();
            }
            // All endpoints are unreachable or ejected. The pause counts as a try.
            self.tries += 1;
        }
    }

    /// Whether a failure with this verdict leads to another try. That is then withdrawn from the budget.
    fn may_repeat(&self, verdict: Verdict) -> bool {
        let safe = match verdict {
            Verdict::Unsent => true,
            Verdict::Failed | Verdict::Overloaded => self.idempotent,
            Verdict::Success | Verdict::Rejected | Verdict::Late => false,
        };
        let tries = &self.shared.tries;
        safe && tries.repeat() && self.tries < tries.most && tries.withdraw()
    }

    /// How long to wait before another try, if there may be one beside those that go on.
    fn hedge_after(&self) -> Option<Duration> {
        let tries = &self.shared.tries;
        let may = self.idempotent && !self.flying.is_empty() && self.tries < tries.most;
        tries.hedge_after().filter(|_| may)
    }

    /// Starts a try beside others, if that is possible; otherwise there are no more tries.
    fn start_another(&mut self) {
        let may = self.shared.has_choice(&self.tried) && self.shared.tries.withdraw();
        if !may || self.start(None).is_err() {
            self.tries = self.shared.tries.most;
        }
    }

    /// Starts a try, on a given endpoint if that is still usable.
    fn start(&mut self, again: Option<&Arc<Member<P>>>) -> Result<(), P::Error> {
        let refuse = |reason| self.shared.protocol.refuse(reason);
        let member = match again.filter(|it| self.shared.takes_requests(it)) {
            Some(member) => Arc::clone(member),
            None => {
                let selected = self.shared.select(self.key, &self.tried);
                selected.map_err(|reason| {
                    if self.tries == 0 {
                        self.shared.counts.refused();
                    }
                    refuse(reason)
                })?
            }
        };
        let left = self.deadline.map(|at| at.saturating_duration_since(now()));
        let concurrent = !self.flying.is_empty();
        let address = &member.core.address;
        let verdict = Empty;
        let span = debug_span!("try", endpoint = %address, number = self.tries + 1, verdict);
        // Within the span, so that its context can be sent with the request.
        let request = span.in_scope(|| self.attempts.next(left, concurrent));
        let Some(request) = request else {
            return Err(refuse(BalanceError::NotRepeatable));
        };
        self.tried.push(member.core.track.id);
        self.tries += 1;
        if self.tries > 1 {
            self.shared.counts.another(concurrent);
        }
        let flight = fly(Arc::clone(&self.shared), member, request, self.idempotent);
        let flight = flight.instrument(span);
        self.flying.push(Box::pin(flight));
        Ok(())
    }

    /// Counts the deadline as a failure of the endpoints that did not answer.
    fn flying_are_late(&self) {
        // All but the latest have been judged.
        let late = self.tried.iter().rev().take(self.flying.len());
        for id in late {
            self.shared.judge(*id, Verdict::Late);
        }
    }
}

/// Waits for the time of a hedge, or for ever.
async fn hedge(after: Option<Duration>) {
    match after {
        Some(after) => sleep(after).await,
        None => pending().await,
    }
}

/// The answer of a try, unless it takes longer than the limit.
async fn in_time<T>(limit: Option<Duration>, answer: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, answer).await.ok(),
        None => Some(answer.await),
    }
}

/// One try.
async fn fly<P: Protocol>(
    shared: Arc<Shared<P>>,
    member: Arc<Member<P>>,
    request: P::Request,
    idempotent: bool,
) -> Landed<P> {
    let start = now();
    let protocol = &shared.protocol;
    let (mut service, guard) = member.core.connection(shared.pool);
    let answer = async {
        poll_fn(|cx| service.poll_ready(cx)).await?;
        let response = service.call(request).await?;
        if idempotent {
            return protocol.complete(response).await;
        }
        Ok(response)
    };
    let (answer, verdict) = match in_time(shared.tries.try_timeout, answer).await {
        Some(answer) => {
            let verdict = protocol.judge(&answer);
            member.core.track.counts.answered(protocol.code(&answer));
            (answer, verdict)
        }
        None => (
            Err(protocol.refuse(BalanceError::TryTimeout)),
            Verdict::Failed,
        ),
    };
    if verdict == Verdict::Success {
        let latency = now() - start;
        shared.tries.latencies.record(latency);
        member.core.track.counts.took(latency);
    }
    Span::current().record("verdict", tracing::field::debug(verdict));
    member.core.track.judge(&shared.ejection, verdict, start);
    let answer = answer.map(|response| protocol.track(response, guard));
    Landed {
        member,
        answer,
        verdict,
    }
}
