//! The greeter server.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kcp_tonic::KcpServerIo;
use tokio::sync::oneshot;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::proto::greeter_server::{self, GreeterServer};
use super::proto::{HelloReply, HelloRequest};
use super::{Connections, GreeterError};

/// The greeter of gRPC's examples.
#[derive(Clone, Copy, Debug, Default)]
pub struct Greeter;

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl greeter_server::Greeter for Greeter {
    /// Replies "Hello NAME", like the greeters of gRPC's examples.
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        Ok(Response::new(greet(&request.into_inner())))
    }

    type SayHelloStreamReplyStream = Replies;

    /// Replies "Hello NAME" [`STREAM_REPLIES`] times.
    async fn say_hello_stream_reply(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<Replies>, Status> {
        let reply = greet(&request.into_inner());
        let replies = std::iter::repeat_n(Ok(reply), STREAM_REPLIES);
        Ok(Response::new(Box::pin(tokio_stream::iter(replies))))
    }

    type SayHelloBidiStreamStream = Replies;

    /// Replies "Hello NAME" to each request as it arrives.
    async fn say_hello_bidi_stream(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let requests = request.into_inner();
        let replies = requests.map(|request| request.map(|request| greet(&request)));
        Ok(Response::new(Box::pin(replies)))
    }
}

fn greet(request: &HelloRequest) -> HelloReply {
    HelloReply {
        message: format!("Hello {}", request.name),
    }
}

/// Serves the greeter until `stop` completes; calls in progress then have two seconds to finish.
/// `incoming` is a `KcpIncoming` or another stream of the same items. Returns the number of connections
/// accepted.
///
/// # Errors
///
/// Errors of tonic's server. A failure of the listener is not among them: tonic traces it, and the server
/// ends as if `stop` had completed.
pub async fn serve(
    incoming: impl Stream<Item = io::Result<KcpServerIo>>,
    connections: Option<Connections>,
    stop: impl Future<Output = ()>,
) -> Result<u64, GreeterError> {
    let accepted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&accepted);
    let incoming = incoming.map(move |accepted| {
        count.fetch_add(accepted.is_ok().into(), Ordering::Relaxed);
        if let (Some(connections), Ok(io)) = (&connections, &accepted) {
            connections.add(io.get_ref().info());
        }
        accepted
    });
    let (stopping, drain) = oneshot::channel();
    let serving = kcp_tonic::server_builder()
        .add_service(GreeterServer::new(Greeter))
        .serve_with_incoming_shutdown(incoming, async {
            stop.await;
            drop(stopping);
        });
    // A client that is gone would delay the shutdown until the next keepalive PING.
    let overdue = async {
        let _: Result<(), _> = drain.await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        ended = serving => ended?,
        () = overdue => {}
    }
    Ok(accepted.load(Ordering::Relaxed))
}

/// Number of replies to a server-streaming call.
pub const STREAM_REPLIES: usize = 10;

/// Time for calls in progress to finish after the stop request.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
