//! Calls: closed loop, open loop, and the first call of a connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{ReadHalf, WriteHalf};
use tokio::task::JoinSet;

use super::frame::{self, Header};
use super::plan::Plan;
use crate::app::clock;
use crate::app::subjects::{BoxStream, Dialer};

/// Time of one call in microseconds, or why there are no more.
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

    /// Calls of each connection; what is left over is made by the first ones.
    fn share(&self, connection: u32) -> u32 {
        let connections = self.connections.max(1);
        self.calls / connections + u32::from(connection < self.calls % connections)
    }
}

/// Makes a call on each stream when the one before is answered.
pub(crate) async fn closed(plan: &Plan, streams: Vec<BoxStream>) -> Latencies {
    let deadline = clock::now() + Duration::from_millis(plan.limit_ms);
    let left = Arc::new(AtomicU32::new(plan.calls));
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        let plan = plan.clone();
        let left = Arc::clone(&left);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut buffer = vec![0; frame::BUFFER];
            let request = frame::request(plan.header());
            while clock::now() < deadline && take_one(&left) {
                let start = clock::now();
                frame::write_pieces(&mut stream, &request, plan.piece).await?;
                frame::skip(&mut stream, plan.answer as usize, &mut buffer).await?;
                latencies.push(micros_since(start));
            }
            Ok(latencies)
        });
    }
    gather(tasks).await
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}

/// Makes calls at fixed times; the connections take turns.
pub(crate) async fn open(plan: &Plan, streams: Vec<BoxStream>) -> Latencies {
    let interval = Duration::from_micros(plan.interval_us);
    let start = clock::now();
    let mut tasks = JoinSet::new();
    for (index, stream) in (0_u32..).zip(streams) {
        let calls = plan.share(index);
        let first = start + interval * index / plan.connections.max(1);
        let due = move |call: u32| first + interval * call;
        let (reader, writer) = tokio::io::split(stream);
        let requests = write_on_time(plan.clone(), writer, calls, due);
        let answer = plan.answer as usize;
        tasks.spawn(async move {
            let (_, latencies) = tokio::try_join!(requests, read_all(reader, answer, calls, due))?;
            Ok(latencies)
        });
    }
    let limit = Duration::from_millis(plan.limit_ms);
    match tokio::time::timeout(limit, gather(tasks)).await {
        Ok(latencies) => latencies,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "calls are still open at the limit",
        )),
    }
}

async fn write_on_time(
    plan: Plan,
    mut writer: WriteHalf<BoxStream>,
    calls: u32,
    due: impl Fn(u32) -> Duration,
) -> io::Result<WriteHalf<BoxStream>> {
    let request = frame::request(plan.header());
    for call in 0..calls {
        tokio::time::sleep(due(call).saturating_sub(clock::now())).await;
        frame::write_pieces(&mut writer, &request, plan.piece).await?;
    }
    // Kept: dropping it would end the connection before the last answers are there.
    Ok(writer)
}

async fn read_all(
    mut reader: ReadHalf<BoxStream>,
    answer: usize,
    calls: u32,
    due: impl Fn(u32) -> Duration,
) -> Latencies {
    let mut buffer = vec![0; frame::BUFFER];
    let mut latencies = Vec::new();
    for call in 0..calls {
        frame::skip(&mut reader, answer, &mut buffer).await?;
        latencies.push(micros_since(due(call)));
    }
    Ok(latencies)
}

/// Connects, makes one call, disconnects, and again.
pub(crate) async fn first(plan: &Plan, dialer: Arc<Dialer>) -> Latencies {
    let deadline = clock::now() + Duration::from_millis(plan.limit_ms);
    let left = Arc::new(AtomicU32::new(plan.calls));
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        let plan = plan.clone();
        let left = Arc::clone(&left);
        let dialer = Arc::clone(&dialer);
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut buffer = vec![0; frame::BUFFER];
            let request = frame::request(plan.header());
            while clock::now() < deadline && take_one(&left) {
                let start = clock::now();
                let mut stream = dialer.dial().await?;
                frame::write_pieces(&mut stream, &request, plan.piece).await?;
                frame::skip(&mut stream, plan.answer as usize, &mut buffer).await?;
                latencies.push(micros_since(start));
            }
            Ok(latencies)
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
