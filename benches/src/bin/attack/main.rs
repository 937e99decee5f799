//! A server under attack: what its honest clients notice, and what it costs in memory.
//!
//! ```text
//! cargo run --release -p kcp-benches --bin attack -- --seconds 10 --rate 50000
//! cargo run --release -p kcp-benches --bin attack -- --service greeter
//! cargo run --release -p kcp-benches --bin attack -- --opens 1000000
//! ```
//!
//! The server is a process of its own, without a cipher, so that nothing is refused for want of a
//! key. The attacker forges sources all over 127.0.0.0/8, which needs no privilege on Linux. Prints
//! one JSON object.

#![allow(clippy::disallowed_methods)]

mod attacker;
mod honest;

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};
use kcp_examples::{echo, greeter};
use kcp_tonic::KcpIncoming;
use kcp_transport::config::Config;
use kcp_transport::crypto::Security;
use kcp_transport::net::KcpListener;
use serde_json::{Value, json};

use attacker::attack;
use honest::{Service, honest};

type AnyError = Box<dyn std::error::Error>;

/// Honest calls to a server, first in peace and then under attack.
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
    /// What the server does.
    #[arg(long, value_enum, default_value = "echo")]
    service: Service,
}

/// What is started as a process of its own.
#[derive(Debug, Subcommand)]
enum Half {
    #[command(hide = true)]
    Server {
        #[arg(long)]
        shards: u16,
        #[arg(long, value_enum)]
        service: Service,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.command {
        Some(Half::Server { shards, service }) => serve(shards, service).await,
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

async fn serve(shards: u16, service: Service) -> Result<(), AnyError> {
    let config = Config::builder().shards(shards).build()?;
    let addr = (Ipv4Addr::LOCALHOST, 0).into();
    let listener = KcpListener::bind_with(addr, &Security::Plaintext, &config).await?;
    println!("{}", listener.local_addr()?);
    // Ends with the parent, which holds the other end.
    let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let serving = async {
        match service {
            Service::Echo => echo::serve(listener).await?,
            Service::Greeter => {
                let incoming = KcpIncoming::from(listener);
                greeter::serve(incoming, None, std::future::pending()).await?;
            }
        }
        Ok(())
    };
    tokio::select! {
        served = serving => served,
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
    fn start(shards: u16, service: Service) -> Result<Self, AnyError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["server", "--shards", &shards.to_string()])
            .args(["--service", service.name()])
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
    let server = Server::start(options.shards, options.service)?;
    let (addr, at) = (server.addr, (options.service, server.addr));
    // Buffers grow and pages are touched.
    honest(at, options.clients, Duration::from_secs(1)).await;
    let phase = Duration::from_secs(match options.opens {
        Some(opens) => opens / options.rate.max(1) + 3,
        None => options.seconds,
    });
    let calm = honest(at, options.clients, phase).await;
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
    let attacked = honest(at, options.clients, phase).await;
    stop.store(true, Ordering::Relaxed);
    let seconds = attacker.join().map_err(|_| "the attacker panicked")??;
    let after = server.resident()?;
    let sent = sent.load(Ordering::Relaxed);
    Ok(json!({
        "service": options.service.name(),
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
