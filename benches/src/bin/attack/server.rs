//! The server process, and the handle of its parent.

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

/// Options that server and clients share.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shape {
    /// Number of sockets of the server.
    #[arg(long, default_value_t = 1)]
    shards: u16,
    /// Service of the server.
    #[arg(long, value_enum, default_value = "echo")]
    pub(crate) service: Service,
    /// Cipher, by kcptun's name. With a cipher other than null, the attacker is on the path.
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

    /// The documented limit of the memory that packets of unknown hosts can make the listener hold.
    pub(crate) fn bound(&self) -> Result<Bound, ConfigError> {
        let replay_filter = match self.security()? {
            Security::Aead(_) => REPLAY_FILTER,
            _ => 0,
        };
        let sockets = u64::from(self.shards);
        let sessions = self.config()?.max_unvalidated() as u64;
        Ok(Bound {
            unvalidated_sessions: sessions * SESSION,
            tombstones: sockets * TOMBSTONES,
            receive_buffers: sockets * RECEIVE_BUFFERS,
            replay_filter,
        })
    }
}

/// The documented limit of the memory for packets of unknown hosts, in bytes, by use.
pub(crate) struct Bound {
    unvalidated_sessions: u64,
    tombstones: u64,
    receive_buffers: u64,
    replay_filter: u64,
}

impl Bound {
    pub(crate) fn total(&self) -> u64 {
        self.unvalidated_sessions + self.tombstones + self.receive_buffers + self.replay_filter
    }

    pub(crate) fn report(&self) -> Value {
        json!({
            "unvalidated_sessions": self.unvalidated_sessions,
            "tombstones": self.tombstones,
            "receive_buffers": self.receive_buffers,
            "replay_filter": self.replay_filter,
        })
    }
}

/// Prints the address and serves until the parent exits. For each line of input, prints the counters.
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

/// Prints the counters for each line from the parent, and exits the process when the parent exits.
fn answer_parent(stats: impl Fn() -> EndpointStats + Send + 'static) {
    std::thread::spawn(move || {
        // Ends when the parent exits, which closes the pipe.
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

/// A stream of connections for tonic whose listener's statistics can still be read.
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
        // Ctrl-C must not end the server too: this process still needs its counters.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let stdin = child
            .stdin
            .take()
            .ok_or("the server's standard input is not piped")?;
        let stdout = child
            .stdout
            .take()
            .ok_or("the server's standard output is not piped")?;
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

    /// The counters of the server's listener.
    pub(crate) fn counters(&mut self) -> Result<Value, AnyError> {
        writeln!(self.stdin)?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> Result<i64, AnyError> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages = statm
            .split_whitespace()
            .nth(1)
            .ok_or("statm lacks the resident size")?;
        Ok(pages.parse::<i64>()? * 4096)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const PASSWORD: &str = "attack";

/// Limit of the memory of a session of which only the first packet has arrived, in bytes. The default limit of
/// 512 such sessions thus bounds a flood of first packets at 4 MiB.
const SESSION: u64 = 8 << 10;

/// Bytes per socket: 65 536 ids and ends of closed sessions.
const TOMBSTONES: u64 = 5 << 20;

/// Bytes per socket: 32 receive buffers of coalesced packets.
const RECEIVE_BUFFERS: u64 = 32 * (64 << 10);

/// Bytes per listener, independent of the number of its sockets.
const REPLAY_FILTER: u64 = 23_000_000;
