//! One call to all servers of a channel.

use kcp_tower::balance::{self, BalanceError, Endpoint, Receipt};
use tonic::Status;

use super::{KcpChannel, Route};

/// Calls to all servers. `call` makes the call over a channel to one of them:
///
/// ```no_run
/// # mod helloworld {
/// #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generated/helloworld.rs"));
/// # }
/// # use helloworld::{HelloRequest, greeter_client::GreeterClient};
/// # async fn run(channel: kcp_tonic::KcpChannel) -> Result<(), tonic::Status> {
/// let request = HelloRequest { name: "world".into() };
/// let receipts = channel
///     .inform(|one| {
///         let request = request.clone();
///         async move { GreeterClient::new(one).say_hello(request).await }
///     })
///     .await?;
/// for receipt in receipts {
///     println!("{}: {:?}", receipt.endpoint.uri(), receipt.result);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Inactive servers and those of weight 0 are left out. A call is limited only by its own timeout.
/// Retries of the channel's [`Failure`](crate::Failure) go to the same server.
impl KcpChannel {
    /// Calls all servers and returns the result of each, in the order in which they ended.
    ///
    /// # Errors
    ///
    /// [`FanOutError::Set`] if there is no server.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the calls that have not ended. Others may have been processed.
    pub async fn inform<T, F>(
        &self,
        call: impl Fn(KcpChannel) -> F,
    ) -> Result<Vec<Receipt<Result<T, Status>>>, FanOutError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        Ok(balance::inform(self.each(call).await?).await)
    }

    /// Calls all servers and returns their answers when all have succeeded.
    ///
    /// # Errors
    ///
    /// - [`FanOutError::Set`] if there is no server.
    /// - [`FanOutError::Calls`] with the first error. The calls that have not ended are cancelled;
    ///   others may have been processed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the calls that have not ended. Others may have been processed.
    pub async fn broadcast<T, F>(
        &self,
        call: impl Fn(KcpChannel) -> F,
    ) -> Result<Vec<Receipt<T>>, FanOutError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let answers = balance::broadcast(self.each(call).await?).await;
        answers.map_err(|error| FanOutError::Calls(vec![error]))
    }

    /// Calls all servers, returns the first successful answer, and cancels the other calls.
    ///
    /// # Errors
    ///
    /// - [`FanOutError::Set`] if there is no server.
    /// - [`FanOutError::Calls`] with all errors if no call has succeeded.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the calls that have not ended. Others may have been processed.
    pub async fn fork<T, F>(
        &self,
        call: impl Fn(KcpChannel) -> F,
    ) -> Result<Receipt<T>, FanOutError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let answer = balance::fork(self.each(call).await?).await;
        answer.map_err(FanOutError::Calls)
    }

    async fn each<F>(
        &self,
        call: impl Fn(KcpChannel) -> F,
    ) -> Result<Vec<(Endpoint, F)>, FanOutError> {
        let balance = match &self.route {
            Route::One { to, .. } => {
                let endpoint = Endpoint::new(http::Uri::clone(to));
                return Ok(vec![(endpoint, call(self.clone()))]);
            }
            Route::Set(balance) => balance,
        };
        let each = balance.each().await?.into_iter();
        let calls = each.map(|(endpoint, single)| {
            let one = KcpChannel {
                route: Route::Set(single),
                calls: self.calls.clone(),
            };
            (endpoint, call(one))
        });
        Ok(calls.collect())
    }
}

/// Why a fan-out call has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FanOutError {
    /// There is no server to call.
    #[error(transparent)]
    Set(#[from] BalanceError),
    /// The errors of servers, at least one.
    #[error("{}", describe(.0))]
    Calls(Vec<Receipt<Status>>),
}

fn describe(errors: &[Receipt<Status>]) -> String {
    let one = |it: &Receipt<Status>| format!("{}: {}", it.endpoint.uri(), it.result.message());
    errors.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The code is that of the first error; `Unavailable` if there is no server.
impl From<FanOutError> for Status {
    fn from(error: FanOutError) -> Self {
        let code = match &error {
            FanOutError::Calls(errors) => errors.first().map(|it| it.result.code()),
            FanOutError::Set(_) => None,
        };
        let code = code.unwrap_or(tonic::Code::Unavailable);
        Self::new(code, error.to_string())
    }
}
