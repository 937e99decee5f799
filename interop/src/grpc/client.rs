//! Our gRPC client.

use std::net::SocketAddr;

use kcp_examples::greeter::proto::HelloRequest;
use kcp_examples::greeter::proto::greeter_client::GreeterClient;
use kcp_tonic::KcpChannel;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::proto::EchoRequest;
use super::proto::echo_client::EchoClient;
use super::{SEPARATOR, STREAM_REPLIES, numbered};
use crate::Failure;
use crate::case::{CallKind, Case};

/// Calls the greeter, makes the echo calls of one kind, and checks every reply.
///
/// # Errors
///
/// If the options are not supported, the client cannot connect, a call fails, or a reply is wrong.
pub async fn call(case: &Case, server: SocketAddr, kind: CallKind) -> Result<(), Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let channel = KcpChannel::builder(&security)
        .config(&config)
        .connect(format!("kcp://{server}"))
        .await?;
    greet(channel.clone()).await?;
    let client = EchoClient::new(channel);
    match kind {
        CallKind::Unary => unary(client).await,
        CallKind::ServerStream => server_stream(client).await,
        CallKind::ClientStream => client_stream(client).await,
        CallKind::Bidi => bidi(client).await,
    }
}

async fn greet(channel: KcpChannel) -> Result<(), Failure> {
    let name = "interop".to_owned();
    let reply = GreeterClient::new(channel)
        .say_hello(HelloRequest { name })
        .await
        .map_err(Failure::call("SayHello"))?
        .into_inner();
    same("Hello interop", reply.message.trim_end_matches('!'))
}

async fn unary(mut client: EchoClient<KcpChannel>) -> Result<(), Failure> {
    for message in [String::new(), "one".to_owned(), large()] {
        let reply = client
            .unary_echo(request(&message))
            .await
            .map_err(Failure::call("UnaryEcho"))?;
        same(&message, &reply.into_inner().message)?;
    }
    Ok(())
}

async fn server_stream(mut client: EchoClient<KcpChannel>) -> Result<(), Failure> {
    const CALL: &str = "ServerStreamingEcho";
    let replies = client.server_streaming_echo(request("message")).await;
    let mut replies = replies.map_err(Failure::call(CALL))?.into_inner();
    let mut count = 0;
    while let Some(reply) = replies.message().await.map_err(Failure::call(CALL))? {
        same(&numbered("message", count), &reply.message)?;
        count += 1;
    }
    same(&STREAM_REPLIES.to_string(), &count.to_string())
}

async fn client_stream(mut client: EchoClient<KcpChannel>) -> Result<(), Failure> {
    let messages: Vec<String> = (0..MESSAGES).map(|index| format!("part-{index}")).collect();
    let requests: Vec<EchoRequest> = messages.iter().map(|message| request(message)).collect();
    let reply = client
        .client_streaming_echo(tokio_stream::iter(requests))
        .await
        .map_err(Failure::call("ClientStreamingEcho"))?;
    same(&messages.join(SEPARATOR), &reply.into_inner().message)
}

/// Sends each request after the reply to the previous one, so that both directions are open at the same time.
async fn bidi(mut client: EchoClient<KcpChannel>) -> Result<(), Failure> {
    const CALL: &str = "BidirectionalStreamingEcho";
    let mut messages: Vec<String> = (0..MESSAGES).map(|index| format!("ping-{index}")).collect();
    messages.push(large());
    let mut requests = messages.iter().map(|message| request(message));
    let (sender, receiver) = mpsc::channel(1);
    // grpc-go sends its headers with the first reply, so the first request must be queued before the call.
    // Errors of sending are ignored here and below: the status of the call is checked.
    let _ = sender.send(requests.next().unwrap_or_default()).await;
    let replies = client
        .bidirectional_streaming_echo(ReceiverStream::new(receiver))
        .await;
    let mut replies = replies.map_err(Failure::call(CALL))?.into_inner();
    let mut sender = Some(sender);
    for message in &messages {
        match replies.message().await.map_err(Failure::call(CALL))? {
            Some(reply) => same(message, &reply.message)?,
            None => return Err(Failure::Wrong(format!("{CALL} ended early"))),
        }
        match (requests.next(), &sender) {
            (Some(next), Some(open)) => drop(open.send(next).await),
            // The end of the requests ends the call.
            _ => sender = None,
        }
    }
    match replies.message().await.map_err(Failure::call(CALL))? {
        Some(_) => Err(Failure::Wrong(format!("{CALL} sent a reply too many"))),
        None => Ok(()),
    }
}

fn request(message: &str) -> EchoRequest {
    EchoRequest {
        message: message.to_owned(),
    }
}

fn same(expected: &str, given: &str) -> Result<(), Failure> {
    if given == expected {
        return Ok(());
    }
    let shown = |text: &str| -> String { text.chars().take(40).collect() };
    Err(Failure::Wrong(format!(
        "reply is {:?} ({} bytes), expected {:?} ({} bytes)",
        shown(given),
        given.len(),
        shown(expected),
        expected.len(),
    )))
}

/// A message above HTTP/2's initial flow-control window, so that it needs WINDOW_UPDATEs. The length of the
/// repeated pattern divides no buffer size, so that moved bytes are detected.
fn large() -> String {
    "0123456789abcdefghijklmnopqrstuvwxyz-"
        .chars()
        .cycle()
        .take(100 << 10)
        .collect()
}

/// Number of messages of a client-streaming or bidirectional call.
const MESSAGES: usize = 10;
