//! Running cases.

mod watch;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kcp_examples::relay::Relay;
use kcp_transport::config::Mode;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::wire::ConversationId;
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::case::{Case, Direction, InteropCase, Network, Payload, Shape};
use crate::conformance::Identities;
use crate::go::Programs;
use crate::process::{PeerServer, run_client};
use crate::report::{Cell, Verdict};
use crate::{Failure, conformance, data, echo, grpc, messages, out_of_band, serve};
use watch::Watch;

/// Settings of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The programs of the peers.
    pub programs: &'a Programs,
    /// Seed of the relays' losses and of the data.
    pub seed: u64,
    /// Number of cases to run concurrently, at least 1.
    pub jobs: usize,
}

/// Runs cases and calls `done` with each result as soon as it is known. Returns the results in the order of the cases.
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
            let _place = places
                .acquire()
                .await
                .expect("the semaphore is never closed");
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

/// Runs one case on its own ports. All of its tasks and processes have ended when this returns.
pub async fn run(case: Case, plan: Plan<'static>) -> Cell {
    let start = Instant::now();
    if let Some(reason) = case.peer.unsupported(&case) {
        return Cell {
            case,
            verdict: Verdict::Unsupported(reason.to_owned()),
            elapsed: Duration::ZERO,
        };
    }
    // A separate task, so that a panic fails only this case. The set aborts the task if this future is dropped.
    let mut task = JoinSet::new();
    task.spawn(attempt(case, plan));
    let joined = tokio::time::timeout(LIMIT, task.join_next()).await;
    let result = match joined {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err(panic))) => Err(Failure::Panic(panic)),
        Ok(None) | Err(_) => Err(Failure::TimeLimit(LIMIT)),
    };
    // Waits until the tasks and processes of the case are gone before the next case begins.
    task.shutdown().await;
    let verdict = match result {
        Ok(()) => Verdict::Pass,
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
        (Payload::Echo(shape), Direction::RustToPeer) => echo_to_peer(&case, shape, plan).await,
        (Payload::Echo(shape), Direction::PeerToRust) => echo_to_rust(&case, shape, plan).await,
        (Payload::Grpc(kind), Direction::RustToPeer) => {
            let server = start_server(&case, plan, "grpc-server", []).await?;
            let path = Route::to(server.addr(), &case, plan.seed)?;
            grpc::call(&case, path.addr, kind).await?;
            Ok(server.kill().await?)
        }
        (Payload::Grpc(kind), Direction::PeerToRust) => {
            let (addr, _serving) = grpc::serve(&case).await?;
            let path = Route::to(addr, &case, plan.seed)?;
            let mut args = client_args(&case, "grpc-client", path.addr);
            args.push(format!("--kinds={}", kind.name()));
            let report: grpc::Report = run_client(plan.programs.of(case.peer), &args).await?;
            report.check(kind)
        }
        (Payload::Interop(interop), Direction::RustToPeer) => {
            interop_to_peer(&case, interop, plan).await
        }
        (Payload::Interop(interop), Direction::PeerToRust) => {
            interop_to_rust(&case, interop, plan).await
        }
    }
}

async fn interop_to_peer(case: &Case, interop: InteropCase, plan: Plan<'_>) -> Result<(), Failure> {
    let identities = identities(case)?;
    let flags = identities.as_ref().map(Identities::server_flags);
    let flags = flags.transpose()?.into_iter().flatten();
    let server = start_server(case, plan, "grpc-interop-server", flags).await?;
    let path = Route::to(server.addr(), case, plan.seed)?;
    conformance::call(case, path.addr, interop, identities.as_ref()).await?;
    Ok(server.kill().await?)
}

async fn interop_to_rust(case: &Case, interop: InteropCase, plan: Plan<'_>) -> Result<(), Failure> {
    let identities = identities(case)?;
    let (addr, _serving) = conformance::serve(case, identities.as_ref()).await?;
    let path = Route::to(addr, case, plan.seed)?;
    let mut args = client_args(case, "grpc-interop-client", path.addr);
    args.push(format!("--case={}", interop.name()));
    if let Some(identities) = &identities {
        args.extend(identities.client_flags()?);
    }
    let report: conformance::Report = run_client(plan.programs.of(case.peer), &args).await?;
    report.check(interop.name())
}

fn identities(case: &Case) -> Result<Option<Identities>, Failure> {
    case.options.mtls.then(Identities::new).transpose()
}

async fn start_server(
    case: &Case,
    plan: Plan<'_>,
    command: &str,
    flags: impl IntoIterator<Item = String>,
) -> Result<PeerServer, Failure> {
    let mut args = case.peer_args(command);
    args.extend(flags);
    args.push(format!("--listen={}", listen_addr(case)));
    Ok(PeerServer::start(plan.programs.of(case.peer), &args).await?)
}

fn client_args(case: &Case, command: &str, server: SocketAddr) -> Vec<String> {
    let mut args = case.peer_args(command);
    let bind: SocketAddr = match case.network {
        Network::V4 | Network::Dual => (Ipv4Addr::LOCALHOST, 0).into(),
        Network::V6 => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    args.extend([
        format!("--connect={server}"),
        format!("--bind={bind}"),
        format!("--timeout={}", LIMIT.as_secs()),
    ]);
    args
}

async fn echo_to_peer(case: &Case, shape: Shape, plan: Plan<'_>) -> Result<(), Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let server = start_server(case, plan, "echo-server", []).await?;
    let path = Route::to(server.addr(), case, plan.seed)?;
    let start = Instant::now();
    let conversation = case.options.conversation.map(ConversationId::new);
    let stream = KcpStream::builder(&security)
        .config(&config)
        .conversation(conversation)
        .connect(path.addr)
        .await
        .map_err(Failure::stream("connecting"))?;
    let mut watch = Watch::new(case, stream.info(), start);
    let seed = case.seed(plan.seed);
    if case.options.datagrams {
        out_of_band::exchange(&stream.datagrams(), seed).await?;
    }
    let exchange = async {
        match shape.mode {
            Mode::Message => messages::exchange(stream, seed, shape, case).await,
            _ => echo::exchange(stream, seed, case, shape).await,
        }
    };
    let watching = async {
        watch.until_halfway().await;
        Ok(())
    };
    tokio::try_join!(exchange, watching)?;
    watch.check()?;
    Ok(server.kill().await?)
}

async fn echo_to_rust(case: &Case, shape: Shape, plan: Plan<'_>) -> Result<(), Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let listener = KcpListener::builder(&security)
        .config(&config)
        .bind(listen_addr(case))
        .await
        .map_err(Failure::Setup)?;
    let addr = listener.local_addr().map_err(Failure::Setup)?;
    let path = Route::to(addr, case, plan.seed)?;
    let (accepted, connection) = oneshot::channel();
    let mut serving = JoinSet::new();
    serving.spawn(async move { serve::serve_one(&listener, shape.mode, accepted).await });
    let (watched, watch) = oneshot::channel();
    let (start, case_watched) = (Instant::now(), *case);
    serving.spawn(async move {
        let accepted = connection.await.map_err(|_| no_connection())?;
        let mut watch = Watch::new(&case_watched, accepted, start);
        watch.until_halfway().await;
        // The receiver is gone if the case has ended.
        let _ = watched.send(watch);
        Ok(())
    });

    let seed = case.seed(plan.seed);
    let mut args = client_args(case, "echo-client", path.addr);
    for (name, value) in [
        ("bytes", u64::from(shape.bytes)),
        ("message", u64::from(shape.write)),
        ("seed", seed),
    ] {
        args.push(format!("--{name}={value}"));
    }
    if case.peer.is_native() && shape.mode == Mode::Message {
        args.push("--boundaries=true".to_owned());
    }
    if let Some(conversation) = case.options.conversation {
        args.push(format!("--conv={conversation}"));
    }
    if case.options.datagrams {
        args.push(format!("--datagrams={}", out_of_band::COUNT));
    }
    if case.options.fec_then.is_some() {
        args.push(format!("--then-pause={}ms", case.pause().as_millis()));
    }
    let report: EchoReport = run_client(plan.programs.of(case.peer), &args).await?;
    if !report.ok {
        return Err(Failure::Wrong(report.error));
    }
    let sent = data::bytes(seed, shape.bytes as usize);
    data::compare(&data::sha256(&sent), &report.sha256)?;
    watch.await.map_err(|_| no_connection())?.check()
}

fn no_connection() -> Failure {
    Failure::Wrong("no connection was accepted".to_owned())
}

/// The report of an echo client.
#[derive(Deserialize)]
struct EchoReport {
    ok: bool,
    #[serde(default)]
    error: String,
    sha256: String,
}

/// The path to a server: direct, or through a relay with impairments.
#[derive(Debug)]
pub struct Route {
    /// The address to which clients connect.
    pub addr: SocketAddr,
    _relay: Option<Relay>,
}

impl Route {
    /// Sets the path of a case up.
    ///
    /// # Errors
    ///
    /// If the relay's socket cannot be bound.
    pub fn to(server: SocketAddr, case: &Case, seed: u64) -> Result<Self, Failure> {
        // Clients cannot connect to the wildcard address.
        let server = match case.network {
            Network::V4 | Network::Dual => (Ipv4Addr::LOCALHOST, server.port()).into(),
            Network::V6 => server,
        };
        let relay = case.relay(case.seed(seed));
        let relay = relay.map(|config| Relay::start(server, config));
        let relay = relay.transpose().map_err(Failure::Setup)?;
        Ok(Self {
            addr: relay.as_ref().map_or(server, Relay::local_addr),
            _relay: relay,
        })
    }
}

/// The listen address of a server, with a port that the system picks.
#[must_use]
pub fn listen_addr(case: &Case) -> SocketAddr {
    match case.network {
        Network::V4 => (Ipv4Addr::LOCALHOST, 0).into(),
        Network::V6 => (Ipv6Addr::LOCALHOST, 0).into(),
        Network::Dual => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Time limit of a case. The slowest take a few seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);
