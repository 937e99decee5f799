//! Health checks of one server: `Watch` of `grpc.health.v1`.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::retry::backoff::{Backoff, ExponentialBackoff, ExponentialBackoffMaker, MakeBackoff};
use tracing::debug;

use super::connection::Connection;
use crate::channel::status::status_of;

/// A task that watches a server, until this is dropped.
#[derive(Debug)]
pub(super) struct Watching {
    health: Arc<Health>,
    /// The connection of the watch, until calls use it too.
    connection: Mutex<Option<Connection>>,
    task: AbortHandle,
}

/// Why the server gets no calls.
#[derive(Debug, Default)]
struct Health(Mutex<Option<String>>);

impl Watching {
    /// Watches a service; the empty name stands for the server as a whole.
    pub(super) fn start(connection: Connection, service: &str) -> Self {
        let health = Arc::<Health>::default();
        let client = HealthClient::new(connection.clone());
        let watch = watch(client, service.to_owned(), Arc::clone(&health));
        Self {
            health,
            connection: Mutex::new(Some(connection)),
            task: tokio::spawn(watch).abort_handle(),
        }
    }

    pub(super) fn take_connection(&self) -> Option<Connection> {
        lock(&self.connection).take()
    }

    pub(super) fn problem(&self) -> Option<String> {
        lock(&self.health.0).clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Health {
    fn set(&self, service: &str, problem: Option<String>) {
        let mut current = lock(&self.0);
        if *current != problem {
            debug!(service, ?problem, "health has changed");
            *current = problem;
        }
    }
}

async fn watch(mut client: HealthClient<Connection>, service: String, health: Arc<Health>) {
    let mut pauses = Pauses::default();
    loop {
        let request = HealthCheckRequest {
            service: service.clone(),
        };
        let ended = match client.watch(request).await {
            Ok(reports) => {
                let on_report = |problem| {
                    pauses = Pauses::default();
                    health.set(&service, problem);
                };
                follow(reports.into_inner(), on_report).await
            }
            Err(status) => Some(status),
        };
        let Some(status) = ended else { continue };
        let (problem, pause) = match status_of(Box::new(status)) {
            // The server does not check its health.
            status if status.code() == Code::Unimplemented => (None, sleep(WITHOUT_HEALTH)),
            // There is no connection, and what the next one reports is not known.
            status if status.code() == Code::Unavailable => (None, pauses.next()),
            status => {
                let (code, message) = (status.code(), status.message());
                let problem = format!("its health check failed: {code:?}: {message}");
                (Some(problem), pauses.next())
            }
        };
        health.set(&service, problem);
        pause.await;
    }
}

/// Passes reports on, until the watch fails, or is to be made anew.
async fn follow(
    mut reports: Streaming<HealthCheckResponse>,
    mut on_report: impl FnMut(Option<String>),
) -> Option<Status> {
    let mut end = pin!(sleep(LONGEST_WATCH));
    loop {
        let report = tokio::select! {
            report = reports.message() => report,
            () = &mut end => return None,
        };
        match report {
            Ok(Some(report)) => on_report(problem_of(report.status())),
            Ok(None) => return Some(Status::unavailable("the server ended the watch")),
            Err(status) => return Some(status),
        }
    }
}

fn problem_of(status: ServingStatus) -> Option<String> {
    match status {
        ServingStatus::Serving => None,
        other => Some(format!("it reports {}", other.as_str_name())),
    }
}

/// The pauses between failed watches.
struct Pauses(Option<ExponentialBackoff>);

impl Default for Pauses {
    fn default() -> Self {
        let rng = tower::util::rng::HasherRng::default();
        // The limits are constants in the right order.
        let maker = ExponentialBackoffMaker::new(FIRST, LONGEST, JITTER, rng);
        Self(maker.ok().map(|mut it| it.make_backoff()))
    }
}

impl Pauses {
    fn next(&mut self) -> Sleep {
        match &mut self.0 {
            Some(backoff) => backoff.next_backoff(),
            None => sleep(LONGEST),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FIRST: Duration = Duration::from_millis(100);

const LONGEST: Duration = Duration::from_secs(10);

/// Clients that lost a server at the same time watch it again at different times.
const JITTER: f64 = 0.5;

/// A stream that the client does not end would hold up a server that drains its connections, up to its
/// drain time-out. Ten seconds are a third of the default one.
const LONGEST_WATCH: Duration = Duration::from_secs(10);

/// A server without a health service may be replaced by one that has it.
const WITHOUT_HEALTH: Duration = Duration::from_secs(60);
