//! Our gRPC server.

use std::net::SocketAddr;
use std::pin::Pin;

use kcp_examples::greeter::Greeter;
use kcp_examples::greeter::proto::greeter_server::GreeterServer;
use kcp_tonic::KcpIncoming;
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::proto::echo_server::{Echo, EchoServer};
use super::proto::{EchoRequest, EchoResponse};
use super::{SEPARATOR, STREAM_REPLIES, numbered};
use crate::Failure;
use crate::case::Case;
use crate::run::listen_addr;

/// Starts the greeter and the echo service. Returns the server's address, and its task in a set that aborts it
/// when dropped.
///
/// # Errors
///
/// If the options are not supported, or the socket cannot be bound.
pub async fn serve(
    case: &Case,
) -> Result<(SocketAddr, JoinSet<Result<(), tonic::transport::Error>>), Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let incoming = KcpIncoming::builder(&security)
        .config(&config)
        .bind(listen_addr(case))
        .await
        .map_err(Failure::Setup)?;
    let addr = incoming.local_addr().map_err(Failure::Setup)?;
    let mut serving = JoinSet::new();
    serving.spawn(
        kcp_tonic::server_builder()
            .add_service(GreeterServer::new(Greeter))
            .add_service(EchoServer::new(EchoService))
            .serve_with_incoming(incoming),
    );
    Ok((addr, serving))
}

/// Sends the same replies as the grpc-go peer, so that the same checks apply to both.
struct EchoService;

type Replies = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for EchoService {
    async fn unary_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        Ok(Response::new(echo(request.into_inner())))
    }

    type ServerStreamingEchoStream = Replies;

    async fn server_streaming_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<Replies>, Status> {
        let EchoRequest { message } = request.into_inner();
        let replies = (0..STREAM_REPLIES).map(move |index| {
            Ok(EchoResponse {
                message: numbered(&message, index),
            })
        });
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    async fn client_streaming_echo(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        let mut requests = request.into_inner();
        let mut messages = Vec::new();
        while let Some(request) = requests.message().await? {
            messages.push(request.message);
        }
        Ok(Response::new(EchoResponse {
            message: messages.join(SEPARATOR),
        }))
    }

    type BidirectionalStreamingEchoStream = Replies;

    async fn bidirectional_streaming_echo(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let replies = request.into_inner().map(|request| request.map(echo));
        Ok(Response::new(Box::pin(replies)))
    }
}

fn echo(request: EchoRequest) -> EchoResponse {
    EchoResponse {
        message: request.message,
    }
}
