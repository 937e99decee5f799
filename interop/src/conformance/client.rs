//! Our client of the test service.

use std::net::SocketAddr;
use std::time::Duration;

use kcp_tonic::KcpChannel;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Request, Status};

use super::messages::{duplex, len_of, parameters, payload, unary, unknown};
use super::proto::test_service_client::TestServiceClient;
use super::proto::unimplemented_service_client::UnimplementedServiceClient;
use super::proto::{Empty, SimpleRequest, StreamingInputCallRequest, StreamingOutputCallRequest};
use super::tls::Identities;
use super::{ECHO_HEADER, ECHO_TRAILER};
use crate::Failure;
use crate::case::{Case, InteropCase};

type Client = TestServiceClient<KcpChannel>;

/// Runs one case against the server.
///
/// # Errors
///
/// If the options are not supported, the client cannot connect, or the case fails.
pub async fn call(
    case: &Case,
    server: SocketAddr,
    interop: InteropCase,
    identities: Option<&Identities>,
) -> Result<(), Failure> {
    let channel = connect(case, server, identities).await?;
    let client = TestServiceClient::new(channel.clone());
    match interop {
        InteropCase::EmptyUnary => empty_unary(client).await,
        InteropCase::LargeUnary => large_unary(client).await,
        InteropCase::ClientStreaming => client_streaming(client).await,
        InteropCase::ServerStreaming => server_streaming(client).await,
        InteropCase::PingPong => ping_pong(client).await,
        InteropCase::EmptyStream => empty_stream(client).await,
        InteropCase::TimeoutOnSleepingServer => timeout_on_sleeping_server(client).await,
        InteropCase::CancelAfterBegin => cancel_after_begin(client).await,
        InteropCase::CancelAfterFirstResponse => cancel_after_first_response(client).await,
        InteropCase::StatusCodeAndMessage => status(client, "test status message").await,
        InteropCase::SpecialStatusMessage => special_status_message(client).await,
        InteropCase::UnimplementedMethod => unimplemented_method(client).await,
        InteropCase::UnimplementedService => unimplemented_service(channel).await,
        InteropCase::CustomMetadata => custom_metadata(client).await,
        InteropCase::RpcSoak => {
            for _ in 0..SOAK_CALLS {
                large_unary(client.clone()).await?;
            }
            Ok(())
        }
        InteropCase::ChannelSoak => {
            for _ in 0..SOAK_CALLS {
                let channel = connect(case, server, identities).await?;
                large_unary(TestServiceClient::new(channel)).await?;
            }
            Ok(())
        }
    }
}

async fn connect(
    case: &Case,
    server: SocketAddr,
    identities: Option<&Identities>,
) -> Result<KcpChannel, Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let builder = KcpChannel::builder(&security).config(&config);
    Ok(match identities {
        Some(it) => {
            let builder = builder.tls_config(it.client());
            builder.connect(format!("kcps://{server}")).await?
        }
        None => builder.connect(format!("kcp://{server}")).await?,
    })
}

async fn empty_unary(mut client: Client) -> Result<(), Failure> {
    let reply = client.empty_call(Empty {}).await;
    reply.map_err(Failure::call("EmptyCall")).map(drop)
}

async fn large_unary(mut client: Client) -> Result<(), Failure> {
    let reply = client
        .unary_call(unary(LARGE_REQUEST, LARGE_RESPONSE))
        .await;
    let reply = reply.map_err(Failure::call("UnaryCall"))?.into_inner();
    same(
        "bytes of the reply",
        LARGE_RESPONSE,
        len_of(reply.payload.as_ref()),
    )
}

async fn client_streaming(mut client: Client) -> Result<(), Failure> {
    let requests = REQUESTS.map(|len| StreamingInputCallRequest {
        payload: Some(payload(len)),
    });
    let reply = client
        .streaming_input_call(tokio_stream::iter(requests))
        .await
        .map_err(Failure::call("StreamingInputCall"))?;
    let counted = reply.into_inner().aggregated_payload_size;
    let total: usize = REQUESTS.into_iter().sum();
    if usize::try_from(counted) == Ok(total) {
        Ok(())
    } else {
        Err(Failure::Wrong(format!(
            "{counted} bytes counted, expected {total}"
        )))
    }
}

async fn server_streaming(mut client: Client) -> Result<(), Failure> {
    const CALL: &str = "StreamingOutputCall";
    let request = StreamingOutputCallRequest {
        response_parameters: RESPONSES.map(parameters).into(),
        payload: None,
        response_status: None,
    };
    let replies = client.streaming_output_call(request).await;
    let mut replies = replies.map_err(Failure::call(CALL))?.into_inner();
    for size in RESPONSES {
        let reply = replies.message().await.map_err(Failure::call(CALL))?;
        let reply = reply.ok_or_else(|| ended(CALL))?;
        same("bytes of a reply", size, len_of(reply.payload.as_ref()))?;
    }
    match replies.message().await.map_err(Failure::call(CALL))? {
        Some(_) => Err(Failure::Wrong(format!("{CALL} sent a reply too many"))),
        None => Ok(()),
    }
}

async fn ping_pong(mut client: Client) -> Result<(), Failure> {
    const CALL: &str = "FullDuplexCall";
    let (sender, receiver) = mpsc::channel(1);
    let mut requests = REQUESTS.into_iter().zip(RESPONSES);
    // A server may send its headers with the first reply, so the first request is queued before the call. Errors
    // of sending are ignored here and below: the status of the call is checked.
    if let Some((request, response)) = requests.next() {
        let _ = sender.send(duplex(request, response)).await;
    }
    let replies = client.full_duplex_call(ReceiverStream::new(receiver)).await;
    let mut replies = replies.map_err(Failure::call(CALL))?.into_inner();
    let mut sender = Some(sender);
    for size in RESPONSES {
        let reply = replies.message().await.map_err(Failure::call(CALL))?;
        let reply = reply.ok_or_else(|| ended(CALL))?;
        same("bytes of a reply", size, len_of(reply.payload.as_ref()))?;
        match (requests.next(), &sender) {
            (Some((request, response)), Some(open)) => {
                drop(open.send(duplex(request, response)).await);
            }
            // The end of the requests ends the call.
            _ => sender = None,
        }
    }
    match replies.message().await.map_err(Failure::call(CALL))? {
        Some(_) => Err(Failure::Wrong(format!("{CALL} sent a reply too many"))),
        None => Ok(()),
    }
}

async fn empty_stream(mut client: Client) -> Result<(), Failure> {
    const CALL: &str = "FullDuplexCall";
    let replies = client.full_duplex_call(tokio_stream::empty()).await;
    let mut replies = replies.map_err(Failure::call(CALL))?.into_inner();
    match replies.message().await.map_err(Failure::call(CALL))? {
        Some(_) => Err(Failure::Wrong(format!("{CALL} sent a reply to no request"))),
        None => Ok(()),
    }
}

async fn timeout_on_sleeping_server(mut client: Client) -> Result<(), Failure> {
    // The stream of requests stays open, so that the server waits for more.
    let (sender, receiver) = mpsc::channel(1);
    let request = StreamingOutputCallRequest {
        payload: Some(payload(REQUESTS[0])),
        ..StreamingOutputCallRequest::default()
    };
    let _ = sender.send(request).await;
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.set_timeout(Duration::from_millis(1));
    let outcome = match client.full_duplex_call(request).await {
        Ok(replies) => replies.into_inner().message().await.map(drop),
        Err(status) => Err(status),
    };
    drop(sender);
    expect(Code::DeadlineExceeded, None, outcome)?;
    empty_unary(client).await
}

/// Dropping a call cancels it. The connection must stay usable.
async fn cancel_after_begin(mut client: Client) -> Result<(), Failure> {
    let (sender, receiver) = mpsc::channel::<StreamingInputCallRequest>(1);
    let mut cancelled = client.clone();
    let call = cancelled.streaming_input_call(ReceiverStream::new(receiver));
    let ended = tokio::time::timeout(BEGIN, call).await;
    if ended.is_ok() {
        return Err(Failure::Wrong(
            "the call ended before its requests".to_owned(),
        ));
    }
    // The client drops the requests of a call that is cancelled.
    sender.closed().await;
    let reply = client.empty_call(Empty {}).await;
    reply.map_err(Failure::call("EmptyCall")).map(drop)
}

/// As [`cancel_after_begin`], with a reply before the end.
async fn cancel_after_first_response(mut client: Client) -> Result<(), Failure> {
    const CALL: &str = "FullDuplexCall";
    let (sender, receiver) = mpsc::channel(1);
    let _ = sender.send(duplex(REQUESTS[0], RESPONSES[0])).await;
    let replies = client.full_duplex_call(ReceiverStream::new(receiver)).await;
    let mut replies = replies.map_err(Failure::call(CALL))?.into_inner();
    let reply = replies.message().await.map_err(Failure::call(CALL))?;
    let reply = reply.ok_or_else(|| ended(CALL))?;
    same(
        "bytes of the reply",
        RESPONSES[0],
        len_of(reply.payload.as_ref()),
    )?;
    // hyper resets a stream when both directions are dropped.
    drop((replies, sender));
    empty_unary(client).await
}

/// Requests an error with this message, in a unary call and in a stream.
async fn status(mut client: Client, message: &str) -> Result<(), Failure> {
    let request = SimpleRequest {
        response_status: Some(unknown(message)),
        ..SimpleRequest::default()
    };
    let outcome = client.unary_call(request).await.map(drop);
    expect(Code::Unknown, Some(message), outcome)?;
    let request = StreamingOutputCallRequest {
        response_status: Some(unknown(message)),
        ..StreamingOutputCallRequest::default()
    };
    let outcome = match client.full_duplex_call(tokio_stream::once(request)).await {
        Ok(replies) => replies.into_inner().message().await.map(drop),
        Err(status) => Err(status),
    };
    expect(Code::Unknown, Some(message), outcome)
}

async fn special_status_message(mut client: Client) -> Result<(), Failure> {
    let request = SimpleRequest {
        response_status: Some(unknown(SPECIAL)),
        ..SimpleRequest::default()
    };
    let outcome = client.unary_call(request).await.map(drop);
    expect(Code::Unknown, Some(SPECIAL), outcome)
}

async fn unimplemented_method(mut client: Client) -> Result<(), Failure> {
    let outcome = client.unimplemented_call(Empty {}).await.map(drop);
    expect(Code::Unimplemented, None, outcome)
}

async fn unimplemented_service(channel: KcpChannel) -> Result<(), Failure> {
    let mut client = UnimplementedServiceClient::new(channel);
    let outcome = client.unimplemented_call(Empty {}).await.map(drop);
    expect(Code::Unimplemented, None, outcome)
}

async fn custom_metadata(mut client: Client) -> Result<(), Failure> {
    let reply = client
        .unary_call(with_metadata(unary(LARGE_REQUEST, LARGE_RESPONSE)))
        .await
        .map_err(Failure::call("UnaryCall"))?;
    // tonic merges the trailers of a unary call into its metadata.
    check_header(reply.metadata())?;
    check_trailer(reply.metadata())?;

    const CALL: &str = "FullDuplexCall";
    let requests = tokio_stream::once(duplex(REQUESTS[0], RESPONSES[0]));
    let replies = client.full_duplex_call(with_metadata(requests)).await;
    let replies = replies.map_err(Failure::call(CALL))?;
    check_header(replies.metadata())?;
    let mut replies = replies.into_inner();
    while replies
        .message()
        .await
        .map_err(Failure::call(CALL))?
        .is_some()
    {}
    let trailers = replies.trailers().await.map_err(Failure::call(CALL))?;
    check_trailer(&trailers.unwrap_or_default())
}

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert(ECHO_HEADER, MetadataValue::from_static(HEADER_VALUE));
    metadata.insert_bin(ECHO_TRAILER, MetadataValue::from_bytes(TRAILER_VALUE));
    request
}

fn check_header(metadata: &MetadataMap) -> Result<(), Failure> {
    match metadata.get(ECHO_HEADER) {
        Some(value) if value == HEADER_VALUE => Ok(()),
        value => Err(Failure::Wrong(format!("{ECHO_HEADER} is {value:?}"))),
    }
}

fn check_trailer(metadata: &MetadataMap) -> Result<(), Failure> {
    match metadata.get_bin(ECHO_TRAILER) {
        Some(value) if value == TRAILER_VALUE => Ok(()),
        value => Err(Failure::Wrong(format!("{ECHO_TRAILER} is {value:?}"))),
    }
}

fn expect(code: Code, message: Option<&str>, outcome: Result<(), Status>) -> Result<(), Failure> {
    match outcome {
        Err(status) if status.code() == code => match message {
            Some(message) if status.message() != message => Err(Failure::Wrong(format!(
                "the message of the status is {:?}, expected {message:?}",
                status.message()
            ))),
            _ => Ok(()),
        },
        outcome => Err(Failure::Wrong(format!(
            "the outcome is {outcome:?}, expected {code:?}"
        ))),
    }
}

fn same(what: &str, expected: i32, given: usize) -> Result<(), Failure> {
    if usize::try_from(expected) == Ok(given) {
        Ok(())
    } else {
        Err(Failure::Wrong(format!(
            "{what}: {given}, expected {expected}"
        )))
    }
}

fn ended(call: &str) -> Failure {
    Failure::Wrong(format!("{call} ended early"))
}

/// Sizes of the specification, in bytes.
const LARGE_REQUEST: usize = 271_828;
const LARGE_RESPONSE: i32 = 314_159;
const REQUESTS: [usize; 4] = [27_182, 8, 1828, 45_904];
const RESPONSES: [i32; 4] = [31_415, 9, 2653, 58_979];

/// The message of `special_status_message`, by the specification.
const SPECIAL: &str =
    "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n";

/// Values of the specification.
const HEADER_VALUE: &str = "test_initial_metadata_value";
const TRAILER_VALUE: &[u8] = &[0xab, 0xab, 0xab];

/// The number of calls of a soak case, few enough for a cell of the matrix.
const SOAK_CALLS: usize = 10;

/// Time in which a call without requests begins, and must not end.
const BEGIN: Duration = Duration::from_millis(10);
