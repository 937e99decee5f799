//! tonic over KCP and over TCP as subjects, and the service that the lab calls.
//!
//! The service is the echo service of grpc-go's examples, which the Go peers have too. A message begins with the length
//! of its answer in eight digits.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use kcp_interop::grpc::proto::echo_client::EchoClient;
use kcp_interop::grpc::proto::echo_server::{Echo, EchoServer};
use kcp_interop::grpc::proto::{EchoRequest, EchoResponse};
use kcp_tonic::{KcpChannel, KcpIncoming};
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::settings::Settings;
use super::{Ready, TcpControl, kcp, tcp};

/// A client's connection.
#[derive(Clone)]
pub(crate) enum Client {
    Kcp(EchoClient<KcpChannel>),
    Tcp(EchoClient<Channel>),
}

impl Client {
    pub(crate) async fn connect_kcp(server: &Ready, settings: &Settings) -> io::Result<Self> {
        let channel = KcpChannel::builder(&kcp::security()?)
            .config(&settings.config()?)
            .connect(format!("kcp://{}", server.listening))
            .await
            .map_err(io::Error::other)?;
        Ok(Self::Kcp(EchoClient::new(channel)))
    }

    pub(crate) async fn connect_tcp(server: &Ready) -> io::Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{}", server.listening))
            .map_err(io::Error::other)?
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(io::Error::other)?;
        Ok(Self::Tcp(EchoClient::new(channel)))
    }

    /// Sends a request of `request` bytes and waits for an answer of `answer` bytes.
    pub(crate) async fn call(&mut self, request: usize, answer: usize) -> io::Result<()> {
        let filling = request.saturating_sub(DIGITS);
        let message = format!("{answer:08}{}", "a".repeat(filling));
        let mut request = Request::new(EchoRequest { message });
        request.set_timeout(CALL_TIMEOUT);
        let reply = match self {
            Self::Kcp(client) => client.unary_echo(request).await,
            Self::Tcp(client) => client.unary_echo(request).await,
        };
        let reply = reply.map_err(io::Error::other)?.into_inner();
        if reply.message.len() == answer {
            Ok(())
        } else {
            Err(io::Error::other("the answer has the wrong length"))
        }
    }
}

pub(crate) async fn serve_kcp(
    addr: SocketAddr,
    settings: &Settings,
    ready: impl FnOnce(Ready) -> io::Result<()>,
) -> io::Result<()> {
    let incoming = KcpIncoming::builder(&kcp::security()?)
        .config(&settings.config()?)
        .bind(addr)
        .await?;
    ready(Ready::at(incoming.local_addr()?))?;
    kcp_tonic::server_builder()
        .add_service(EchoServer::new(Service))
        .serve_with_incoming(incoming)
        .await
        .map_err(io::Error::other)
}

pub(crate) async fn serve_tcp(
    addr: SocketAddr,
    ready: impl FnOnce(Ready) -> io::Result<()>,
) -> io::Result<()> {
    let listener = tcp::listen(addr, TcpControl::Cubic)?;
    ready(Ready::at(listener.local_addr()?))?;
    Server::builder()
        .tcp_nodelay(true)
        .add_service(EchoServer::new(Service))
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await
        .map_err(io::Error::other)
}

struct Service;

type Replies = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Service {
    async fn unary_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        let message = request.into_inner().message;
        let length = message.get(..DIGITS).and_then(|digits| digits.parse().ok());
        let length: usize = length
            .ok_or_else(|| Status::invalid_argument("the message does not begin with a length"))?;
        let message = "b".repeat(length);
        Ok(Response::new(EchoResponse { message }))
    }

    type ServerStreamingEchoStream = Replies;

    async fn server_streaming_echo(
        &self,
        _: Request<EchoRequest>,
    ) -> Result<Response<Replies>, Status> {
        Err(Status::unimplemented("the lab makes only unary calls"))
    }

    async fn client_streaming_echo(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("the lab makes only unary calls"))
    }

    type BidirectionalStreamingEchoStream = Replies;

    async fn bidirectional_streaming_echo(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Replies>, Status> {
        Err(Status::unimplemented("the lab makes only unary calls"))
    }
}

/// Number of digits of the length.
const DIGITS: usize = 8;

/// Time-out of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
