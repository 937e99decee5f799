//! When a connection has to end.

use std::future::pending;
use std::time::Duration;

use kcp_transport::ConversationId;

use super::{ConnectionLimits, OpenRequests};

/// The end of one connection by [`ConnectionLimits`], for servers that run connections themselves.
///
/// Time begins with [`Expiry::new`].
#[doc(hidden)]
#[derive(Debug)]
pub struct Expiry {
    age: Option<Duration>,
    grace: Option<Duration>,
    idle: Option<Duration>,
    requests: OpenRequests,
}

impl Expiry {
    #[must_use]
    pub fn new(limits: &ConnectionLimits, conversation: ConversationId) -> Self {
        let idle = limits.max_idle;
        Self {
            age: limits.max_age.map(|age| spread(age, conversation)),
            grace: limits.age_grace,
            idle,
            requests: OpenRequests::new(idle.is_some()),
        }
    }

    /// Where the requests of the connection are counted.
    #[must_use]
    pub fn requests(&self) -> &OpenRequests {
        &self.requests
    }

    /// Completes when the connection has to end in good order.
    ///
    /// To be called when the connection is accepted.
    pub fn due(&self) -> impl Future<Output = ()> + Send + use<> {
        let age = sleep_for(self.age);
        let idle = self.requests.clone().idle_for(self.idle);
        async {
            tokio::select! {
                () = age => {}
                () = idle => {}
            }
        }
    }

    /// Completes when the connection has to be closed whatever is in progress.
    ///
    /// To be called when the connection is accepted.
    pub fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let whole = self.age.zip(self.grace);
        sleep_for(whole.map(|(age, grace)| age.saturating_add(grace)))
    }
}

/// Sleeps from now on; forever without a time.
fn sleep_for(time: Option<Duration>) -> impl Future<Output = ()> + Send {
    let sleep = time.map(tokio::time::sleep);
    async {
        match sleep {
            Some(sleep) => sleep.await,
            None => pending().await,
        }
    }
}

/// The age with up to a tenth added or taken away.
///
/// grpc-go (keepalive.ServerParameters) does the same with random numbers; conversation ids are
/// random enough.
fn spread(age: Duration, conversation: ConversationId) -> Duration {
    // Fibonacci hashing, for ids that are counted up.
    let hash = conversation.get().wrapping_mul(0x9e37_79b9);
    let share = f64::from(hash) / f64::from(u32::MAX);
    age.mul_f64(0.9 + share / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_differ_by_a_tenth_at_most() {
        let age = Duration::from_secs(100);
        let ages: Vec<_> = (0..1000)
            .map(|id| spread(age, ConversationId::new(id)).as_secs())
            .collect();
        assert!(ages.iter().all(|age| (90..=110).contains(age)));
        for bucket in [90..95, 95..100, 100..105, 105..110] {
            let hits = ages.iter().filter(|age| bucket.contains(*age)).count();
            assert!((200..300).contains(&hits), "{bucket:?}: {hits}");
        }
    }
}
