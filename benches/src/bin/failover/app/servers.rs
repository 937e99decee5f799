//! The servers: processes in a namespace of their own.

use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use kcp_interop::grpc::proto::echo_server::{Echo, EchoServer};
use kcp_interop::grpc::proto::{EchoRequest, EchoResponse};
use kcp_tonic::KcpIncoming;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::Error;
use super::rows::{config, security};

/// Options of a server's process.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ServerOptions {
    /// Runs a server: `kcp` or `tcp`.
    #[arg(long, hide = true)]
    pub(super) serve: Option<String>,
    #[arg(long, hide = true, default_value = "127.0.0.1:0")]
    addr: SocketAddr,
    /// How long a call takes, in milliseconds.
    #[arg(long, hide = true, default_value_t = 0)]
    work: u64,
}

pub(super) const SERVERS: usize = 5;

/// The processes.
pub(super) struct Servers {
    protocol: &'static str,
    namespace: String,
    pub(super) addresses: Vec<SocketAddr>,
    work: Vec<u64>,
    children: Vec<Child>,
}

impl Servers {
    /// Starts them at an address of a namespace; `at` has both.
    pub(super) async fn start(
        protocol: &'static str,
        at: &[String],
        work: impl Fn(usize) -> u64,
    ) -> Result<Self, Error> {
        let [namespace, ip] = at else {
            return Err("--row needs --at".into());
        };
        let any = SocketAddr::new(ip.parse()?, 0);
        let mut servers = Self {
            protocol,
            namespace: namespace.clone(),
            addresses: Vec::new(),
            work: (0..SERVERS).map(work).collect(),
            children: Vec::new(),
        };
        for at in 0..SERVERS {
            let (child, addr) = servers.spawn(at, any).await?;
            servers.children.push(child);
            servers.addresses.push(addr);
        }
        Ok(servers)
    }

    async fn spawn(&self, at: usize, addr: SocketAddr) -> Result<(Child, SocketAddr), Error> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .arg(std::env::current_exe()?)
            .args(["--serve", self.protocol, "--addr", &addr.to_string()])
            .args(["--work", &self.work[at].to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the output is a pipe")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let line = line.ok_or("a server has ended")?;
        Ok((child, line.parse()?))
    }

    pub(super) async fn kill(&mut self, at: usize) -> Result<(), Error> {
        Ok(self.children[at].kill().await?)
    }

    pub(super) async fn restart(&mut self, at: usize) -> Result<(), Error> {
        self.children[at] = self.spawn(at, self.addresses[at]).await?.0;
        Ok(())
    }
}

/// A server, until its process is killed or the process that has started it has ended.
pub(super) async fn serve(options: &ServerOptions) -> Result<(), Error> {
    let (mut stdin, mut nowhere) = (tokio::io::stdin(), tokio::io::sink());
    tokio::select! {
        served = run(options) => served,
        _ = tokio::io::copy(&mut stdin, &mut nowhere) => Ok(()),
    }
}

async fn run(options: &ServerOptions) -> Result<(), Error> {
    let work = Duration::from_millis(options.work);
    let echo = EchoServer::new(Worker { work });
    if options.serve.as_deref() == Some("tcp") {
        let listener = tokio::net::TcpListener::bind(options.addr).await?;
        println!("{}", listener.local_addr()?);
        let incoming = TcpListenerStream::new(listener);
        Server::builder()
            .add_service(echo)
            .serve_with_incoming(incoming)
            .await?;
        return Ok(());
    }
    let incoming = KcpIncoming::builder(&security()?)
        .config(&config()?)
        .bind(options.addr)
        .await?;
    println!("{}", incoming.local_addr()?);
    let router = kcp_tonic::server_builder().add_service(echo);
    kcp_tonic::serve(incoming, router).await?;
    Ok(())
}

struct Worker {
    work: Duration,
}

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Echo for Worker {
    async fn unary_echo(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<EchoResponse>, Status> {
        if !self.work.is_zero() {
            sleep(self.work).await;
        }
        let message = request.into_inner().message;
        Ok(Response::new(EchoResponse { message }))
    }

    type ServerStreamingEchoStream = Answers;

    async fn server_streaming_echo(
        &self,
        _request: Request<EchoRequest>,
    ) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented("see unary_echo"))
    }

    async fn client_streaming_echo(
        &self,
        _request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("see unary_echo"))
    }

    type BidirectionalStreamingEchoStream = Answers;

    async fn bidirectional_streaming_echo(
        &self,
        _request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented("see unary_echo"))
    }
}
