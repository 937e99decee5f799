//! One request to all endpoints of a set.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::select::Dice;
use super::{Balance, BalanceError, Endpoint, Protocol, Set, Shared};

/// The result of a call to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt<R> {
    /// The endpoint, as it was described when the call began.
    pub endpoint: Endpoint,
    /// The answer, the error, or either of them.
    pub result: R,
}

impl<P: Protocol> Balance<P> {
    /// A balancer for each single endpoint of the set that is active and has a weight, with the same
    /// connections. Waits for the first report of discovery. Later changes of the set have no effect on
    /// them.
    ///
    /// # Errors
    ///
    /// [`BalanceError::Empty`], or [`BalanceError::NoneAvailable`] if all are inactive or without
    /// weight. Unreachable and unhealthy endpoints are included; their requests fail.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn each(&self) -> Result<Vec<(Endpoint, Self)>, BalanceError> {
        let shared = &self.shared;
        shared.set.answered().await;
        let members = shared.set.members();
        let used = members.iter().filter(|it| it.endpoint.takes_requests());
        let single = used.map(|member| {
            let set = Set::new();
            set.replace(vec![Arc::clone(member)]);
            let shared = Shared {
                protocol: Arc::clone(&shared.protocol),
                set: Arc::new(set),
                select: Arc::clone(&shared.select),
                pool: shared.pool,
                tries: Arc::clone(&shared.tries),
                ejection: shared.ejection,
                dice: Dice::new(None),
                counts: Arc::default(),
                discovery: None,
            };
            let shared = Arc::new(shared);
            (member.endpoint.clone(), Self { shared })
        });
        let single: Vec<_> = single.collect();
        if single.is_empty() {
            return Err(shared.set.none(&members));
        }
        Ok(single)
    }
}

/// Waits for all calls and returns the result of each, in the order in which they ended.
///
/// # Cancel safety
///
/// Dropping the future cancels the calls that have not ended.
pub async fn inform<T, E, F>(
    calls: impl IntoIterator<Item = (Endpoint, F)>,
) -> Vec<Receipt<Result<T, E>>>
where
    F: Future<Output = Result<T, E>>,
{
    start(calls).collect().await
}

/// Waits until all calls have succeeded and returns their answers in the order in which they ended.
///
/// # Errors
///
/// The first error. The calls that have not ended are cancelled; others may have been processed.
///
/// # Cancel safety
///
/// As [`inform`].
pub async fn broadcast<T, E, F>(
    calls: impl IntoIterator<Item = (Endpoint, F)>,
) -> Result<Vec<Receipt<T>>, Receipt<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut calls = start(calls);
    let mut answers = Vec::new();
    while let Some(ended) = calls.next().await {
        answers.push(ended.split()?);
    }
    Ok(answers)
}

/// Waits until one of the calls has succeeded, and cancels the others.
///
/// # Errors
///
/// All errors, in the order in which they occurred, if none of the calls has succeeded.
///
/// # Cancel safety
///
/// As [`inform`].
pub async fn fork<T, E, F>(
    calls: impl IntoIterator<Item = (Endpoint, F)>,
) -> Result<Receipt<T>, Vec<Receipt<E>>>
where
    F: Future<Output = Result<T, E>>,
{
    let mut calls = start(calls);
    let mut errors = Vec::new();
    while let Some(ended) = calls.next().await {
        match ended.split() {
            Ok(answer) => return Ok(answer),
            Err(error) => errors.push(error),
        }
    }
    Err(errors)
}

fn start<R, F: Future<Output = R>>(
    calls: impl IntoIterator<Item = (Endpoint, F)>,
) -> FuturesUnordered<impl Future<Output = Receipt<R>>> {
    let calls = calls.into_iter().map(|(endpoint, call)| async {
        let result = call.await;
        Receipt { endpoint, result }
    });
    calls.collect()
}

impl<T, E> Receipt<Result<T, E>> {
    fn split(self) -> Result<Receipt<T>, Receipt<E>> {
        let endpoint = self.endpoint;
        match self.result {
            Ok(result) => Ok(Receipt { endpoint, result }),
            Err(result) => Err(Receipt { endpoint, result }),
        }
    }
}
