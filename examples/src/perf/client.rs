//! The client: opens the connections, runs the test on all of them, and reads the meters at intervals.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kcp_transport::KcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::echo;
use super::error::TestError;
use super::exchange::{CLOSE_LIMIT, Exchange, IDLE_LIMIT};
use super::meter::Meter;
use super::readings::{Interval, Readings};
use super::samples::Samples;
use super::wire::{self, Kind, Limit, Request, Side};
use crate::address::HostPort;
use crate::options::Transport;
use crate::stop::Stop;

/// A test.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub server: HostPort,
    /// Cipher and options of the connections.
    pub transport: Transport,
    /// What is requested of the server, on each connection.
    pub request: Request,
    /// Time between two readings of the meters; zero for none.
    pub interval: Duration,
}

/// A connection of the test.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Its number, from 1.
    pub id: u32,
    /// Time from the first packet until the server had accepted the test.
    pub connect: Duration,
    /// Counts the data.
    pub meter: Arc<Meter>,
    /// Counts the messages of [`Kind::Echo`].
    pub samples: Arc<Samples>,
}

/// The end of a test.
#[derive(Debug)]
pub struct Outcome {
    /// The first error.
    pub error: Option<TestError>,
    /// Whether a stop was requested.
    pub interrupted: bool,
}

/// Opens the connections of the plan, at the same time.
///
/// # Errors
///
/// The first error of a connection.
///
/// # Cancel safety
///
/// Dropping the future closes the connections.
pub async fn connect(plan: &Plan) -> Result<Vec<(Connection, KcpStream)>, TestError> {
    let mut opening = JoinSet::new();
    for id in 1..=plan.request.connections {
        opening.spawn(open(plan.clone(), id));
    }
    let mut connections = Vec::new();
    while let Some(opened) = opening.join_next().await {
        connections.push(opened.map_err(io::Error::other)??);
    }
    connections.sort_unstable_by_key(|(connection, _)| connection.id);
    Ok(connections)
}

async fn open(plan: Plan, id: u32) -> Result<(Connection, KcpStream), TestError> {
    let Transport { security, config } = &plan.transport;
    let start = Instant::now();
    let builder = KcpStream::builder(security).config(config);
    let connecting = builder.connect(plan.server.as_str()).await;
    let mut stream = connecting.map_err(TestError::Connect)?;
    wire::request(&mut stream, &plan.request).await?;
    let connection = Connection {
        id,
        connect: start.elapsed(),
        meter: Arc::new(Meter::new(stream.info())),
        samples: Arc::new(Samples::new(plan.request.omit)),
    };
    Ok((connection, stream))
}

/// Runs the test, and calls `on_interval` with each reading until that fails.
///
/// After a stop is requested, the connections have two seconds to end.
///
/// # Errors
///
/// The error of `on_interval`. Errors of the test are in the outcome.
///
/// # Cancel safety
///
/// Dropping the future ends the test.
pub async fn run<E>(
    plan: &Plan,
    connections: Vec<(Connection, KcpStream)>,
    stop: &Stop,
    mut on_interval: impl FnMut(Interval) -> Result<(), E>,
) -> Result<Outcome, E> {
    let mut tests = JoinSet::new();
    let mut readings = Readings::new(Instant::now(), plan.interval, &plan.request, Side::Client);
    for (connection, stream) in connections {
        let samples = Arc::clone(&connection.samples);
        let samples = (plan.request.kind == Kind::Echo).then_some(samples);
        readings.add(connection.id.into(), Arc::clone(&connection.meter), samples);
        tests.spawn(test(plan.request.clone(), connection, stream, stop.clone()));
    }
    let mut outcome = Outcome {
        error: None,
        interrupted: false,
    };
    let mut give_up = None;
    loop {
        tokio::select! {
            biased;
            ended = tests.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    outcome.error = Some(error);
                    break;
                }
                Some(Err(panic)) => {
                    outcome.error = Some(io::Error::other(panic).into());
                    break;
                }
            },
            () = stop.requested(), if give_up.is_none() => {
                give_up = Some(Instant::now() + CLOSE_LIMIT);
            }
            () = reached(give_up) => break,
            () = reached(readings.next()) => on_interval(readings.take())?,
        }
    }
    // The tests may have ended because of the stop before this function saw it.
    outcome.interrupted = stop.is_requested();
    if let Some(last) = readings.last() {
        on_interval(last)?;
    }
    Ok(outcome)
}

async fn test(
    request: Request,
    connection: Connection,
    stream: KcpStream,
    stop: Stop,
) -> Result<(), TestError> {
    let meter = Arc::clone(&connection.meter);
    if request.kind == Kind::Echo {
        let client = echo::Client {
            count: messages(&request),
            request,
            patience: IDLE_LIMIT,
            meter: Arc::clone(&meter),
            samples: connection.samples,
            stop,
        };
        client.run(stream.into_messages(), |_, _| {}).await?;
    } else {
        let exchange = Exchange {
            side: Side::Client,
            request,
            meter: Arc::clone(&meter),
            stop,
        };
        exchange.run(stream).await?;
    }
    if meter.peer_stopped() {
        return Err(TestError::ServerStopped);
    }
    Ok(())
}

/// The number of messages of a request.
#[must_use]
pub fn messages(request: &Request) -> u64 {
    match request.limit {
        Limit::Time(time) => {
            let time = (time + request.omit).as_nanos();
            let count = time.div_ceil(request.interval.as_nanos().max(1));
            u64::try_from(count).unwrap_or(u64::MAX)
        }
        Limit::Bytes(bytes) => bytes.div_ceil(request.length.max(1) as u64),
        Limit::Unlimited => u64::MAX,
    }
}

async fn reached(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
