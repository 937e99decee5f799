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
use super::figures::Figures;
use super::meter::{Direction, Meter, Point};
use super::samples::{Sample, Samples};
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

/// What was counted between two readings.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Seconds since the beginning, or since the end of the omitted time.
    pub start: f64,
    /// As `start`.
    pub end: f64,
    /// Whether the interval is in the omitted time.
    pub omitted: bool,
    /// One row for each connection and direction.
    pub streams: Vec<StreamRow>,
    /// One row for each connection, if the server sends messages back.
    pub messages: Vec<MessageRow>,
}

/// The data of a connection in an interval.
#[derive(Clone, Copy, Debug)]
pub struct StreamRow {
    /// The number of the connection.
    pub id: u32,
    /// The direction.
    pub direction: Direction,
    /// What the client has counted.
    pub figures: Figures,
}

/// The messages of a connection in an interval.
#[derive(Clone, Debug)]
pub struct MessageRow {
    /// The number of the connection.
    pub id: u32,
    /// Messages sent.
    pub sent: u64,
    /// Messages that came back.
    pub samples: Vec<Sample>,
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
    let mut readings = Readings::new(plan, &connections);
    for (connection, stream) in connections {
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

/// Readings of all meters.
struct Readings {
    interval: Duration,
    omit: Duration,
    kind: Kind,
    begin: Instant,
    /// The time of the last reading.
    from: Duration,
    connections: Vec<(Connection, Reading)>,
    taken: bool,
}

/// The last reading of a connection.
#[derive(Clone, Copy, Default)]
struct Reading {
    point: Point,
    sent: u64,
    answered: usize,
}

impl Readings {
    fn new(plan: &Plan, connections: &[(Connection, KcpStream)]) -> Self {
        let with_reading = |(connection, _): &(Connection, KcpStream)| {
            let point = connection.meter.point();
            let reading = Reading {
                point,
                ..Reading::default()
            };
            (connection.clone(), reading)
        };
        Self {
            interval: plan.interval,
            omit: plan.request.omit,
            kind: plan.request.kind,
            begin: Instant::now(),
            from: Duration::ZERO,
            connections: connections.iter().map(with_reading).collect(),
            taken: false,
        }
    }

    /// When the next reading is due.
    fn next(&self) -> Option<Instant> {
        (!self.interval.is_zero()).then(|| self.begin + self.end())
    }

    /// The end of the current interval.
    fn end(&self) -> Duration {
        if self.from < self.omit {
            (self.from + self.interval).min(self.omit)
        } else {
            self.from + self.interval
        }
    }

    fn take(&mut self) -> Interval {
        self.read(self.end())
    }

    /// The part of an interval at the end, unless it is very short.
    fn last(&mut self) -> Option<Interval> {
        if self.interval.is_zero() {
            return None;
        }
        let ends: Option<Vec<Duration>> = self
            .connections
            .iter()
            .map(|(connection, _)| connection.meter.ended())
            .collect();
        let end = ends.and_then(|ends| ends.into_iter().max());
        let now = end.unwrap_or_else(|| self.begin.elapsed());
        let shortest = if self.taken {
            self.interval / 10
        } else {
            Duration::ZERO
        };
        (now > self.from + shortest).then(|| self.read(now))
    }

    fn read(&mut self, end: Duration) -> Interval {
        let omitted = self.from < self.omit;
        let zero = if omitted { Duration::ZERO } else { self.omit };
        let mut interval = Interval {
            start: self.from.saturating_sub(zero).as_secs_f64(),
            end: end.saturating_sub(zero).as_secs_f64(),
            omitted,
            ..Interval::default()
        };
        for (connection, reading) in &mut self.connections {
            let point = connection.meter.point();
            for direction in Direction::BOTH {
                let side = match direction {
                    Direction::Sent => Side::Client,
                    Direction::Received => Side::Server,
                };
                if self.kind.sends(side) {
                    interval.streams.push(StreamRow {
                        id: connection.id,
                        direction,
                        figures: point.since(&reading.point, direction),
                    });
                }
            }
            reading.point = point;
            if self.kind == Kind::Echo {
                let (sent, _) = connection.samples.counts();
                let samples = connection.samples.from(reading.answered);
                let row = MessageRow {
                    id: connection.id,
                    sent: sent - reading.sent,
                    samples,
                };
                reading.sent = sent;
                reading.answered += row.samples.len();
                interval.messages.push(row);
            }
        }
        self.from = end;
        self.taken = true;
        interval
    }
}
