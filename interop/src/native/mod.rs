//! Peers built on Rust crates, with the command line of the Go peers. The other crates have plain KCP only.
//!
//! `interop peer ikcp echo-server --help` lists the flags. Each peer is a process of its own, so that it can be killed
//! in any state.

mod ikcp;
mod kcp_tokio;
mod ours;
mod tokio_kcp;

use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::comparison::Comparison;
use crate::data;

/// Command line of a peer.
#[derive(Debug, Parser)]
pub struct Args {
    /// The implementation
    #[command(subcommand)]
    library: Library,
}

#[derive(Debug, Subcommand)]
enum Library {
    /// The C reference, bundled by the crate kcp-io
    Ikcp {
        #[command(subcommand)]
        role: Role,
    },
    /// The crate of this name
    #[command(name = "tokio_kcp")]
    TokioKcp {
        #[command(subcommand)]
        role: Role,
    },
    /// The crate of this name
    #[command(name = "kcp-tokio")]
    KcpTokio {
        #[command(subcommand)]
        role: Role,
    },
    /// Our own crate
    #[command(name = "kcp-transport")]
    Ours {
        #[command(subcommand)]
        role: Role,
    },
}

impl Library {
    fn check(&self) -> io::Result<()> {
        let (Self::Ikcp { role } | Self::TokioKcp { role } | Self::KcpTokio { role }) = self else {
            return Ok(());
        };
        let (Role::EchoServer { options, .. } | Role::EchoClient { options, .. }) = role;
        if options.is_plain() {
            return Ok(());
        }
        let problem = "this implementation has neither ciphers nor FEC; allowed: --crypt null, without shards";
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Echo the data of the first session until standard input closes
    EchoServer {
        #[command(flatten)]
        options: Options,
        /// UDP address to serve
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    /// Send bytes to an echo server and check the echo
    EchoClient {
        #[command(flatten)]
        options: Options,
        #[command(flatten)]
        plan: EchoPlan,
    },
}

/// Flags of all roles, the same as those of the Go peers.
#[derive(Clone, Debug, clap::Args)]
struct Options {
    /// Cipher, by kcptun's name; only kcp-transport has others than null
    #[arg(long, default_value = "null")]
    crypt: String,
    /// Password from which the cipher's key is derived
    #[arg(long, default_value = "")]
    key: String,
    /// normal, fast, fast2 or fast3
    #[arg(long, default_value = "fast", value_parser = ["normal", "fast", "fast2", "fast3"])]
    mode: String,
    /// Largest UDP payload in bytes
    #[arg(long, default_value_t = 1400)]
    mtu: u16,
    /// Send window in segments
    #[arg(long, default_value_t = 1024)]
    sndwnd: u16,
    /// Receive window in segments
    #[arg(long, default_value_t = 1024)]
    rcvwnd: u16,
    /// Data packets in a FEC group; only kcp-transport has FEC
    #[arg(long, default_value_t = 0)]
    datashard: u16,
    /// Parity packets in a FEC group
    #[arg(long, default_value_t = 0)]
    parityshard: u16,
    /// Stream mode; if false, each write is a message
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    stream: bool,
    /// Send an empty message before each message
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    empty: bool,
}

impl Options {
    /// Whether the options select plain KCP.
    fn is_plain(&self) -> bool {
        self.crypt == "null" && self.datashard == 0 && self.parityshard == 0
    }

    /// nodelay, and the interval in milliseconds, of kcptun's modes. All modes have fast retransmission after 2
    /// duplicate acks and no congestion window.
    fn timing(&self) -> (bool, u16) {
        match self.mode.as_str() {
            "normal" => (false, 40),
            "fast" => (false, 30),
            "fast2" => (true, 20),
            _ => (true, 10),
        }
    }

    fn mss(&self) -> usize {
        usize::from(self.mtu).saturating_sub(SEGMENT_HEADER).max(1)
    }
}

/// Options of an echo client.
#[derive(Clone, Debug, clap::Args)]
struct EchoPlan {
    /// UDP address of the echo server
    #[arg(long)]
    connect: SocketAddr,
    /// Bytes to send
    #[arg(long, default_value_t = 1 << 20)]
    bytes: usize,
    /// Bytes per write
    #[arg(long, default_value_t = 4096)]
    message: usize,
    /// Seed of the bytes sent
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Whether each message must be echoed as one message
    #[arg(long, default_value_t = false, action = clap::ArgAction::Set)]
    boundaries: bool,
    /// Local UDP address
    #[arg(long)]
    bind: Option<SocketAddr>,
    /// Time limit of the run, in seconds
    #[arg(long, default_value_t = 60)]
    timeout: u64,
}

/// A session of another implementation.
trait Connection: Sized {
    /// The server's socket.
    type Listener;

    /// Opens a session.
    async fn connect(options: &Options, bind: SocketAddr, server: SocketAddr) -> io::Result<Self>;

    /// Binds a server's socket.
    async fn listen(
        options: &Options,
        addr: SocketAddr,
    ) -> io::Result<(Self::Listener, SocketAddr)>;

    /// Waits for the server's next session.
    async fn accept(listener: &mut Self::Listener) -> io::Result<Self>;

    /// Sends one message, or some bytes of the stream.
    async fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Receives the next message, or some bytes of the stream.
    async fn receive(&mut self) -> io::Result<Vec<u8>>;

    /// Shuts the session down, if the implementation can.
    async fn finish(self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a peer until it has finished.
///
/// # Errors
///
/// If the options are not supported, the peer fails, or the echo differs from the data.
pub fn run(args: Args) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    args.library.check()?;
    let result = match args.library {
        Library::Ikcp { role } => runtime.block_on(play::<ikcp::Session>(role)),
        Library::TokioKcp { role } => runtime.block_on(play::<tokio_kcp::Session>(role)),
        Library::KcpTokio { role } => runtime.block_on(play::<kcp_tokio::Session>(role)),
        Library::Ours { role } => runtime.block_on(play::<ours::Session>(role)),
    };
    // Tasks that the crates have left running end with the process.
    runtime.shutdown_background();
    result
}

async fn play<C: Connection>(role: Role) -> io::Result<()> {
    match role {
        Role::EchoServer { options, listen } => serve::<C>(&options, listen).await,
        Role::EchoClient { options, plan } => {
            let limit = Duration::from_secs(plan.timeout);
            let result = tokio::time::timeout(limit, exchange::<C>(&options, &plan)).await;
            let result = result.unwrap_or_else(|elapsed| Err(elapsed.into()));
            print_line(&Report::of(&result))?;
            result.map(drop)
        }
    }
}

async fn serve<C: Connection>(options: &Options, addr: SocketAddr) -> io::Result<()> {
    let (mut listener, listening) = C::listen(options, addr).await?;
    print_line(&Listening { listening })?;
    let (end, ended) = tokio::sync::oneshot::channel();
    // The standard input is closed when the parent process exits.
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let echoing = async {
        let mut connection = C::accept(&mut listener).await?;
        loop {
            let message = match connection.receive().await {
                Ok(message) => message,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    connection.finish().await?;
                    // The session stays open to acknowledge retransmissions.
                    return std::future::pending().await;
                }
                Err(error) => return Err(error),
            };
            if options.empty {
                connection.send(&[]).await?;
            }
            connection.send(&message).await?;
        }
    };
    tokio::select! {
        result = echoing => result,
        _ = ended => Ok(()),
    }
}

/// Sends the data, compares the echo and returns the digest.
///
/// One task sends and receives in turn. The data in flight always fits into our receive window, so that neither side
/// waits for the other to read.
async fn exchange<C: Connection>(options: &Options, plan: &EchoPlan) -> io::Result<String> {
    let bind = plan.bind.unwrap_or(match plan.connect {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    });
    let mut connection = C::connect(options, bind, plan.connect).await?;
    let data = data::bytes(plan.seed, plan.bytes);
    let room = (usize::from(options.rcvwnd) / 2).max(1) * options.mss();
    // A longer write would block: nothing reads the echo meanwhile.
    let longest = if options.stream { room } else { MAX_MESSAGE };
    let size = plan.message.clamp(1, longest);
    let messages: Vec<&[u8]> = data.chunks(size).collect();
    let mut comparison = Comparison::new(&data);
    let (mut sent, mut sent_bytes) = (0, 0);
    let mut received = 0;
    while comparison.left() > 0 {
        let received_bytes = data.len() - comparison.left();
        if let Some(message) = messages.get(sent) {
            let in_flight = sent_bytes - received_bytes;
            // A small message takes a whole segment.
            let crowded = (sent - received) >= usize::from(options.rcvwnd / 4);
            if in_flight == 0 || (!crowded && in_flight + message.len() <= room) {
                if options.empty {
                    connection.send(&[]).await?;
                }
                connection.send(message).await?;
                sent += 1;
                sent_bytes += message.len();
                continue;
            }
        }
        let message = connection.receive().await?;
        if message.is_empty() {
            continue;
        }
        comparison.update(&message);
        if plan.boundaries {
            let expected = messages.get(received).map_or(0, |message| message.len());
            if message.len() != expected {
                let got = message.len();
                return Err(io::Error::other(format!(
                    "message {received} has {expected} bytes, its echo {got}"
                )));
            }
            received += 1;
        } else {
            received = (data.len() - comparison.left()) / size;
        }
    }
    comparison.finish().map_err(io::Error::other)?;
    connection.finish().await?;
    Ok(data::sha256(&data))
}

/// The line that a server prints first.
#[derive(Serialize)]
struct Listening {
    listening: SocketAddr,
}

/// The line that a client prints.
#[derive(Serialize)]
struct Report {
    ok: bool,
    error: String,
    sha256: String,
}

impl Report {
    fn of(result: &io::Result<String>) -> Self {
        match result {
            Ok(sha256) => Self {
                ok: true,
                error: String::new(),
                sha256: sha256.clone(),
            },
            Err(error) => Self {
                ok: false,
                error: error.to_string(),
                sha256: String::new(),
            },
        }
    }
}

fn print_line(value: &impl Serialize) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", serde_json::to_string(value)?)?;
    stdout.flush()
}

/// Length of KCP's segment header, in bytes.
const SEGMENT_HEADER: usize = 24;

/// Upper bound of the length of a message, in bytes: 255 segments of 1500 bytes.
const MAX_MESSAGE: usize = 255 * 1500;
