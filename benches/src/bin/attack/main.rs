//! An echo server under attack: what its honest clients notice, and what it costs in memory.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin attack -- --seconds 10 --rate 50000
//! cargo run --release -p kcp-benches --bin attack -- --opens 1000000
//! ```
//!
//! The server is a process of its own, without a cipher, so that nothing is refused for want of a
//! key. The attacker forges sources all over 127.0.0.0/8, which needs no privilege on Linux. Prints
//! one JSON object.

#![allow(clippy::disallowed_methods)]

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use kcp_examples::echo;
use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::{KcpListener, KcpStream};
use kcp_transport::testing::Rng;
use quinn_udp::{Transmit, UdpSockRef, UdpSocketState};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type AnyError = Box<dyn std::error::Error>;

/// Honest calls to an echo server, first in peace and then under attack.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Option<Half>,
    /// How long each of the two phases takes.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Packets of the attacker in a second.
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// Sends so many forged first packets and nothing else, however long it takes.
    #[arg(long)]
    opens: Option<u64>,
    /// Honest clients that make calls, one after the other.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// Sockets of the server.
    #[arg(long, default_value_t = 1)]
    shards: u16,
}

/// What is started as a process of its own.
#[derive(Debug, Subcommand)]
enum Half {
    #[command(hide = true)]
    Server {
        #[arg(long)]
        shards: u16,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.command {
        Some(Half::Server { shards }) => serve(shards).await,
        None => measure(&options).await.map(|report| println!("{report}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(shards: u16) -> Result<(), AnyError> {
    let config = Config::builder().shards(shards).build()?;
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = KcpListener::bind_with(addr, &Security::Plaintext, &config).await?;
    println!("{}", listener.local_addr()?);
    // Ends with the parent, which holds the other end.
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    tokio::select! {
        served = echo::serve(listener) => Ok(served?),
        _ = parent => std::process::exit(0),
    }
}

/// The server's process.
struct Server {
    child: Child,
    addr: SocketAddr,
    _stdin: Option<ChildStdin>,
}

impl Server {
    fn start(shards: u16) -> Result<Self, AnyError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["server", "--shards", &shards.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(Self {
            child,
            addr: line.trim().parse()?,
            _stdin: stdin,
        })
    }

    /// Resident bytes.
    fn resident(&self) -> Result<i64, AnyError> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages = statm.split_whitespace().nth(1).ok_or("no such field")?;
        Ok(pages.parse::<i64>()? * 4096)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(options: &Options) -> Result<Value, AnyError> {
    let server = Server::start(options.shards)?;
    let addr = server.addr;
    // Buffers grow and pages are touched.
    honest(addr, options.clients, Duration::from_secs(1)).await;
    let phase = Duration::from_secs(match options.opens {
        Some(opens) => opens / options.rate.max(1) + 3,
        None => options.seconds,
    });
    let calm = honest(addr, options.clients, phase).await;
    let before = server.resident()?;
    let sent = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let (rate, opens) = (options.rate, options.opens);
    let attacker = {
        let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
        std::thread::spawn(move || {
            attack(addr, rate, opens, &sent, &stop).map_err(|it| it.to_string())
        })
    };
    let attacked = honest(addr, options.clients, phase).await;
    stop.store(true, Ordering::Relaxed);
    let seconds = attacker.join().map_err(|_| "the attacker panicked")??;
    let after = server.resident()?;
    let sent = sent.load(Ordering::Relaxed);
    Ok(json!({
        "attack": {
            "packets": sent,
            "packets_per_s": (sent as f64 / seconds).round(),
            "kinds": if opens.is_some() { "forged openings" } else { "mixed" },
        },
        "calm": calm.report(),
        "attacked": attacked.report(),
        "p99_ratio": attacked.percentile(99) / calm.percentile(99),
        "server_rss": { "before": before, "after": after, "grown": after - before },
    }))
}

/// What honest clients saw.
#[derive(Default)]
struct Seen {
    /// Round trips of calls, in seconds.
    calls: Vec<f64>,
    failed_calls: usize,
    /// New connections that were made and echoed within three seconds.
    connected: usize,
    failed_connects: usize,
}

impl Seen {
    fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.calls.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted
            .get(last * percent / 100)
            .copied()
            .unwrap_or(f64::NAN)
    }

    fn report(&self) -> Value {
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

/// Calls over lasting connections, and a new connection every 100 ms beside them.
async fn honest(addr: SocketAddr, clients: usize, time: Duration) -> Seen {
    let end = Instant::now() + time;
    let mut lasting = JoinSet::new();
    for _ in 0..clients {
        lasting.spawn(calls(addr, end));
    }
    let mut fresh = JoinSet::new();
    while Instant::now() < end {
        fresh.spawn(async move { timeout(PATIENCE, one_call(addr)).await });
        sleep(Duration::from_millis(100)).await;
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

async fn calls(addr: SocketAddr, end: Instant) -> (Vec<f64>, usize) {
    let (mut times, mut failed) = (Vec::new(), 0);
    while Instant::now() < end {
        let Ok(mut stream) = KcpStream::connect(addr, &Security::Plaintext).await else {
            failed += 1;
            continue;
        };
        while Instant::now() < end {
            let start = Instant::now();
            match timeout(PATIENCE, call(&mut stream)).await {
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

async fn one_call(addr: SocketAddr) -> std::io::Result<()> {
    let mut stream = KcpStream::connect(addr, &Security::Plaintext).await?;
    call(&mut stream).await
}

async fn call(stream: &mut KcpStream) -> std::io::Result<()> {
    let mut answer = [0; 200];
    stream.write_all(&[7; 200]).await?;
    stream.flush().await?;
    stream.read_exact(&mut answer).await.map(|_| ())
}

/// Sends at `rate` until `opens` are sent or `stop` is set; returns the seconds it took.
fn attack(
    addr: SocketAddr,
    rate: u64,
    opens: Option<u64>,
    sent: &AtomicU64,
    stop: &AtomicBool,
) -> Result<f64, AnyError> {
    let mut attacker = Attacker::new(addr)?;
    let start = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        // Whole packets of the time that has passed.
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        let due = due.min(opens.unwrap_or(u64::MAX));
        let done = sent.load(Ordering::Relaxed);
        for _ in done..due {
            match opens {
                Some(_) => attacker.forge_opening()?,
                None => attacker.send_any()?,
            }
        }
        sent.store(done.max(due), Ordering::Relaxed);
        if opens == Some(due) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(start.elapsed().as_secs_f64())
}

/// Whoever wants the server to fail.
struct Attacker {
    socket: UdpSocket,
    state: UdpSocketState,
    addr: SocketAddr,
    rng: Rng,
    /// Something the server has sent, to be sent back.
    heard: Vec<u8>,
}

impl Attacker {
    fn new(addr: SocketAddr) -> Result<Self, AnyError> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        Ok(Self {
            socket,
            state,
            addr,
            rng: Rng::new(1),
            heard: Vec::new(),
        })
    }

    /// One packet of some kind.
    fn send_any(&mut self) -> Result<(), AnyError> {
        match self.rng.below(6) {
            0 => {
                let mut garbage = vec![0; 1 + self.rng.below(1400) as usize];
                self.rng.fill(&mut garbage);
                self.send(&garbage)
            }
            1 | 2 => self.forge_opening(),
            // In the midst of a conversation that nobody knows.
            3 => {
                let stray = self.segment(PUSH, 9, 7, &[1; 100]);
                self.send(&stray)
            }
            // The same packet of the same peer, again and again.
            4 => {
                let mut replayed = segment(7, PUSH, 0, 0, &[2; 500]);
                replayed[8] = 1;
                let source = Ipv4Addr::new(127, 1, 1, 1);
                self.send_from(source, &replayed)
            }
            _ => {
                let mut buffer = [0; 2000];
                if let Ok(len) = self.socket.recv(&mut buffer) {
                    self.heard = buffer[..len].to_vec();
                }
                let heard = std::mem::take(&mut self.heard);
                let sent = self.send(if heard.is_empty() { &[0; 24] } else { &heard });
                self.heard = heard;
                sent
            }
        }
    }

    /// A first packet, as our clients or kcp-go's send them.
    fn forge_opening(&mut self) -> Result<(), AnyError> {
        let opening = if self.rng.chance(0.5) {
            self.segment(WINDOW_PROBE, 0, 0, &[])
        } else {
            self.segment(PUSH, 0, 0, &[3; 100])
        };
        self.send(&opening)
    }

    fn segment(&mut self, command: u8, sequence: u32, una: u32, data: &[u8]) -> Vec<u8> {
        segment(self.rng.next_u32(), command, sequence, una, data)
    }

    /// Sends from an address that is somebody else's.
    fn send(&mut self, datagram: &[u8]) -> Result<(), AnyError> {
        let [a, b, c, _] = self.rng.next_u32().to_be_bytes();
        // The honest ones are in 127.0.0.0/24.
        self.send_from(Ipv4Addr::new(127, a | 1, b, c), datagram)
    }

    fn send_from(&self, source: Ipv4Addr, datagram: &[u8]) -> Result<(), AnyError> {
        let transmit = Transmit {
            destination: self.addr,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: Some(source.into()),
        };
        let sent = self
            .state
            .try_send(UdpSockRef::from(&self.socket), &transmit);
        match sent {
            // The server's buffer is full, or this one's.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            other => Ok(other?),
        }
    }
}

fn segment(conversation: u32, command: u8, sequence: u32, una: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = conversation.to_le_bytes().to_vec();
    bytes.extend([command, 0]);
    bytes.extend(128_u16.to_le_bytes());
    let len = u32::try_from(data.len()).unwrap_or(0);
    for word in [0, sequence, una, len] {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend(data);
    bytes
}

const PUSH: u8 = 81;
const WINDOW_PROBE: u8 = 83;

/// How long an honest client waits for a connection or an answer.
const PATIENCE: Duration = Duration::from_secs(3);
