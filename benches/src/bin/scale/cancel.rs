//! Calls that are given up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use futures_util::stream;
use kcp_interop::grpc::proto::echo_client::EchoClient;
use kcp_tonic::KcpChannel;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};

use crate::process::Usage;
use crate::server::Server;
use crate::{AnyError, request};

/// Make calls of all kinds that end by their answer, their deadline or their drop at random times, and
/// count what is left of them.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of calls of each round.
    #[arg(long, default_value_t = 100_000)]
    calls: u64,
    /// Calls at a time.
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    /// Longest time of a call, in milliseconds.
    #[arg(long, default_value_t = 50)]
    longest: u64,
}

pub(crate) async fn run(options: &Options) -> Result<(), AnyError> {
    let server = Server::start()?;
    let channel = server.connect().await?;
    let random = Sequence(AtomicU64::new(1));
    let failed = Arc::new(AtomicU64::new(0));
    println!(
        "| round | open calls | open handlers | connections | failed | client KiB | server KiB |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    // The first round grows what is kept for reuse.
    for round in 1..=3 {
        let mut running = JoinSet::new();
        for _ in 0..options.calls {
            let (kind, after) = (random.below(30), random.below(options.longest));
            let (channel, failed) = (channel.clone(), Arc::clone(&failed));
            running.spawn(async move {
                if let Err(status) = short_call(channel, kind, after).await {
                    failed.fetch_add(1, Ordering::Relaxed);
                    eprintln!("{status}");
                }
            });
            if running.len() >= options.at_once {
                running.join_next().await;
            }
        }
        running.join_all().await;
        // Resets arrive, and what HTTP/2 remembers of reset streams is forgotten.
        sleep(Duration::from_secs(5)).await;
        let mut client = EchoClient::new(channel.clone());
        let handlers = client.unary_echo(request("handlers")).await?.into_inner();
        println!(
            "| {round} | {} | {} | {} | {} | {} | {} |",
            channel.stats().open,
            handlers.message,
            channel.connections().len(),
            failed.load(Ordering::Relaxed),
            Usage::of("self")?.resident >> 10,
            server.usage()?.resident >> 10
        );
    }
    Ok(())
}

/// One call that ends in one of several ways. An end by the deadline or by being dropped is no error.
async fn short_call(channel: KcpChannel, kind: u64, after: u64) -> Result<(), Status> {
    let mut client = EchoClient::new(channel);
    let after = Duration::from_millis(after);
    let message = if kind.is_multiple_of(2) { "x" } else { "wait" };
    let mut call = Request::new(request(message));
    if kind.is_multiple_of(3) {
        call.set_timeout(after);
    }
    let call = async {
        match kind % 5 {
            0 => {
                let mut responses = client.server_streaming_echo(call).await?.into_inner();
                while responses.message().await?.is_some() {}
            }
            1 => {
                let requests = stream::repeat_with(|| request("x".repeat(1000)));
                client.client_streaming_echo(requests).await?;
            }
            _ => drop(client.unary_echo(call).await?),
        }
        Ok::<_, Status>(())
    };
    match timeout(after, call).await {
        // tonic's server ends a call at its deadline as cancelled.
        Ok(Err(status)) if matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled) => {
            Ok(())
        }
        Ok(result) => result,
        Err(_) => Ok(()),
    }
}

/// A sequence that looks random, the same in each run.
struct Sequence(AtomicU64);

impl Sequence {
    fn below(&self, limit: u64) -> u64 {
        let next = self.0.load(Ordering::Relaxed);
        let next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0.store(next, Ordering::Relaxed);
        (next >> 33) % limit.max(1)
    }
}
