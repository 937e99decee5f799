//! Memory of idle client connections.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use clap::Args;
use kcp_transport::net::KcpStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::AnyError;
use crate::open::take_one;
use crate::server::{Server, security};

/// Measure the resident memory per idle connection, at several times after each connection has echoed
/// a burst.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of connections, each with a socket of its own.
    #[arg(long, default_value_t = 500)]
    connections: usize,
    /// Bytes that each connection echoes first.
    #[arg(long, default_value_t = 1_000_000)]
    burst: usize,
    /// Number of connections that send their bursts concurrently.
    #[arg(long, default_value_t = 50)]
    at_once: usize,
    /// Times at which to measure memory, in seconds after the bursts.
    #[arg(long, value_delimiter = ',', default_value = "0,10,60,600")]
    after: Vec<u64>,
}

pub(crate) async fn run(options: &Options) -> Result<(), AnyError> {
    let server = Server::start()?;
    let security = Arc::new(security()?);
    // Excludes memory that does not depend on the number of connections.
    let mut first = KcpStream::connect(server.addr, &security).await?;
    echo(&mut first, options.burst).await?;
    let before = resident()?;
    let left = Arc::new(AtomicUsize::new(options.connections));
    let mut opening = JoinSet::new();
    for _ in 0..options.at_once {
        let (left, security) = (Arc::clone(&left), Arc::clone(&security));
        let (addr, len) = (server.addr, options.burst);
        opening.spawn(async move {
            let mut streams = Vec::new();
            while take_one(&left) {
                let mut stream = KcpStream::connect(addr, &security).await?;
                echo(&mut stream, len).await?;
                streams.push(stream);
            }
            Ok::<_, AnyError>(streams)
        });
    }
    let mut streams = vec![first];
    while let Some(opened) = opening.join_next().await {
        streams.append(&mut opened??);
    }
    let started = Instant::now();
    println!("{:>10}  {:>22}", "seconds", "bytes per connection");
    for after in &options.after {
        tokio::time::sleep_until((started + Duration::from_secs(*after)).into()).await;
        let grown = resident()?.saturating_sub(before);
        println!("{after:>10}  {:>22}", grown / options.connections.max(1));
    }
    // Checks that all connections are still open.
    for mut stream in streams {
        echo(&mut stream, 100).await?;
    }
    Ok(())
}

/// Writes and reads concurrently.
async fn echo(stream: &mut KcpStream, len: usize) -> Result<(), AnyError> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        let mut left = len;
        while left > 0 {
            let piece = left.min(PIECE.len());
            writer.write_all(&PIECE[..piece]).await?;
            left -= piece;
        }
        writer.flush().await
    };
    let read = async {
        let mut left = len;
        // Small, since what the tasks of the command leave in the heap counts too.
        let mut echoed = [0; 512];
        while left > 0 {
            let most = left.min(echoed.len());
            left -= reader.read_exact(&mut echoed[..most]).await?;
        }
        std::io::Result::Ok(())
    };
    tokio::try_join!(write, read)?;
    Ok(())
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<usize, AnyError> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm
        .split_whitespace()
        .nth(1)
        .ok_or("statm lacks the resident size")?;
    Ok(pages.parse::<usize>()? * 4096)
}

/// The data of one write.
static PIECE: [u8; 16 << 10] = [7; 16 << 10];
