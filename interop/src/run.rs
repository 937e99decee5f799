//! Runs cases.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kcp_examples::relay::Relay;
use kcp_transport::net::{KcpListener, KcpStream};
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::case::{Case, Direction, ECHO_BYTES, Payload};
use crate::process::{GoServer, run_client};
use crate::report::{Cell, Verdict};
use crate::{Failure, echo, grpc};

/// What all cases have in common.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The Go peers; see [`go::build`](crate::go::build).
    pub program: &'a Path,
    /// What luck depends on: that of the relays, and the bytes sent.
    pub seed: u64,
    /// Cases that run at a time, at least 1.
    pub jobs: usize,
}

/// Runs cases, and hands each result to `done` when it is there; returns them in the cases' order.
pub async fn run_all(
    cases: &[Case],
    plan: Plan<'static>,
    mut done: impl FnMut(&Cell),
) -> Vec<Cell> {
    let places = Arc::new(Semaphore::new(plan.jobs.max(1)));
    let mut running = JoinSet::new();
    for (index, case) in cases.iter().copied().enumerate() {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire().await.expect("nobody closes the semaphore");
            (index, run(case, plan).await)
        });
    }
    let mut cells: Vec<Option<Cell>> = vec![None; cases.len()];
    while let Some(ended) = running.join_next().await {
        let (index, cell) = ended.expect("`run` catches panics");
        done(&cell);
        cells[index] = Some(cell);
    }
    cells.into_iter().flatten().collect()
}

/// Runs one case, on ports of its own. Whatever happens, nothing of it is left behind.
pub async fn run(case: Case, plan: Plan<'static>) -> Cell {
    let start = Instant::now();
    // A task of its own, so that a panic fails the case; the set ends the task with this future.
    let mut task = JoinSet::new();
    task.spawn(attempt(case, plan));
    let joined = tokio::time::timeout(LIMIT, task.join_next()).await;
    let result = match joined {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err(panic))) => Err(Failure::Panic(panic)),
        Ok(None) | Err(_) => Err(Failure::TimeLimit(LIMIT)),
    };
    // What the case had started is gone before the next one begins.
    task.shutdown().await;
    let verdict = match result {
        Ok(()) => Verdict::Pass,
        Err(failure @ Failure::Unsupported(_)) => Verdict::Unsupported(failure.reason()),
        Err(failure) => Verdict::Fail(failure.reason()),
    };
    Cell {
        case,
        verdict,
        elapsed: start.elapsed(),
    }
}

async fn attempt(case: Case, plan: Plan<'_>) -> Result<(), Failure> {
    match (case.payload, case.direction) {
        (Payload::Echo, Direction::RustToGo) => echo_to_go(&case, plan).await,
        (Payload::Echo, Direction::GoToRust) => echo_to_rust(&case, plan).await,
        (Payload::Grpc(kind), Direction::RustToGo) => {
            let server = GoServer::start(plan.program, &case.go_args("grpc-server")).await?;
            let path = Line::to(server.addr(), &case, plan.seed)?;
            grpc::call(&case, path.addr, kind).await?;
            Ok(server.kill().await?)
        }
        (Payload::Grpc(kind), Direction::GoToRust) => {
            let (addr, _serving) = grpc::serve(&case).await?;
            let path = Line::to(addr, &case, plan.seed)?;
            let mut args = case.go_args("grpc-client");
            args.extend(["--connect", &path.addr.to_string()].map(str::to_owned));
            args.extend(["--kinds", kind.name()].map(str::to_owned));
            args.extend(["--timeout", &LIMIT.as_secs().to_string()].map(str::to_owned));
            let report: grpc::Report = run_client(plan.program, &args).await?;
            report.check(kind)
        }
    }
}

async fn echo_to_go(case: &Case, plan: Plan<'_>) -> Result<(), Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let server = GoServer::start(plan.program, &case.go_args("echo-server")).await?;
    let path = Line::to(server.addr(), case, plan.seed)?;
    let stream = KcpStream::connect_with(path.addr, &security, &config)
        .await
        .map_err(Failure::stream("connecting"))?;
    let info = stream.info();
    echo::exchange(stream, case.seed(plan.seed), ECHO_BYTES).await?;
    echo::check_fec(case, &info.stats())?;
    Ok(server.kill().await?)
}

async fn echo_to_rust(case: &Case, plan: Plan<'_>) -> Result<(), Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let listener = KcpListener::bind_with(LOOPBACK, &security, &config)
        .await
        .map_err(Failure::Setup)?;
    let path = Line::to(
        listener.local_addr().map_err(Failure::Setup)?,
        case,
        plan.seed,
    )?;
    let (accepted, connection) = oneshot::channel();
    let mut serving = JoinSet::new();
    serving.spawn(async move { echo::serve_one(&listener, accepted).await });

    // The Go client takes its seed as 64 bits; so does the case.
    let seed = case.seed(plan.seed);
    let mut args = case.go_args("echo-client");
    for (name, value) in [
        ("--connect", path.addr.to_string()),
        ("--bytes", ECHO_BYTES.to_string()),
        ("--message", echo::MESSAGE.to_string()),
        ("--seed", seed.to_string()),
        ("--timeout", LIMIT.as_secs().to_string()),
    ] {
        args.extend([name.to_owned(), value]);
    }
    let report: EchoReport = run_client(plan.program, &args).await?;
    if !report.ok {
        return Err(Failure::Wrong(report.error));
    }
    echo::compare(
        &echo::sha256(&echo::bytes(seed, ECHO_BYTES)),
        &report.sha256,
    )?;
    let connection = connection
        .await
        .map_err(|_| Failure::Wrong("no connection was accepted".to_owned()))?;
    echo::check_fec(case, &connection.stats())
}

/// What the Go echo client prints.
#[derive(Deserialize)]
struct EchoReport {
    ok: bool,
    #[serde(default)]
    error: String,
    sha256: String,
}

/// The way to a server: direct, or through a relay that loses.
#[derive(Debug)]
pub struct Line {
    /// Where clients connect to.
    pub addr: SocketAddr,
    _relay: Option<Relay>,
}

impl Line {
    /// The way the case asks for.
    ///
    /// # Errors
    ///
    /// If the relay gets no socket.
    pub fn to(server: SocketAddr, case: &Case, seed: u64) -> Result<Self, Failure> {
        let relay = case.relay(case.seed(seed));
        let relay = relay.map(|config| Relay::start(server, config));
        let relay = relay.transpose().map_err(Failure::Setup)?;
        Ok(Self {
            addr: relay.as_ref().map_or(server, Relay::local_addr),
            _relay: relay,
        })
    }
}

/// A port that the system picks.
pub const LOOPBACK: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// For one case. The slowest take a few seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);
