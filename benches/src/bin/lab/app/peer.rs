//! The hidden subcommands for a server and a client, each a process in its namespace.
//!
//! Both print lines of JSON and exit when standard input is closed. So they cannot outlive the lab, and the lab can
//! read their CPU time after their work. The Go peers behave the same.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::task::{JoinHandle, JoinSet};

use crate::app::subjects::settings::Settings;
use crate::app::subjects::{self, Connection, Dialer, Ready};
use crate::app::workloads::calls;
use crate::app::workloads::plan::{Kind, Measured, Plan};
use crate::app::workloads::upload::{self, Arrived, Upload};
use kcp_benches::clock;

/// Options of a server.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    #[arg(long)]
    side: String,
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long, default_value = "")]
    settings: String,
}

/// Options of a client.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArgs {
    #[arg(long)]
    side: String,
    /// The [`Ready`] line that the server printed.
    #[arg(long)]
    server: String,
    #[arg(long, default_value = "")]
    settings: String,
    /// A [`Plan`] in JSON.
    #[arg(long)]
    plan: String,
}

/// A line that a client prints.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub(crate) enum Event {
    /// The client is connected and starts its plan.
    Start,
    /// The client has completed its plan.
    Done(Measured),
    /// The client failed.
    Failed { error: String },
}

/// Serves until standard input is closed.
pub(crate) async fn serve(args: &ServerArgs) -> io::Result<()> {
    let settings = Settings(args.settings.clone());
    let serving = subjects::serve(&args.side, args.listen, &settings, |ready| print(&ready));
    tokio::select! {
        served = serving => served,
        () = stdin_closed() => Ok(()),
    }
}

/// Executes the plan, and waits until standard input is closed.
pub(crate) async fn run(args: &ClientArgs) -> io::Result<()> {
    let event = match execute(args).await {
        Ok(measured) => Event::Done(measured),
        Err(error) => Event::Failed {
            error: error.to_string(),
        },
    };
    print(&event)?;
    stdin_closed().await;
    Ok(())
}

async fn execute(args: &ClientArgs) -> io::Result<Measured> {
    let plan: Plan = serde_json::from_str(&args.plan)?;
    let server: Ready = serde_json::from_str(&args.server)?;
    let settings = Settings(args.settings.clone());
    let dialer = Dialer::new(&args.side, &server, &settings)?;
    if plan.kind == Kind::First {
        print(&Event::Start)?;
        let start = clock::now();
        let latencies = calls::first(&plan, Arc::new(dialer)).await?;
        return Ok(call_results(&plan, latencies, start));
    }
    let mut connections = Vec::new();
    for _ in 0..plan.connections {
        connections.push(dialer.dial().await?);
    }
    if plan.kind == Kind::Bulk {
        print(&Event::Start)?;
        return uploads(&plan, connections).await;
    }
    let beside = if plan.bulk_beside {
        Some(dialer.dial().await?)
    } else {
        None
    };
    print(&Event::Start)?;
    let start = clock::now();
    let upload = match beside {
        Some(connection) => Some(Beside::start(&plan, connection, start)?),
        None => None,
    };
    let latencies = match plan.kind {
        Kind::Open => calls::open(&plan, connections).await?,
        _ => calls::closed(&plan, connections).await?,
    };
    let mut measured = call_results(&plan, latencies, start);
    if let Some(upload) = upload {
        add_uploads(&mut measured, start, &[upload.end().await?]);
    }
    Ok(measured)
}

/// An upload that runs concurrently with calls.
struct Beside {
    stop: Arc<AtomicBool>,
    task: JoinHandle<io::Result<Arrived>>,
}

impl Beside {
    fn start(plan: &Plan, connection: Connection, starts: Duration) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let upload = Upload {
            bytes: None,
            starts,
            ends: starts + Duration::from_millis(plan.limit_ms),
            stop: Arc::clone(&stop),
        };
        let task = tokio::spawn(upload::run(upload, connection.into_bytes()?));
        Ok(Self { stop, task })
    }

    async fn end(self) -> io::Result<Arrived> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.map_err(io::Error::other)?
    }
}

fn call_results(plan: &Plan, latencies_us: Vec<u64>, start: Duration) -> Measured {
    let calls = latencies_us.len() as u64;
    Measured {
        cut_short: calls < plan.calls.into(),
        useful_bytes: calls * u64::from(plan.request + plan.answer),
        seconds: (clock::now() - start).as_secs_f64(),
        started: start.as_secs_f64(),
        latencies_us,
        ..Measured::default()
    }
}

async fn uploads(plan: &Plan, connections: Vec<Connection>) -> io::Result<Measured> {
    let start = clock::now();
    let ends = start + Duration::from_millis(plan.limit_ms);
    let mut tasks = JoinSet::new();
    for (index, connection) in (0_u32..).zip(connections) {
        let stream = connection.into_bytes()?;
        let upload = Upload {
            bytes: (plan.bytes > 0).then_some(plan.bytes),
            starts: start + Duration::from_millis(plan.stagger_ms) * index,
            ends,
            stop: Arc::default(),
        };
        tasks.spawn(async move {
            upload::run(upload, stream)
                .await
                .map(|arrived| (index, arrived))
        });
    }
    let mut arrived = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        arrived.push(ended.map_err(io::Error::other)??);
    }
    arrived.sort_by_key(|(index, _)| *index);
    let arrived: Vec<_> = arrived.into_iter().map(|(_, arrived)| arrived).collect();
    let mut measured = Measured {
        started: start.as_secs_f64(),
        cut_short: plan.bytes > 0 && arrived.iter().any(|arrived| !arrived.is_complete),
        ..Measured::default()
    };
    add_uploads(&mut measured, start, &arrived);
    Ok(measured)
}

fn add_uploads(measured: &mut Measured, start: Duration, arrived: &[Arrived]) {
    let bytes: u64 = arrived.iter().map(|arrived| arrived.bytes).sum();
    let last = arrived.iter().map(|arrived| arrived.last).max();
    let seconds = last.unwrap_or(start).saturating_sub(start).as_secs_f64();
    measured.useful_bytes += bytes;
    measured.seconds = measured.seconds.max(seconds);
    measured.mbit_s = (seconds > 0.0).then(|| bytes as f64 * 8.0 / 1e6 / seconds);
    measured.flows = arrived.iter().map(|arrived| arrived.bins.clone()).collect();
}

fn print(value: &impl Serialize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()
}

async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut buffer = [0; 64];
    while let Ok(1..) = stdin.read(&mut buffer).await {}
}
