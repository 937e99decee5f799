//! A call without messages to a grpc-go server with its default policies, which end connections that
//! send pings too often. It takes more than three minutes:
//!
//! ```text
//! cargo test --workspace --test quiet_call -- --ignored
//! ```

mod support;

use std::time::Duration;

use kcp_interop::case::{CallKind, Case, Direction, Payload, Peer};
use kcp_interop::conformance::proto::test_service_client::TestServiceClient;
use kcp_interop::conformance::proto::{ResponseParameters, StreamingOutputCallRequest};
use kcp_interop::process::PeerServer;
use kcp_tonic::KcpChannel;
use tokio_stream::wrappers::ReceiverStream;

const CASE: Case = Case {
    cipher: "aes-128-gcm",
    payload: Payload::Grpc(CallKind::Bidi),
    ..Case::new(Peer::KcpGo, Direction::RustToPeer)
};

fn request() -> StreamingOutputCallRequest {
    let parameters = ResponseParameters {
        size: 1,
        ..ResponseParameters::default()
    };
    StreamingOutputCallRequest {
        response_parameters: vec![parameters],
        ..StreamingOutputCallRequest::default()
    }
}

#[tokio::test]
#[ignore = "takes more than three minutes"]
async fn quiet_call_to_a_grpc_go_server_without_options_lives_for_more_than_three_minutes() {
    let Some(programs) = support::peers("a quiet call to grpc-go") else {
        return;
    };
    let args = CASE.peer_args("grpc-interop-server");
    let server = PeerServer::start(programs.of(CASE.peer), &args)
        .await
        .expect("starts");
    let channel = KcpChannel::builder(&CASE.security().expect("known"))
        .connect(format!("kcp://{}", server.addr()))
        .await
        .expect("connects");
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    sender.send(request()).await.expect("there is room");
    let mut replies = TestServiceClient::new(channel)
        .full_duplex_call(ReceiverStream::new(requests))
        .await
        .expect("answers")
        .into_inner();
    assert!(replies.message().await.expect("no error").is_some());

    let early = tokio::time::timeout(QUIET, replies.message()).await;
    assert!(early.is_err(), "the call ended early: {early:?}");

    sender.send(request()).await.expect("the call is open");
    assert!(replies.message().await.expect("no error").is_some());
}

/// grpc-go ends a connection after three pings too many, which took less than two minutes with a ping
/// every 20 s.
const QUIET: Duration = Duration::from_secs(200);
