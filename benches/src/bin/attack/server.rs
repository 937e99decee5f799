//! The server, as a process of its own, and its parent's handle to it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use clap::Args;
use kcp_examples::{echo, greeter};
use kcp_tonic::{KcpIncoming, KcpServerIo};
use kcp_transport::config::ListenerConfig;
use kcp_transport::crypto::Security;
use kcp_transport::error::ConfigError;
use kcp_transport::net::KcpListener;
use kcp_transport::stats::EndpointStats;
use serde_json::{Value, json};
use tokio_stream::Stream;

use crate::AnyError;
use crate::honest::Service;

/// What server and clients agree on.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shape {
    /// Sockets of the server.
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// What the server does.
    #[arg(long, value_enum, default_value = "echo")]
    pub(crate) service: Service,
    /// Cipher, by kcptun's name. With any but null, the attacker listens on the path.
    #[arg(long, value_name = "NAME", default_value = "null")]
    pub(crate) crypt: String,
}

impl Shape {
    pub(crate) fn security(&self) -> Result<Security, ConfigError> {
        Security::from_password(&self.crypt, PASSWORD, Security::KCPTUN_SALT)
    }

    fn config(&self) -> Result<ListenerConfig, ConfigError> {
        ListenerConfig::builder().shards(self.shards).build()
    }

    /// Most bytes that the packets of others may make the listener hold, and what for.
    pub(crate) fn bound(&self) -> Result<Bound, ConfigError> {
        let replay_filter = match self.security()? {
            Security::Aead(_) => REPLAY_FILTER,
            _ => 0,
        };
        let sockets = u64::from(self.shards);
        let sessions = self.config()?.max_unvalidated() as u64;
        Ok(Bound {
            unproven_sessions: sessions * SESSION,
            tombstones: sockets * TOMBSTONES,
            receive_buffers: sockets * RECEIVE_BUFFERS,
            replay_filter,
        })
    }
}

/// The promised bound of the memory for packets of unknown hosts, in bytes.
pub(crate) struct Bound {
    unproven_sessions: u64,
    tombstones: u64,
    receive_buffers: u64,
    replay_filter: u64,
}

impl Bound {
    pub(crate) fn total(&self) -> u64 {
        self.unproven_sessions + self.tombstones + self.receive_buffers + self.replay_filter
    }

    pub(crate) fn report(&self) -> Value {
        json!({
            "unproven_sessions": self.unproven_sessions,
            "tombstones": self.tombstones,
            "receive_buffers": self.receive_buffers,
            "replay_filter": self.replay_filter,
        })
    }
}

/// Serves until the parent ends; prints the address, and the counters for each line of input.
pub(crate) async fn serve(shape: &Shape) -> Result<(), AnyError> {
    let listener = KcpListener::builder(&shape.security()?)
        .listener_config(&shape.config()?)
        .bind((Ipv4Addr::LOCALHOST, 0))
        .await?;
    println!("{}", listener.local_addr()?);
    match shape.service {
        Service::Echo => {
            let listener = Arc::new(listener);
            let watched = Arc::clone(&listener);
            answer_parent(move || watched.stats());
            echo::serve(listener).await?;
        }
        Service::Greeter => {
            let incoming = Shared(Arc::new(Mutex::new(listener.into())));
            let watched = incoming.clone();
            answer_parent(move || watched.lock().get_ref().stats());
            greeter::serve(incoming, None, std::future::pending()).await?;
        }
    }
    Ok(())
}

/// Answers each line of the parent's with the counters, and ends the process with it.
fn answer_parent(stats: impl Fn() -> EndpointStats + Send + 'static) {
    std::thread::spawn(move || {
        // Ends when the parent does, which holds the other end.
        for _ in std::io::stdin().lines().map_while(Result::ok) {
            println!("{}", counters(&stats()));
        }
        std::process::exit(0);
    });
}

fn counters(stats: &EndpointStats) -> Value {
    json!({
        "received": stats.datagrams_received,
        "unauthentic": stats.unauthentic,
        "reflected": stats.reflected,
        "replayed": stats.replayed,
        "stray": stats.stray,
        "late": stats.late,
        "unanswerable": stats.unanswerable,
        "addresses_challenged": stats.addresses_challenged,
        "opened": stats.passive_opens,
        "max_connections": stats.max_connections,
    })
}

/// Connections for tonic, from a listener that can still be looked at.
#[derive(Clone)]
struct Shared(Arc<Mutex<KcpIncoming>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, KcpIncoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for Shared {
    type Item = std::io::Result<KcpServerIo>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.lock()).poll_next(cx)
    }
}

/// The server's process.
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(shape: &Shape) -> Result<Self, AnyError> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["server", "--shards", &shape.shards.to_string()])
            .args(["--service", shape.service.name(), "--crypt", &shape.crypt])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // Ctrl-C on the terminal is for this process, which still needs the server's counters.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let stdin = child.stdin.take().ok_or("the server has no input")?;
        let stdout = child.stdout.take().ok_or("the server has no output")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        Ok(Self {
            child,
            addr: line.trim().parse()?,
            stdin,
            stdout,
        })
    }

    /// What its listener counts.
    pub(crate) fn counters(&mut self) -> Result<Value, AnyError> {
        writeln!(self.stdin)?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Resident bytes.
    pub(crate) fn resident(&self) -> Result<i64, AnyError> {
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

const PASSWORD: &str = "attack";

/// What a session holds of which no more than its first packet has come: a flood of openings that
/// fills the default limit of 512 costs at most four mebibytes.
const SESSION: u64 = 8 << 10;

/// For each socket: 65 536 names and ends of sessions.
const TOMBSTONES: u64 = 5 << 20;

/// For each socket: 32 runs of coalesced packets.
const RECEIVE_BUFFERS: u64 = 32 * (64 << 10);

/// Of a listener, however many sockets it has.
const REPLAY_FILTER: u64 = 23_000_000;
