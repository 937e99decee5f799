//! The server process.

use std::future::pending;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use kcp_interop::grpc::proto::echo_server::{Echo, EchoServer};
use kcp_interop::grpc::proto::{EchoRequest, EchoResponse};
use kcp_tonic::{KcpChannel, KcpChannelBuilder, KcpIncoming, Security, serve as serve_kcp};
use tonic::{Request, Response, Status, Streaming};

use crate::AnyError;
use crate::process::Usage;

fn security() -> Result<Security, AnyError> {
    Ok(Security::from_password("aes-128-gcm", "secret", b"salt")?)
}

/// Prints the address and serves until the parent exits.
pub(crate) async fn serve() -> Result<(), AnyError> {
    let incoming = KcpIncoming::bind((Ipv4Addr::LOCALHOST, 0), &security()?).await?;
    println!("{}", incoming.local_addr()?);
    std::thread::spawn(|| {
        // Ends when the parent exits, which closes the pipe.
        let _ = std::io::stdin().lines().count();
        std::process::exit(0);
    });
    let router = incoming
        .server_builder()
        .add_service(EchoServer::new(Worker::default()));
    Ok(serve_kcp(incoming, router).await?)
}

/// The handle of a server process.
pub(crate) struct Server {
    child: Child,
    addr: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Result<Self, AnyError> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the output is not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let addr = line.trim().parse()?;
        Ok(Self { child, addr })
    }

    pub(crate) fn usage(&self) -> Result<Usage, AnyError> {
        Usage::of(self.child.id())
    }

    pub(crate) fn uri(&self) -> String {
        format!("kcp://{}", self.addr)
    }

    pub(crate) fn connecting() -> Result<KcpChannelBuilder, AnyError> {
        Ok(KcpChannel::builder(&security()?))
    }

    pub(crate) async fn connect(&self) -> Result<KcpChannel, AnyError> {
        Ok(Self::connecting()?.connect(self.uri()).await?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Echoes. Unary: `wait` never gets an answer, and `handlers` gets the number of open calls. A server
/// stream has messages of 64 KiB without an end; a client stream gets the number of its bytes.
#[derive(Default)]
struct Worker {
    open: Arc<()>,
}

impl Worker {
    /// Open calls, without the one that asks.
    fn handlers(&self) -> usize {
        Arc::strong_count(&self.open) - 2
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

/// A stream of answers that counts as an open call.
fn counted(
    open: Arc<()>,
    answers: impl Stream<Item = Result<EchoResponse, Status>> + Send + 'static,
) -> Response<Answers> {
    Response::new(Box::pin(answers.inspect(move |_| {
        let _ = &open;
    })))
}

fn response(message: String) -> EchoResponse {
    EchoResponse { message }
}

#[tonic::async_trait]
impl Echo for Worker {
    async fn unary_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        let _open = Arc::clone(&self.open);
        let message = match request.into_inner().message.as_str() {
            "wait" => pending().await,
            "handlers" => self.handlers().to_string(),
            message => message.to_owned(),
        };
        Ok(Response::new(response(message)))
    }

    type ServerStreamingEchoStream = Answers;

    async fn server_streaming_echo(
        &self,
        _request: Request<EchoRequest>,
    ) -> Result<Response<Answers>, Status> {
        let piece = || Ok(response("x".repeat(64 << 10)));
        let answers = stream::repeat_with(piece);
        Ok(counted(Arc::clone(&self.open), answers))
    }

    async fn client_streaming_echo(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        let _open = Arc::clone(&self.open);
        let (mut requests, mut bytes) = (request.into_inner(), 0);
        while let Some(request) = requests.message().await? {
            bytes += request.message.len();
        }
        Ok(Response::new(response(bytes.to_string())))
    }

    type BidirectionalStreamingEchoStream = Answers;

    async fn bidirectional_streaming_echo(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let requests = request.into_inner();
        let answers = requests.map(|request| request.map(|it| response(it.message)));
        Ok(counted(Arc::clone(&self.open), answers))
    }
}
