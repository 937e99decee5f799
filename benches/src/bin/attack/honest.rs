//! Legitimate clients and their measurements.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::ProgressBar;
use kcp_examples::cli;
use kcp_examples::greeter::proto::HelloRequest;
use kcp_examples::greeter::proto::greeter_client::GreeterClient;
use kcp_examples::stop::Stop;
use kcp_tonic::KcpChannel;
use kcp_transport::crypto::Security;
use kcp_transport::net::KcpStream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The service that the server offers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Service {
    /// Echoes bytes.
    Echo,
    /// The gRPC greeter.
    Greeter,
}

impl Service {
    /// The value of the option.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Greeter => "greeter",
        }
    }
}

/// Address, service and cipher of a server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) service: Service,
    pub(crate) addr: SocketAddr,
    pub(crate) security: Security,
}

/// Results of the legitimate clients.
#[derive(Default)]
pub(crate) struct Seen {
    /// Round trips of calls, in seconds.
    calls: Vec<f64>,
    failed_calls: usize,
    /// New connections that were open and had a call answered within three seconds.
    connected: usize,
    failed_connects: usize,
}

impl Seen {
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.calls.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted
            .get(last * percent / 100)
            .copied()
            .unwrap_or(f64::NAN)
    }

    pub(crate) fn report(&self) -> Value {
        let ratio = |good: usize, bad: usize| good as f64 / (good + bad).max(1) as f64;
        json!({
            "calls": self.calls.len(),
            "call_success": ratio(self.calls.len(), self.failed_calls),
            "p50_ms": self.percentile(50) * 1000.0,
            "p99_ms": self.percentile(99) * 1000.0,
            "connects": self.connected + self.failed_connects,
            "connect_success": ratio(self.connected, self.failed_connects),
        })
    }
}

/// Progress of all phases, shown on a terminal.
pub(crate) struct Clock {
    start: Instant,
    stop: Stop,
    progress: ProgressBar,
}

impl Clock {
    /// Starts the clock. The phases take `all` together, unless `stop` is requested.
    pub(crate) fn start(all: Duration, stop: Stop) -> Self {
        Self {
            start: Instant::now(),
            stop,
            progress: cli::progress(all.as_secs(), false),
        }
    }

    fn phase(&self, time: Duration) -> Phase {
        Phase {
            end: Instant::now() + time,
            stop: self.stop.clone(),
        }
    }

    fn show(&self) {
        self.progress.set_position(self.start.elapsed().as_secs());
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.progress.finish_and_clear();
    }
}

/// The end of a phase.
#[derive(Clone)]
struct Phase {
    end: Instant,
    stop: Stop,
}

impl Phase {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.stop.is_requested()
    }
}

/// Makes calls over long-lived connections and, concurrently, opens a new connection every 100 ms.
pub(crate) async fn honest(target: &Target, clients: usize, time: Duration, clock: &Clock) -> Seen {
    let end = clock.phase(time);
    let mut lasting = JoinSet::new();
    for _ in 0..clients {
        lasting.spawn(calls(target.clone(), end.clone()));
    }
    let mut fresh = JoinSet::new();
    while !end.is_over() {
        let target = target.clone();
        fresh.spawn(async move { timeout(CALL_TIMEOUT, one_call(&target)).await });
        sleep(Duration::from_millis(100)).await;
        clock.show();
    }
    let mut seen = Seen::default();
    for (calls, failed) in lasting.join_all().await {
        seen.calls.extend(calls);
        seen.failed_calls += failed;
    }
    for result in fresh.join_all().await {
        match result {
            Ok(Ok(())) => seen.connected += 1,
            _ => seen.failed_connects += 1,
        }
    }
    seen
}

async fn calls(target: Target, end: Phase) -> (Vec<f64>, usize) {
    let (mut times, mut failed) = (Vec::new(), 0);
    while !end.is_over() {
        let Ok(mut client) = Client::open(&target).await else {
            failed += 1;
            continue;
        };
        while !end.is_over() {
            let start = Instant::now();
            match timeout(CALL_TIMEOUT, client.call()).await {
                Ok(Ok(())) => times.push(start.elapsed().as_secs_f64()),
                _ => {
                    failed += 1;
                    break;
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
    (times, failed)
}

async fn one_call(target: &Target) -> Result<(), CallError> {
    Client::open(target).await?.call().await
}

type CallError = Box<dyn std::error::Error + Send + Sync>;

/// A connection to a service.
enum Client {
    Echo(KcpStream),
    Greeter(GreeterClient<KcpChannel>),
}

impl Client {
    async fn open(target: &Target) -> Result<Self, CallError> {
        let Target { addr, security, .. } = target;
        Ok(match target.service {
            Service::Echo => Self::Echo(KcpStream::connect(*addr, security).await?),
            Service::Greeter => {
                let channel = KcpChannel::connect(format!("kcp://{addr}"), security).await?;
                Self::Greeter(GreeterClient::new(channel))
            }
        })
    }

    async fn call(&mut self) -> Result<(), CallError> {
        match self {
            Self::Echo(stream) => {
                let mut answer = [0; 200];
                stream.write_all(&[7; 200]).await?;
                stream.flush().await?;
                stream.read_exact(&mut answer).await?;
            }
            Self::Greeter(client) => {
                let name = "you".repeat(60);
                client.say_hello(HelloRequest { name }).await?;
            }
        }
        Ok(())
    }
}

/// Time-out of a call, and of a new connection with its call.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
