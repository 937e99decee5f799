//! Rate at which connections open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use kcp_examples::report::{Latencies, milliseconds};
use kcp_transport::net::{KcpEndpoint, KcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::AnyError;
use crate::server::{Server, security};

/// Measure how many connections can be opened and closed per second.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of connections.
    #[arg(long, default_value_t = 50_000)]
    connections: usize,
    /// Number of connections that open concurrently.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    /// Local sockets of the connections.
    #[arg(long, value_enum, default_value = "endpoint")]
    from: From,
    /// Echo one byte over each connection before closing it.
    #[arg(long)]
    echo: bool,
}

/// Local sockets of the connections.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// One socket for all connections.
    Endpoint,
    /// One socket per connection.
    Sockets,
}

pub(crate) async fn run(options: &Options) -> Result<(), AnyError> {
    let server = Server::start()?;
    let endpoint = match options.from {
        From::Endpoint => Some(KcpEndpoint::bind("127.0.0.1:0", &security()?).await?),
        From::Sockets => None,
    };
    let endpoint = Arc::new(endpoint);
    // Warm-up: validates the clients' network and grows buffers.
    open_many(&endpoint, server.addr, 1000, options).await?;
    let started = Instant::now();
    let times = open_many(&endpoint, server.addr, options.connections, options).await?;
    let elapsed = started.elapsed();
    let rate = options.connections as f64 / elapsed.as_secs_f64();
    let times = Latencies::new(times);
    let [p50, p99] = [50, 99].map(|percent| milliseconds(times.percentile_us(percent)));
    println!("{rate:.0} connections/s, p50 {p50}, p99 {p99}");
    Ok(())
}

async fn open_many(
    endpoint: &Arc<Option<KcpEndpoint>>,
    server: SocketAddr,
    count: usize,
    options: &Options,
) -> Result<Vec<Duration>, AnyError> {
    let left = Arc::new(AtomicUsize::new(count));
    let mut opening = JoinSet::new();
    for _ in 0..options.at_once {
        let (endpoint, left, echo) = (Arc::clone(endpoint), Arc::clone(&left), options.echo);
        opening.spawn(async move {
            let mut times = Vec::new();
            while take_one(&left) {
                let started = Instant::now();
                let mut stream = match &*endpoint {
                    Some(endpoint) => endpoint.connect(server).await?,
                    None => KcpStream::connect(server, &security()?).await?,
                };
                if echo {
                    stream.write_all(&[1]).await?;
                    stream.flush().await?;
                    stream.read_u8().await?;
                }
                times.push(started.elapsed());
            }
            Ok::<_, AnyError>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = opening.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

/// Takes one from the counter. Returns false if it was 0.
pub(crate) fn take_one(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        left.checked_sub(1)
    })
    .is_ok()
}
