//! Many streams on one connection.

use std::time::Instant;

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use kcp_interop::grpc::proto::echo_client::EchoClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::process::Usage;
use crate::server::Server;
use crate::{AnyError, request};

/// Open bidirectional streams on one connection, and send messages over each in turn.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Number of streams.
    #[arg(long, default_value_t = 1000)]
    streams: usize,
    /// Messages over each, after the first one.
    #[arg(long, default_value_t = 100)]
    messages: usize,
}

pub(crate) async fn run(options: &Options) -> Result<(), AnyError> {
    let server = Server::start()?;
    let channel = server.connect().await?;
    EchoClient::new(channel.clone())
        .unary_echo(request("a"))
        .await?;
    let before = (Usage::of("self")?, server.usage()?);
    let open = || async {
        let (sender, requests) = mpsc::unbounded_channel();
        sender.send(request("first"))?;
        let requests = UnboundedReceiverStream::new(requests);
        let mut client = EchoClient::new(channel.clone());
        let responses = client.bidirectional_streaming_echo(requests).await?;
        let mut responses = responses.into_inner();
        responses.message().await?.ok_or("the stream has ended")?;
        Ok::<_, AnyError>((sender, responses))
    };
    let opening = stream::iter(0..options.streams).map(|_| open());
    let streams: Vec<_> = opening.buffer_unordered(100).try_collect().await?;
    let after = (Usage::of("self")?, server.usage()?);
    let begin = Instant::now();
    let talks = streams
        .into_iter()
        .map(|(sender, mut responses)| async move {
            for _ in 0..options.messages {
                sender.send(request("x".repeat(100)))?;
                responses.message().await?.ok_or("the stream has ended")?;
            }
            drop(sender);
            let end = responses.message().await?;
            end.is_none().then_some(()).ok_or("one message too many")?;
            Ok::<_, AnyError>(())
        });
    futures_util::future::try_join_all(talks).await?;
    let messages = options.streams * options.messages;
    let took = begin.elapsed().as_secs_f64();
    println!(
        "{} streams on {} connection, {:.0} messages of 100 bytes a second echoed",
        options.streams,
        channel.connections().len(),
        messages as f64 / took
    );
    for (name, before, after) in [("client", before.0, after.0), ("server", before.1, after.1)] {
        let each = after.grown(&before) / options.streams.max(1);
        println!("{name}: {each} bytes for each stream");
    }
    Ok(())
}
