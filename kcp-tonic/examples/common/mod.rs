//! A greeter for the examples. It can be slow, and it can be stopped as abruptly as a killed process.
#![allow(dead_code, reason = "not every example uses everything")]

#[cfg(feature = "tls-ring")]
pub(crate) mod certificates;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use kcp_tonic::balance::Endpoint;
use kcp_tonic::{KcpChannel, KcpIncoming, Security, serve, server_builder};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub(crate) mod helloworld {
    include!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/generated/helloworld.rs"
    ));
}

use helloworld::greeter_client::GreeterClient;
use helloworld::greeter_server::Greeter;
pub(crate) use helloworld::greeter_server::GreeterServer as Service;
use helloworld::{HelloReply, HelloRequest};

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The path of the method that the examples call.
pub(crate) const SAY_HELLO: &str = "/helloworld.Greeter/SayHello";

/// A server that runs until it is dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// Starts a server on an address; one with port 0 gets a free one.
    pub(crate) async fn start(addr: SocketAddr, delay: Duration) -> Result<Self, Error> {
        let incoming = KcpIncoming::bind(addr, &Security::Plaintext).await?;
        let addr = incoming.local_addr()?;
        let router = server_builder().add_service(greeter(addr, delay));
        let task = tokio::spawn(serve(incoming, router).into_future());
        Ok(Self { addr, task })
    }

    pub(crate) fn uri(&self) -> String {
        format!("kcp://{}", self.addr)
    }

    /// What a client must know of it.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Error> {
        Ok(Endpoint::parse(self.uri())?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One call; returns the answer.
pub(crate) async fn greet(client: &mut GreeterClient<KcpChannel>) -> Result<String, Error> {
    let name = "world".to_owned();
    let reply = client.say_hello(HelloRequest { name }).await?;
    Ok(reply.into_inner().message)
}

/// Sixty calls; counts each answer.
pub(crate) async fn tally(
    client: &mut GreeterClient<KcpChannel>,
) -> Result<BTreeMap<String, u32>, Error> {
    let mut answers = BTreeMap::new();
    for _ in 0..60 {
        *answers.entry(greet(client).await?).or_default() += 1;
    }
    Ok(answers)
}

/// The service of a server, without the server.
pub(crate) fn greeter(addr: SocketAddr, delay: Duration) -> Service<Hello> {
    Service::new(Hello { addr, delay })
}

/// Any free port of this machine.
pub(crate) fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Greets after a delay, and names the address of its server.
pub(crate) struct Hello {
    addr: SocketAddr,
    delay: Duration,
}

type Replies = tokio_stream::Empty<Result<HelloReply, Status>>;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        tokio::time::sleep(self.delay).await;
        let name = request.into_inner().name;
        let message = format!("Hello {name}, this is {}", self.addr);
        Ok(Response::new(HelloReply { message }))
    }

    type LotsOfRepliesStream = Replies;

    async fn lots_of_replies(
        &self,
        _request: Request<HelloRequest>,
    ) -> Result<Response<Replies>, Status> {
        Err(Status::unimplemented("see say_hello"))
    }

    async fn lots_of_greetings(
        &self,
        _request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        Err(Status::unimplemented("see say_hello"))
    }

    type BidiHelloStream = Replies;

    async fn bidi_hello(
        &self,
        _request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Replies>, Status> {
        Err(Status::unimplemented("see say_hello"))
    }
}
