//! Requests to servers in memory, in tokio's paused time.

mod failure;
mod reconnect;
mod set;

use std::collections::BTreeMap;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tower::ServiceExt;
use tower_service::Service;

use super::sync::lock;
use super::{
    Balance, BalanceBuilder, BalanceError, Cloned, Endpoint, Key, Origin, Protocol, RequestGuard,
    Verdict,
};
use crate::BoxError;

/// What the servers of a test do, by address.
#[derive(Clone, Default)]
pub(super) struct Servers {
    by_address: Arc<Mutex<BTreeMap<String, Server>>>,
}

/// One server.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    pub(super) delay: Duration,
    /// Of its answers; `None` for success.
    pub(super) verdict: Option<Verdict>,
    pub(super) unreachable: Option<String>,
    pub(super) unhealthy: Option<String>,
    pub(super) saturated: bool,
    pub(super) connections: usize,
    pub(super) requests: usize,
}

impl Servers {
    pub(super) fn set(&self, address: &str, change: impl FnOnce(&mut Server)) {
        change(
            lock(&self.by_address)
                .entry(address.to_owned())
                .or_default(),
        );
    }

    pub(super) fn get(&self, address: &str) -> Server {
        let servers = lock(&self.by_address);
        servers.get(address).cloned().unwrap_or_default()
    }

    pub(super) fn builder(&self) -> BalanceBuilder<Memory> {
        Balance::builder(Memory {
            servers: self.clone(),
        })
    }
}

pub(super) struct Memory {
    servers: Servers,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ask {
    pub(super) key: Option<Key>,
    pub(super) idempotent: bool,
    pub(super) limit: Option<Duration>,
}

/// The answer has the address of the server and holds the request open.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) address: String,
    pub(super) verdict: Verdict,
    #[allow(dead_code, reason = "used by being dropped")]
    pub(super) guard: Option<RequestGuard>,
}

impl Protocol for Memory {
    type Request = Ask;
    type Response = Answer;
    type Error = BalanceError;
    type Origin = MemoryOrigin;
    type Attempts = Cloned<Ask>;

    fn origin(&self, endpoint: &Endpoint) -> Result<MemoryOrigin, BoxError> {
        if endpoint.uri().scheme_str() == Some("bad") {
            return Err("no such scheme".into());
        }
        Ok(MemoryOrigin {
            address: endpoint.address(),
            servers: self.servers.clone(),
        })
    }

    fn refuse(&self, reason: BalanceError) -> BalanceError {
        reason
    }

    fn key(&self, ask: &Ask) -> Option<Key> {
        ask.key
    }

    fn attempts(&self, ask: Ask) -> Cloned<Ask> {
        Cloned(ask)
    }

    fn judge(&self, answer: &Result<Answer, BalanceError>) -> Verdict {
        match answer {
            Ok(answer) => answer.verdict,
            Err(_) => Verdict::Failed,
        }
    }

    fn code(&self, answer: &Result<Answer, BalanceError>) -> Option<u8> {
        let verdict = answer.as_ref().ok()?.verdict;
        Some(if verdict == Verdict::Success { 0 } else { 7 })
    }

    fn idempotent(&self, ask: &Ask) -> bool {
        ask.idempotent
    }

    fn time_limit(&self, ask: &Ask) -> Option<Duration> {
        ask.limit
    }

    fn track(&self, mut answer: Answer, guard: RequestGuard) -> Answer {
        answer.guard = Some(guard);
        answer
    }
}

#[derive(Clone)]
pub(super) struct MemoryOrigin {
    address: String,
    servers: Servers,
}

impl Origin<Memory> for MemoryOrigin {
    type Service = MemoryOrigin;

    fn connection(&self) -> MemoryOrigin {
        self.servers.set(&self.address, |it| it.connections += 1);
        self.clone()
    }

    fn unreachable(&self) -> Option<String> {
        self.servers.get(&self.address).unreachable
    }

    fn unhealthy(&self) -> Option<String> {
        self.servers.get(&self.address).unhealthy
    }

    fn saturated(&self) -> bool {
        self.servers.get(&self.address).saturated
    }
}

impl Service<Ask> for MemoryOrigin {
    type Response = Answer;
    type Error = BalanceError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BalanceError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BalanceError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _ask: Ask) -> Self::Future {
        self.servers.set(&self.address, |it| it.requests += 1);
        let address = self.address.clone();
        let Server { delay, verdict, .. } = self.servers.get(&address);
        let answer = Answer {
            address,
            verdict: verdict.unwrap_or(Verdict::Success),
            guard: None,
        };
        if delay.is_zero() {
            return Box::pin(ready(Ok(answer)));
        }
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            Ok(answer)
        })
    }
}

pub(super) fn endpoints<const N: usize>(addresses: [&str; N]) -> Vec<Endpoint> {
    addresses.map(endpoint).to_vec()
}

pub(super) fn endpoint(address: &str) -> Endpoint {
    Endpoint::parse(format!("kcp://{address}")).expect("is a URI")
}

/// The address that answered.
pub(super) async fn ask(balance: &Balance<Memory>) -> Result<String, BalanceError> {
    hold(balance, None).await.map(|answer| answer.address)
}

/// The answer, which holds the request open.
pub(super) async fn hold(
    balance: &Balance<Memory>,
    key: Option<Key>,
) -> Result<Answer, BalanceError> {
    let ask = Ask {
        key,
        ..Ask::default()
    };
    balance.clone().oneshot(ask).await
}
