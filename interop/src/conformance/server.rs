//! Our server of the test service.

use std::net::SocketAddr;
use std::pin::Pin;

use kcp_tonic::KcpIncoming;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::messages::{len_of, payload};
use super::proto::test_service_server::{TestService, TestServiceServer};
use super::proto::{
    EchoStatus, Empty, ResponseParameters, SimpleRequest, SimpleResponse,
    StreamingInputCallRequest, StreamingInputCallResponse, StreamingOutputCallRequest,
    StreamingOutputCallResponse,
};
use super::tls::Identities;
use super::trailers::EchoMetadataLayer;
use crate::Failure;
use crate::case::Case;
use crate::run::listen_addr;

/// Starts the test service. Returns the server's address, and its task in a set that aborts it when dropped.
///
/// # Errors
///
/// If the options are not supported, or the socket cannot be bound.
pub async fn serve(
    case: &Case,
    identities: Option<&Identities>,
) -> Result<(SocketAddr, JoinSet<Result<(), tonic::transport::Error>>), Failure> {
    let security = case.security().map_err(Failure::Unsupported)?;
    let config = case.config().map_err(Failure::Unsupported)?;
    let incoming = KcpIncoming::builder(&security)
        .config(&config)
        .bind(listen_addr(case))
        .await
        .map_err(Failure::Setup)?;
    let addr = incoming.local_addr().map_err(Failure::Setup)?;
    let mut builder = kcp_tonic::server_builder();
    if let Some(identities) = identities {
        builder = builder.tls_config(identities.server())?;
    }
    let mut serving = JoinSet::new();
    serving.spawn(
        builder
            .layer(EchoMetadataLayer)
            .add_service(TestServiceServer::new(Service))
            .serve_with_incoming(incoming),
    );
    Ok((addr, serving))
}

struct Service;

type Replies =
    Pin<Box<dyn Stream<Item = Result<StreamingOutputCallResponse, Status>> + Send + 'static>>;

#[tonic::async_trait]
impl TestService for Service {
    async fn empty_call(&self, _request: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }

    async fn unary_call(
        &self,
        request: Request<SimpleRequest>,
    ) -> Result<Response<SimpleResponse>, Status> {
        let request = request.into_inner();
        check(request.response_status)?;
        Ok(Response::new(SimpleResponse {
            payload: Some(payload(size(request.response_size)?)),
        }))
    }

    type StreamingOutputCallStream = Replies;

    async fn streaming_output_call(
        &self,
        request: Request<StreamingOutputCallRequest>,
    ) -> Result<Response<Replies>, Status> {
        let request = request.into_inner();
        check(request.response_status)?;
        let replies = request.response_parameters.into_iter().map(reply);
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    async fn streaming_input_call(
        &self,
        request: Request<Streaming<StreamingInputCallRequest>>,
    ) -> Result<Response<StreamingInputCallResponse>, Status> {
        let mut requests = request.into_inner();
        let mut total = 0;
        while let Some(request) = requests.message().await? {
            total += len_of(request.payload.as_ref());
        }
        let total = i32::try_from(total).map_err(|_| Status::out_of_range("more than 2 GiB"))?;
        Ok(Response::new(StreamingInputCallResponse {
            aggregated_payload_size: total,
        }))
    }

    type FullDuplexCallStream = Replies;

    async fn full_duplex_call(
        &self,
        request: Request<Streaming<StreamingOutputCallRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let mut requests = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            // Sending fails once the call has been cancelled.
            loop {
                let replies = match requests.message().await {
                    Ok(Some(request)) => replies(request),
                    Ok(None) => return,
                    Err(status) => vec![Err(status)],
                };
                for reply in replies {
                    let ends = reply.is_err();
                    if sender.send(reply).await.is_err() || ends {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn unimplemented_call(
        &self,
        _request: Request<Empty>,
    ) -> Result<Response<Empty>, Status> {
        Err(Status::unimplemented("the cases expect this"))
    }
}

/// The error that a request asks for.
fn check(requested: Option<EchoStatus>) -> Result<(), Status> {
    match requested {
        Some(EchoStatus { code, message }) if code != 0 => Err(Status::new(code.into(), message)),
        _ => Ok(()),
    }
}

fn replies(
    request: StreamingOutputCallRequest,
) -> Vec<Result<StreamingOutputCallResponse, Status>> {
    match check(request.response_status) {
        Ok(()) => request.response_parameters.into_iter().map(reply).collect(),
        Err(status) => vec![Err(status)],
    }
}

fn reply(parameters: ResponseParameters) -> Result<StreamingOutputCallResponse, Status> {
    Ok(StreamingOutputCallResponse {
        payload: Some(payload(size(parameters.size)?)),
    })
}

fn size(requested: i32) -> Result<usize, Status> {
    usize::try_from(requested).map_err(|_| Status::invalid_argument("the size is negative"))
}
