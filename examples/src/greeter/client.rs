//! The greeter client: makes calls, times them and checks the replies.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use kcp_tonic::KcpChannel;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::proto::HelloRequest;
use super::proto::greeter_client::GreeterClient;
use super::{Connections, GreeterError};
use crate::address::HostPort;
use crate::options::Transport;
use crate::report::one_line;
use crate::stop::Stop;

/// Opens a channel to a greeter. Each connection of the channel, after a reconnect too, is added to
/// `connections`.
///
/// # Errors
///
/// If the server does not answer.
pub async fn open(
    server: &HostPort,
    transport: &Transport,
    connections: &Connections,
) -> Result<KcpChannel, GreeterError> {
    let connections = connections.clone();
    let channel = KcpChannel::builder(&transport.security)
        .config(&transport.config)
        .connector(|it| it.on_connect(move |made| connections.add(made.clone().into())))
        .connect(format!("kcp://{server}"))
        .await?;
    Ok(channel)
}

/// The calls to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of unary calls.
    pub calls: usize,
    /// Maximum number of unary calls in flight.
    pub workers: usize,
    /// Advances by one with each unary call.
    pub progress: ProgressBar,
    /// Ends the calls early when requested.
    pub stop: Stop,
}

/// Results of the calls.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Latency of each unary call with a correct reply.
    pub latencies: Vec<Duration>,
    /// Unary calls made.
    pub calls: usize,
    /// Calls, streams included, that failed or had a wrong reply.
    pub errors: usize,
    /// The first error.
    pub first_error: Option<String>,
    /// Result of the server-streaming call.
    pub server_stream: StreamOutcome,
    /// Result of the bidirectional call.
    pub bidi_stream: StreamOutcome,
}

/// Result of a streaming call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StreamOutcome {
    /// The number of replies, all as expected.
    Replies(usize),
    /// The server has no such method, like the greeters of gRPC's older examples.
    NotOffered,
    /// The call failed, and counts as an error.
    Failed,
    /// The call was not made, because there were too many errors before.
    #[default]
    NotTried,
}

impl std::fmt::Display for StreamOutcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Replies(replies) => write!(f, "{replies} replies"),
            Self::NotOffered => f.write_str("not offered by the server"),
            Self::Failed => f.write_str("failed"),
            Self::NotTried => f.write_str("not tried"),
        }
    }
}

/// Makes the unary calls of the plan, one server-streaming call and one bidirectional call, and checks
/// every reply.
///
/// A worker stops after [`MAX_ERRORS`] errors. The streaming calls are skipped if all workers together
/// had as many. When the plan's stop is requested, calls in progress are dropped and not counted.
pub async fn drive(channel: KcpChannel, plan: Plan) -> Outcome {
    let record = Record::default();
    let stop = plan.stop.clone();
    tokio::select! {
        () = all_calls(channel, plan, &record) => {}
        () = stop.requested() => {}
    }
    std::mem::take(&mut *record.lock())
}

async fn all_calls(channel: KcpChannel, plan: Plan, record: &Record) {
    let client = GreeterClient::new(channel);
    unary_calls(&client, plan, record).await;
    if record.lock().errors < MAX_ERRORS {
        let ended = server_stream(client.clone()).await;
        record.lock().on_server_stream(ended);
        let ended = bidi_stream(client).await;
        record.lock().on_bidi_stream(ended);
    }
}

/// The results so far, to which all workers add.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Outcome>>);

impl Record {
    fn lock(&self) -> MutexGuard<'_, Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcome {
    fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    fn stream_ended(&mut self, which: &str, ended: Result<usize, Status>) -> StreamOutcome {
        match ended {
            Ok(replies) => StreamOutcome::Replies(replies),
            Err(status) if status.code() == Code::Unimplemented => StreamOutcome::NotOffered,
            Err(status) => {
                self.failed(format!("{which}: {}", explain(&status)));
                StreamOutcome::Failed
            }
        }
    }

    fn on_server_stream(&mut self, ended: Result<usize, Status>) {
        self.server_stream = self.stream_ended("server stream", ended);
    }

    fn on_bidi_stream(&mut self, ended: Result<usize, Status>) {
        self.bidi_stream = self.stream_ended("bidirectional stream", ended);
    }
}

async fn unary_calls(client: &GreeterClient<KcpChannel>, plan: Plan, record: &Record) {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..plan.workers.min(plan.calls) {
        let (client, plan) = (client.clone(), plan.clone());
        workers.spawn(worker(client, plan, Arc::clone(&next), record.clone()));
    }
    while let Some(worked) = workers.join_next().await {
        if let Err(error) = worked {
            record.lock().failed(error.to_string());
        }
    }
    plan.progress.finish_and_clear();
}

async fn worker(
    mut client: GreeterClient<KcpChannel>,
    plan: Plan,
    next: Arc<AtomicUsize>,
    record: Record,
) {
    let mut errors = 0;
    while errors < MAX_ERRORS {
        let call = next.fetch_add(1, Ordering::Relaxed);
        if call >= plan.calls {
            break;
        }
        let name = format!("caller {call}");
        let start = Instant::now();
        let replied = client.say_hello(request(&name)).await;
        let latency = start.elapsed();
        let checked = replied.and_then(|reply| check(&name, &reply.into_inner().message));
        let mut outcome = record.lock();
        outcome.calls += 1;
        match checked {
            Ok(()) => outcome.latencies.push(latency),
            Err(status) => {
                errors += 1;
                outcome.failed(format!("call {call}: {}", explain(&status)));
            }
        }
        drop(outcome);
        plan.progress.inc(1);
    }
}

async fn server_stream(mut client: GreeterClient<KcpChannel>) -> Result<usize, Status> {
    let name = "stream";
    let replies = client.say_hello_stream_reply(request(name)).await?;
    let mut replies = replies.into_inner();
    let mut count = 0;
    while let Some(reply) = replies.message().await? {
        // The number of replies and their wording differ between servers; the name is always in them.
        if !reply.message.contains(name) {
            return Err(unexpected(name, &reply.message));
        }
        count += 1;
    }
    if count == 0 {
        return Err(Status::data_loss("the stream ended without a reply"));
    }
    Ok(count)
}

/// Sends names one at a time, and waits for the greeting of each.
async fn bidi_stream(mut client: GreeterClient<KcpChannel>) -> Result<usize, Status> {
    let (requests, outgoing) = mpsc::channel(1);
    let name = |index| format!("guest {index}");
    // Some servers send no response headers before they have the first message.
    let gone = |_| Status::unavailable("the stream ended early");
    requests.try_send(request(&name(0))).map_err(|_| gone(()))?;
    let replies = client.say_hello_bidi_stream(ReceiverStream::new(outgoing));
    let mut replies = replies.await?.into_inner();
    for index in 0..BIDI_MESSAGES {
        if index > 0 {
            let request = request(&name(index));
            requests.send(request).await.map_err(|_| gone(()))?;
        }
        let reply = replies.message().await?.ok_or_else(|| gone(()))?;
        check(&name(index), &reply.message)?;
    }
    drop(requests);
    match replies.message().await? {
        None => Ok(BIDI_MESSAGES),
        Some(reply) => Err(Status::data_loss(format!(
            "unexpected reply after the last request: {:?}",
            reply.message
        ))),
    }
}

fn request(name: &str) -> HelloRequest {
    HelloRequest {
        name: name.to_owned(),
    }
}

fn check(name: &str, message: &str) -> Result<(), Status> {
    if message.strip_prefix("Hello ") == Some(name) {
        Ok(())
    } else {
        Err(unexpected(name, message))
    }
}

fn unexpected(name: &str, message: &str) -> Status {
    Status::data_loss(format!("the reply to {name:?} is {message:?}"))
}

/// Code, message and causes of a status, whose own `Display` prints the cause in `Debug` form.
fn explain(status: &Status) -> String {
    let mut text = format!("{}: {}", status.code(), status.message());
    if let Some(cause) = status.source() {
        text = format!("{text}: {}", one_line(cause));
    }
    text
}

/// Errors after which a worker stops: so many failures mean that the server is gone.
pub const MAX_ERRORS: usize = 5;

/// Messages in each direction of the bidirectional stream.
const BIDI_MESSAGES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanation_shows_causes_in_display_form() {
        let cause = std::io::Error::new(std::io::ErrorKind::TimedOut, "peer is silent");
        let mut status = Status::unavailable("connection lost");
        status.set_source(Arc::new(cause));
        let text = explain(&status);
        assert!(
            text.ends_with(": connection lost: peer is silent"),
            "{text}"
        );
    }

    #[test]
    fn reply_must_greet_the_requested_name() {
        assert!(check("Ann", "Hello Ann").is_ok());
        for message in ["Hello Bob", "Hello Ann ", "Ann", ""] {
            assert!(check("Ann", message).is_err(), "{message}");
        }
    }
}
