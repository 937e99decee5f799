//! Calls to five servers that are killed and started again, over lossy paths.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin failover -- --quick
//! ```
//!
//! Each server is a process. Calls reach it through a relay that loses datagrams. Prints a table in Markdown.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use clap::Parser;
use kcp_examples::relay::{Relay, RelayConfig};
use kcp_interop::grpc::proto::echo_client::EchoClient;
use kcp_interop::grpc::proto::echo_server::{Echo, EchoServer};
use kcp_interop::grpc::proto::{EchoRequest, EchoResponse};
use kcp_tonic::{Config, Failure, FecRatio, KcpChannel, KcpIncoming, Security, Selection};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about = "Calls to servers that are killed and started again, over lossy paths")]
struct Options {
    /// 10 s for each row instead of 60 s.
    #[arg(long)]
    quick: bool,
    /// Loss of datagrams in each direction, 0 to 1.
    #[arg(long, default_value_t = 0.1)]
    loss: f64,
    /// Runs a server: `kcp` or `tcp`.
    #[arg(long, hide = true)]
    serve: Option<String>,
    #[arg(long, hide = true, default_value = "127.0.0.1:0")]
    addr: SocketAddr,
    #[arg(long, hide = true, default_value_t = 0)]
    work: u64,
}

/// Five servers.
const SERVERS: usize = 5;

const CALLS_PER_SECOND: u64 = 200;

const KILL_EVERY: Duration = Duration::from_secs(2);

/// How long a killed server is away.
const AWAY: Duration = Duration::from_secs(1);

const DELAY: Duration = Duration::from_millis(10);

const DEADLINE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), Error> {
    let options = Options::parse();
    if let Some(protocol) = &options.serve {
        return serve(protocol, &options).await;
    }
    println!("| calls | failed | p50 ms | p99 ms | max ms | share of each server |");
    println!("|---|---:|---:|---:|---:|---|");
    let over = Failure::failover().tries(5).budget(0.5, 50);
    let give_up = over.clone().try_timeout(Duration::from_millis(400));
    let hedge = Failure::failbackup_p95().tries(5).budget(0.5, 50);
    let kills = true;
    for row in [
        Row::kcp("failfast", Failure::failfast(), kills),
        Row::kcp("failover", over.clone(), kills),
        Row::kcp("failover, 400 ms a try", give_up, kills),
        Row::kcp("hedging at p95", hedge.clone(), kills),
        Row::kcp("failover, no kills", over.clone(), false),
        Row::kcp("hedging at p95, no kills", hedge, false),
        Row {
            selection: Selection::PeakEwma,
            slow: true,
            ..Row::kcp(
                "peak EWMA, last server 3 times slower, no kills",
                over,
                false,
            )
        },
    ] {
        let report = row.run(&options).await?;
        println!("| {} {report}", row.name);
    }
    println!(
        "| tonic over TCP, `balance_list`, without loss {}",
        tcp(&options).await?
    );
    Ok(())
}

/// One way to call.
struct Row {
    name: &'static str,
    failure: Failure,
    selection: Selection,
    kills: bool,
    /// Whether one server takes three times as long as the others.
    slow: bool,
}

impl Row {
    fn kcp(name: &'static str, failure: Failure, kills: bool) -> Self {
        Self {
            name,
            failure,
            selection: Selection::RoundRobin,
            kills,
            slow: false,
        }
    }

    async fn run(&self, options: &Options) -> Result<String, Error> {
        let work = |at: usize| match (self.slow, at + 1 == SERVERS) {
            (false, _) => 0,
            (true, false) => 20,
            (true, true) => 60,
        };
        let servers = Servers::start("kcp", work).await?;
        let mut relays = Vec::new();
        for (seed, addr) in (1..).zip(&servers.addresses) {
            let config = RelayConfig {
                loss: options.loss,
                delay: DELAY,
                seed,
                ..RelayConfig::default()
            };
            relays.push(Relay::start(*addr, config)?);
        }
        let uris = relays.iter().map(|it| format!("kcp://{}", it.local_addr()));
        let channel = KcpChannel::builder(&security()?)
            .config(&config()?)
            .failure(self.failure.clone())
            .selection(self.selection.clone())
            .idempotent(["/grpc.examples.echo.Echo/"])
            .connect_list(uris)?;
        let client = EchoClient::new(channel.clone());
        let report = load(options, servers, self.kills, move || {
            let mut client = client.clone();
            async move { client.unary_echo(request()).await.map(drop) }
        });
        let report = report.await?;
        let stats = channel.balance_stats().unwrap_or_default();
        let all: u64 = stats.endpoints.iter().map(|it| it.tries).sum();
        let share = |tries: u64| format!("{:.1} %", 100.0 * tries as f64 / all.max(1) as f64);
        let shares: Vec<_> = stats.endpoints.iter().map(|it| share(it.tries)).collect();
        Ok(format!("{report} {} |", shares.join(", ")))
    }
}

/// The same over TCP, with what tonic has. There is no loss: that would need a path below TCP.
async fn tcp(options: &Options) -> Result<String, Error> {
    let servers = Servers::start("tcp", |_| 0).await?;
    let endpoint = |addr: &SocketAddr| Endpoint::from_shared(format!("http://{addr}"));
    let endpoints: Result<Vec<_>, _> = servers.addresses.iter().map(endpoint).collect();
    let client = EchoClient::new(Channel::balance_list(endpoints?.into_iter()));
    let report = load(options, servers, true, move || {
        let mut client = client.clone();
        async move { client.unary_echo(request()).await.map(drop) }
    });
    Ok(format!("{} not known |", report.await?))
}

fn request() -> Request<EchoRequest> {
    let message = "a".repeat(100);
    let mut request = Request::new(EchoRequest { message });
    request.set_timeout(DEADLINE);
    request
}

/// Calls at a steady rate while servers are killed in turn.
async fn load<F>(
    options: &Options,
    mut servers: Servers,
    kills: bool,
    call: impl Fn() -> F,
) -> Result<String, Error>
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let length = Duration::from_secs(if options.quick { 10 } else { 60 });
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

/// The processes.
struct Servers {
    protocol: &'static str,
    addresses: Vec<SocketAddr>,
    work: Vec<u64>,
    children: Vec<Child>,
}

impl Servers {
    async fn start(protocol: &'static str, work: impl Fn(usize) -> u64) -> Result<Self, Error> {
        let mut servers = Self {
            protocol,
            addresses: Vec::new(),
            work: (0..SERVERS).map(work).collect(),
            children: Vec::new(),
        };
        for at in 0..SERVERS {
            let any = ([127, 0, 0, 1], 0).into();
            let (child, addr) = servers.spawn(at, any).await?;
            servers.children.push(child);
            servers.addresses.push(addr);
        }
        Ok(servers)
    }

    async fn spawn(&self, at: usize, addr: SocketAddr) -> Result<(Child, SocketAddr), Error> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--serve", self.protocol, "--addr", &addr.to_string()])
            .args(["--work", &self.work[at].to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the output is a pipe")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let line = line.ok_or("a server has ended")?;
        Ok((child, line.parse()?))
    }

    async fn kill(&mut self, at: usize) -> Result<(), Error> {
        Ok(self.children[at].kill().await?)
    }

    async fn restart(&mut self, at: usize) -> Result<(), Error> {
        self.children[at] = self.spawn(at, self.addresses[at]).await?.0;
        Ok(())
    }
}

/// A server, until its process is killed.
async fn serve(protocol: &str, options: &Options) -> Result<(), Error> {
    let work = Duration::from_millis(options.work);
    let echo = EchoServer::new(Worker { work });
    if protocol == "tcp" {
        let listener = tokio::net::TcpListener::bind(options.addr).await?;
        println!("{}", listener.local_addr()?);
        let incoming = TcpListenerStream::new(listener);
        Server::builder()
            .add_service(echo)
            .serve_with_incoming(incoming)
            .await?;
        return Ok(());
    }
    let incoming = KcpIncoming::builder(&security()?)
        .config(&config()?)
        .bind(options.addr)
        .await?;
    println!("{}", incoming.local_addr()?);
    let router = kcp_tonic::server_builder().add_service(echo);
    kcp_tonic::serve(incoming, router).await?;
    Ok(())
}

/// AES-128-GCM and FEC 10/3; a peer that does not answer is given up after half a second.
fn security() -> io::Result<Security> {
    Security::from_password("aes-128-gcm", "secret", b"salt").map_err(io::Error::other)
}

fn config() -> Result<Config, Error> {
    let config = Config::builder()
        .fec(FecRatio::new(10, 3)?)
        .connect_timeout(Duration::from_secs(1))
        .keepalive(Duration::from_millis(250))
        .user_timeout(Duration::from_millis(750))
        .idle_timeout(Duration::from_secs(2))
        .build()?;
    Ok(config)
}

#[allow(clippy::disallowed_methods, reason = "a measurement of time")]
fn now() -> Instant {
    Instant::now()
}

struct Worker {
    work: Duration,
}

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Worker {
    async fn unary_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        if !self.work.is_zero() {
            sleep(self.work).await;
        }
        let message = request.into_inner().message;
        Ok(Response::new(EchoResponse { message }))
    }

    type ServerStreamingEchoStream = Answers;

    async fn server_streaming_echo(
        &self,
        _request: Request<EchoRequest>,
    ) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented("see unary_echo"))
    }

    async fn client_streaming_echo(
        &self,
        _request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("see unary_echo"))
    }

    type BidirectionalStreamingEchoStream = Answers;

    async fn bidirectional_streaming_echo(
        &self,
        _request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented("see unary_echo"))
    }
}
