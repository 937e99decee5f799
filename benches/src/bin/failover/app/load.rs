//! Calls at a steady rate.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::{Code, Status};

use super::Error;
use super::servers::{SERVERS, Servers};

/// Calls at a steady rate while servers are killed in turn, if `kills`. Returns cells of the table.
pub(super) async fn load<F>(
    quick: bool,
    mut servers: Servers,
    kills: bool,
    call: impl Fn() -> F,
) -> Result<String, Error>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let length = Duration::from_secs(if quick { 10 } else { 60 });
    // Connections are made before the measurement.
    for _ in 0..4 * SERVERS {
        let _ = call().await;
    }
    let (report, mut reports) = mpsc::unbounded_channel();
    let start = now();
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(CALLS_PER_SECOND)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut next_kill = start + KILL_EVERY;
    let mut restart = None;
    let mut turn = 0;
    while now() - start < length {
        ticks.tick().await;
        let (report, call, began) = (report.clone(), call(), now());
        tokio::spawn(async move {
            let result = call.await;
            let _ = report.send((now() - began, result.err().map(|it| it.code())));
        });
        if kills && now() >= next_kill {
            next_kill += KILL_EVERY;
            turn = (turn + 1) % SERVERS;
            servers.kill(turn).await?;
            restart = Some(now() + AWAY);
        }
        if restart.is_some_and(|at| now() >= at) {
            restart = None;
            servers.restart(turn).await?;
        }
    }
    drop(report);
    let mut outcome = Outcome::default();
    while let Some((latency, error)) = reports.recv().await {
        outcome.latencies.push(latency);
        if let Some(code) = error {
            outcome.failed.entry(code as i32).or_insert((code, 0)).1 += 1;
        }
    }
    Ok(outcome.cells())
}

/// How the calls ended.
#[derive(Default)]
struct Outcome {
    latencies: Vec<Duration>,
    failed: BTreeMap<i32, (Code, u64)>,
}

impl Outcome {
    fn cells(mut self) -> String {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        let at = |share: f64| {
            let latency = self.latencies.get((last as f64 * share) as usize);
            latency.map_or(0.0, |it| it.as_secs_f64() * 1e3)
        };
        let failures: u64 = self.failed.values().map(|(_, count)| count).sum();
        let codes = self.failed.values();
        let codes: Vec<_> = codes.map(|(code, n)| format!("{code:?} {n}")).collect();
        let codes = match codes.is_empty() {
            true => String::new(),
            false => format!(" ({})", codes.join(", ")),
        };
        format!(
            "| {failures} of {}{codes} | {:.1} | {:.1} | {:.1} |",
            self.latencies.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        )
    }
}

#[allow(clippy::disallowed_methods, reason = "a measurement of time")]
fn now() -> Instant {
    Instant::now()
}

const CALLS_PER_SECOND: u64 = 200;

const KILL_EVERY: Duration = Duration::from_secs(2);

/// How long a killed server is away.
const AWAY: Duration = Duration::from_secs(1);
