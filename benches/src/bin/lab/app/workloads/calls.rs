//! Call workloads: closed loop, open loop, and the first call of a connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::task::JoinSet;

use super::frame::{self, Header};
use super::plan::Plan;
use crate::app::subjects::rpc::Client;
use crate::app::subjects::{BoxStream, Connection, Dialer};
use kcp_benches::clock;

/// Latencies of calls in microseconds, or the error of a call.
type Latencies = io::Result<Vec<u64>>;

impl Plan {
    fn header(&self) -> Header {
        Header {
            request: self.request,
            answer: self.answer,
            piece: self.piece,
            is_timed: false,
        }
    }

    /// Number of calls of a connection. The first connections make one more if the calls do not divide evenly.
    fn share(&self, connection: u32) -> u32 {
        let connections = self.connections.max(1);
        self.calls / connections + u32::from(connection < self.calls % connections)
    }
}

/// Makes calls on one connection, one at a time.
struct Caller {
    connection: Connection,
    request: Vec<u8>,
    buffer: Vec<u8>,
    plan: Plan,
}

impl Caller {
    fn new(connection: Connection, plan: &Plan) -> Self {
        Self {
            connection,
            request: frame::request(plan.header()),
            buffer: vec![0; frame::BUFFER],
            plan: plan.clone(),
        }
    }

    async fn call(&mut self) -> io::Result<()> {
        let answer = self.plan.answer as usize;
        match &mut self.connection {
            Connection::Bytes(stream) => {
                frame::write_pieces(stream, &self.request, self.plan.piece).await?;
                frame::skip(stream, answer, &mut self.buffer).await
            }
            Connection::Rpc(client) => client.call(self.request.len(), answer).await,
        }
    }
}

/// Number of calls left, and the time after which no call starts.
#[derive(Debug)]
struct Budget {
    left: AtomicU32,
    deadline: Duration,
}

impl Budget {
    fn new(plan: &Plan) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU32::new(plan.calls),
            deadline: clock::now() + Duration::from_millis(plan.limit_ms),
        })
    }

    fn take_one(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        clock::now() < self.deadline
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
                .is_ok()
    }
}

/// Closed loop: each connection makes a call as soon as the previous one is answered.
pub(crate) async fn closed(plan: &Plan, connections: Vec<Connection>) -> Latencies {
    let budget = Budget::new(plan);
    let mut tasks = JoinSet::new();
    for connection in connections {
        let mut caller = Caller::new(connection, plan);
        let budget = Arc::clone(&budget);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while budget.take_one() {
                let start = clock::now();
                caller.call().await?;
                latencies.push(micros_since(start));
            }
            Ok(latencies)
        });
    }
    gather(tasks).await
}

/// Repeatedly connects, makes one call and disconnects.
pub(crate) async fn first(plan: &Plan, dialer: Arc<Dialer>) -> Latencies {
    let budget = Budget::new(plan);
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        let plan = plan.clone();
        let budget = Arc::clone(&budget);
        let dialer = Arc::clone(&dialer);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while budget.take_one() {
                let start = clock::now();
                let mut caller = Caller::new(dialer.dial().await?, &plan);
                caller.call().await?;
                latencies.push(micros_since(start));
            }
            Ok(latencies)
        });
    }
    gather(tasks).await
}

/// Open loop: makes calls at fixed times, on the connections in turn.
///
/// On a byte stream, answers arrive in the order of the requests, so that a late answer delays the next.
pub(crate) async fn open(plan: &Plan, connections: Vec<Connection>) -> Latencies {
    let interval = Duration::from_micros(plan.interval_us);
    let start = clock::now();
    let mut tasks = JoinSet::new();
    for (index, connection) in (0_u32..).zip(connections) {
        let first = start + interval * index / plan.connections.max(1);
        let schedule = Schedule {
            first,
            interval,
            calls: plan.share(index),
        };
        match connection {
            Connection::Bytes(stream) => {
                tasks.spawn(pipelined(plan.clone(), stream, schedule));
            }
            Connection::Rpc(client) => {
                tasks.spawn(concurrent(plan.clone(), client, schedule));
            }
        }
    }
    let limit = Duration::from_millis(plan.limit_ms);
    match tokio::time::timeout(limit, gather(tasks)).await {
        Ok(latencies) => latencies,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "not all calls were answered within the time limit",
        )),
    }
}

/// Times at which the calls of a connection are due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    first: Duration,
    interval: Duration,
    calls: u32,
}

impl Schedule {
    fn due(&self) -> impl Iterator<Item = Duration> {
        let Self {
            first, interval, ..
        } = *self;
        (0..self.calls).map(move |call| first + interval * call)
    }
}

async fn pipelined(plan: Plan, stream: BoxStream, schedule: Schedule) -> Latencies {
    let (reader, writer) = tokio::io::split(stream);
    let answer = plan.answer as usize;
    // The writer is kept until the end, because dropping it would end the connection before the last answer.
    let (_writer, latencies) = tokio::try_join!(
        write_on_time(plan, writer, schedule),
        read_all(reader, answer, schedule)
    )?;
    Ok(latencies)
}

async fn write_on_time(
    plan: Plan,
    mut writer: WriteHalf<BoxStream>,
    schedule: Schedule,
) -> io::Result<WriteHalf<BoxStream>> {
    let request = frame::request(plan.header());
    for due in schedule.due() {
        tokio::time::sleep(due.saturating_sub(clock::now())).await;
        frame::write_pieces(&mut writer, &request, plan.piece).await?;
    }
    Ok(writer)
}

async fn read_all(mut reader: ReadHalf<BoxStream>, answer: usize, schedule: Schedule) -> Latencies {
    let mut buffer = vec![0; frame::BUFFER];
    let mut latencies = Vec::new();
    for due in schedule.due() {
        frame::skip(&mut reader, answer, &mut buffer).await?;
        latencies.push(micros_since(due));
    }
    Ok(latencies)
}

/// Makes gRPC calls concurrently, each when it is due.
async fn concurrent(plan: Plan, client: Client, schedule: Schedule) -> Latencies {
    let mut tasks = JoinSet::new();
    for due in schedule.due() {
        tokio::time::sleep(due.saturating_sub(clock::now())).await;
        let mut client = client.clone();
        let (request, answer) = (plan.request as usize, plan.answer as usize);
        tasks.spawn(async move {
            client.call(request, answer).await?;
            Ok(vec![micros_since(due)])
        });
    }
    gather(tasks).await
}

async fn gather(mut tasks: JoinSet<Latencies>) -> Latencies {
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended.map_err(io::Error::other)??);
    }
    Ok(all)
}

fn micros_since(start: Duration) -> u64 {
    clock::now().saturating_sub(start).as_micros() as u64
}
