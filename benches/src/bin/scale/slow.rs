//! A long stream with a slow reader.

use std::time::{Duration, Instant};

use clap::Args;
use kcp_interop::grpc::proto::echo_client::EchoClient;

use crate::process::Usage;
use crate::server::Server;
use crate::{AnyError, request};

/// Read a server stream slowly, and measure the most memory that both sides use.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Bytes of the stream.
    #[arg(long, default_value_t = 1 << 30)]
    bytes: usize,
    /// Bytes that are read in a second; the server sends as fast as it may.
    #[arg(long, default_value_t = 16 << 20)]
    rate: usize,
}

pub(crate) async fn run(options: &Options) -> Result<(), AnyError> {
    let server = Server::start()?;
    let mut client = EchoClient::new(server.connect().await?);
    client.unary_echo(request("a")).await?;
    let before = (Usage::of("self")?, server.usage()?);
    let mut most = (0, 0);
    let begin = Instant::now();
    let mut responses = client
        .server_streaming_echo(request(""))
        .await?
        .into_inner();
    let (mut read, mut measured) = (0, 0);
    while read < options.bytes {
        let response = responses.message().await?.ok_or("the stream has ended")?;
        read += response.message.len();
        if read - measured >= 1 << 20 {
            measured = read;
            most.0 = most.0.max(Usage::of("self")?.grown(&before.0));
            most.1 = most.1.max(server.usage()?.grown(&before.1));
            let due = Duration::from_secs_f64(read as f64 / options.rate as f64);
            tokio::time::sleep(due.saturating_sub(begin.elapsed())).await;
        }
    }
    println!(
        "{read} bytes read in {:.1} s; at most {} KiB more memory at the client and {} KiB at the server",
        begin.elapsed().as_secs_f64(),
        most.0 >> 10,
        most.1 >> 10
    );
    Ok(())
}
