//! Idle channels.

use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use kcp_interop::grpc::proto::echo_client::EchoClient;

use crate::process::Usage;
use crate::server::Server;
use crate::{AnyError, request};

/// Measure memory and processor time of channels that have made one call each and are idle.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of channels, each with a connection and a socket of its own.
    #[arg(long, default_value_t = 10_000)]
    channels: usize,
    /// Seconds over which processor time is measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

pub(crate) async fn run(options: &Options) -> Result<(), AnyError> {
    let server = Server::start()?;
    let open = || async {
        let mut client = EchoClient::new(server.connect().await?);
        client.unary_echo(request("a")).await?;
        Ok::<_, AnyError>(client)
    };
    // Excludes memory that does not depend on the number of channels.
    let _first = open().await?;
    let before = (Usage::of("self")?, server.usage()?);
    let opening = stream::iter(0..options.channels).map(|_| open());
    let mut clients: Vec<_> = opening.buffer_unordered(50).try_collect().await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let after = (Usage::of("self")?, server.usage()?);
    let time = Duration::from_secs(options.seconds);
    tokio::time::sleep(time).await;
    let end = (Usage::of("self")?, server.usage()?);
    let channels = options.channels.max(1);
    for (name, before, after, end) in [
        ("client", before.0, after.0, end.0),
        ("server", before.1, after.1, end.1),
    ] {
        println!(
            "{name}: {} bytes for each of {channels} idle channels, {:.2} % of a core",
            after.grown(&before) / channels,
            100.0 * end.load(&after, time)
        );
    }
    // All of them still work.
    for client in &mut clients {
        client.unary_echo(request("b")).await?;
    }
    Ok(())
}
