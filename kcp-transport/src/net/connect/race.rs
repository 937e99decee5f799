//! Trying several addresses of one host, with a head start for each.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime;

use crate::error::ConnectAttempt;

use super::within::within;

/// Runs `attempt` for one address after the other and returns the first connection; the others are
/// dropped.
///
/// The next attempt starts when one has failed, or [`HEAD_START`] after the one before, which goes
/// on (RFC 8305, section 5). `attempt` has to end by itself.
///
/// # Errors
///
/// Every attempt failed: all of them, in the order in which they ended.
///
/// # Cancel safety
///
/// Dropping the future drops the attempts.
pub(super) async fn race<T, F>(
    runtime: &runtime::Handle,
    addresses: impl IntoIterator<Item = SocketAddr>,
    mut attempt: impl FnMut(SocketAddr) -> F,
) -> Result<T, Vec<ConnectAttempt>>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting: VecDeque<_> = addresses.into_iter().collect();
    let mut running = Vec::new();
    let mut failed = Vec::new();
    loop {
        if let Some(addr) = waiting.pop_front() {
            running.push((addr, Box::pin(attempt(addr))));
        }
        if running.is_empty() {
            return Err(failed);
        }
        let ended = if waiting.is_empty() {
            Some(first_to_end(&mut running).await)
        } else {
            within(runtime, HEAD_START, first_to_end(&mut running)).await
        };
        match ended {
            Some((_, Ok(connection))) => return Ok(connection),
            Some((addr, Err(error))) => {
                tracing::debug!(peer = %addr, %error, "no connection to this address");
                failed.push(ConnectAttempt::new(addr, error));
            }
            None => {}
        }
    }
}

/// Waits until one of the attempts ends, and takes it out.
async fn first_to_end<T, F>(
    running: &mut Vec<(SocketAddr, Pin<Box<F>>)>,
) -> (SocketAddr, io::Result<T>)
where
    F: Future<Output = io::Result<T>>,
{
    poll_fn(|cx| {
        for (index, (addr, attempt)) in running.iter_mut().enumerate() {
            if let Poll::Ready(ended) = attempt.as_mut().poll(cx) {
                let addr = *addr;
                drop(running.remove(index));
                return Poll::Ready((addr, ended));
            }
        }
        Poll::Pending
    })
    .await
}

/// How long an attempt has the network to itself: the Connection Attempt Delay that RFC 8305
/// recommends in section 5.
const HEAD_START: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::sleep;

    use super::*;
    use crate::net::io::Clock;
    use crate::time::Time;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn hosts(count: u8) -> impl Iterator<Item = SocketAddr> {
        (1..=count).map(|host| ([10, 0, 0, host], 9).into())
    }

    /// What a host does: answers or refuses after some time.
    type Script = &'static [(u64, bool)];

    /// Races hosts that follow a script. Returns the outcome, when it was known, and when each
    /// attempt began.
    async fn run(script: Script) -> (Result<SocketAddr, Vec<ConnectAttempt>>, Time, Vec<Time>) {
        let clock = Clock::start();
        let began = RefCell::new(Vec::new());
        let count = u8::try_from(script.len()).unwrap();
        let runtime = runtime::Handle::current();
        let outcome = race(&runtime, hosts(count), |addr| {
            let (after, answers) = script[began.borrow().len()];
            began.borrow_mut().push(clock.now());
            async move {
                sleep(ms(after)).await;
                if answers {
                    Ok(addr)
                } else {
                    Err(io::ErrorKind::ConnectionRefused.into())
                }
            }
        })
        .await;
        (outcome, clock.now(), began.into_inner())
    }

    fn at(millis: &[u64]) -> Vec<Time> {
        millis.iter().map(|&it| Time::from_millis(it)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn silent_first_address_costs_its_head_start() {
        let (won, took, began) = run(&[(10_000, false), (50, true)]).await;
        assert_eq!(won.unwrap(), hosts(2).nth(1).unwrap());
        assert_eq!(began, at(&[0, 250]));
        assert!(took <= Time::from_millis(301), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_starts_the_next_attempt_at_once() {
        let (won, _, began) = run(&[(10, false), (20, true)]).await;
        assert!(won.is_ok());
        assert!(began[1] <= Time::from_millis(12), "{began:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_first_address_still_wins_over_a_slower_second() {
        let (won, took, began) = run(&[(400, true), (400, true)]).await;
        assert_eq!(won.unwrap(), hosts(1).next().unwrap());
        assert_eq!(began.len(), 2);
        assert!(took <= Time::from_millis(402), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_kept_in_the_order_of_their_ends() {
        let (lost, ..) = run(&[(600, false), (10, false), (700, false)]).await;
        let hosts: Vec<_> = hosts(3).collect();
        let tried: Vec<_> = lost.unwrap_err().iter().map(ConnectAttempt::addr).collect();
        assert_eq!(tried, [hosts[1], hosts[0], hosts[2]]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_to_try_is_a_failure() {
        let (lost, ..) = run(&[]).await;
        assert!(lost.unwrap_err().is_empty());
    }
}
