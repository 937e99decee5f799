//! What the tests of this crate share: a greeter, a server and a line that can be cut.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use kcp_tonic::{
    Config, FecRatio, KcpChannel, KcpChannelBuilder, KcpIncoming, KcpIncomingBuilder, KcpListener,
    KcpRequestExt, Security, Transport,
};
use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod helloworld {
    include!("../generated/helloworld.rs");
}

#[path = "../../../kcp-tower/tests/support/network.rs"]
pub mod network;

use network::{Host, Network};

use helloworld::greeter_client::GreeterClient;
use helloworld::greeter_server::{Greeter, GreeterServer};
use helloworld::{HelloReply, HelloRequest};

/// One way to run the transport.
#[derive(Clone)]
pub struct Setup {
    pub security: Security,
    pub config: Config,
}

impl Setup {
    pub fn plaintext() -> Self {
        Self {
            security: Security::Plaintext,
            config: Config::default(),
        }
    }

    /// Everything switched on: AES-128-GCM and 3 parity packets for 10.
    pub fn sealed() -> Self {
        Self {
            security: Security::from_password("aes-128-gcm", "secret", b"salt").unwrap(),
            config: Config::builder()
                .fec(FecRatio::new(10, 3).unwrap())
                .build()
                .unwrap(),
        }
    }

    /// With time-outs short enough for a test that waits for them.
    pub fn impatient() -> Self {
        Self {
            security: Security::Plaintext,
            config: Config::builder()
                .connect_timeout(Duration::from_millis(500))
                .keepalive(Duration::from_millis(200))
                .user_timeout(Duration::from_millis(500))
                .idle_timeout(Duration::from_millis(1000))
                .linger(Duration::from_millis(200))
                .build()
                .unwrap(),
        }
    }

    pub fn connecting(&self) -> KcpChannelBuilder {
        KcpChannel::builder(&self.security).config(&self.config)
    }

    /// Channels whose connections each have a host of a network in memory.
    pub fn connecting_in(&self, network: &Network) -> KcpChannelBuilder {
        let network = network.clone();
        let host = move |_| Ok(network.host() as Arc<dyn Transport>);
        self.connecting().connector(|it| it.transport(host))
    }

    pub fn listening(&self) -> KcpIncomingBuilder {
        KcpIncoming::builder(&self.security).config(&self.config)
    }

    pub async fn incoming(&self, addr: SocketAddr) -> io::Result<KcpIncoming> {
        self.listening().bind(addr).await
    }

    /// A listener on a host of a network in memory.
    pub fn incoming_on(&self, host: Arc<Host>) -> KcpIncoming {
        self.listening().on_transport(host).unwrap()
    }

    /// A greeter on a port of its own, until the runtime ends.
    pub async fn serve(&self, greeter: Hello) -> SocketAddr {
        let incoming = self.incoming(loopback()).await.unwrap();
        let addr = incoming.local_addr().unwrap();
        tokio::spawn(serve(incoming, greeter));
        addr
    }

    pub async fn channel(&self, addr: SocketAddr) -> KcpChannel {
        let connecting = self.connecting().connect(format!("kcp://{addr}"));
        connecting.await.unwrap()
    }

    pub async fn client(&self, addr: SocketAddr) -> GreeterClient<KcpChannel> {
        GreeterClient::new(self.channel(addr).await)
    }
}

pub async fn serve(incoming: KcpIncoming, greeter: Hello) {
    let router = kcp_tonic::server_builder().add_service(GreeterServer::new(greeter));
    kcp_tonic::serve(incoming, router).await.unwrap();
}

pub fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// The time of a test, which is virtual if it is paused.
#[allow(clippy::disallowed_methods, reason = "tests measure their own time")]
pub fn now() -> Instant {
    Instant::now()
}

/// A port of the system's choice at which nothing listens any more.
pub async fn deaf_addr() -> SocketAddr {
    KcpListener::bind(loopback(), &Security::Plaintext)
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

pub fn hello(name: impl Into<String>) -> HelloRequest {
    HelloRequest { name: name.into() }
}

fn reply(message: impl Into<String>) -> HelloReply {
    HelloReply {
        message: message.into(),
    }
}

/// Greets. Some names have a meaning:
///
/// - "addr": the answer is the caller's address.
/// - "server name": the answer is the server's name; a stuck server notifies `waiting` and never answers,
///   and notifies `cancelled` when the call is cancelled.
/// - "timeout": the answer is the header `grpc-timeout`.
/// - "unavailable": the answer is this error, and `waiting` is notified.
/// - "stats": the answer is how much the connection has read.
/// - "certificates": the answer is how many certificates the caller has shown, and the length of the
///   first.
/// - "panic": the handler panics.
/// - "wait": the answer never comes; `waiting` is notified.
/// - "flood": answers of 16 KiB without an end.
/// - "hold": a stream of greetings that is not read and not answered.
#[derive(Clone, Default)]
pub struct Hello {
    pub waiting: Arc<Notify>,
    pub cancelled: Arc<Notify>,
    pub name: &'static str,
    pub stuck: bool,
}

impl Hello {
    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let message = match request.get_ref().name.as_str() {
            "addr" => {
                let info = request.kcp_connect_info().unwrap();
                assert_eq!(request.local_addr(), info.local_addr());
                assert_eq!(request.remote_addr(), Some(info.peer_addr()));
                info.peer_addr().to_string()
            }
            "stats" => {
                let stats = request.kcp_connect_info().unwrap().stats();
                stats.bytes_read.to_string()
            }
            "server name" if self.stuck => {
                let _cancelled = NotifyOnDrop(Arc::clone(&self.cancelled));
                self.waiting.notify_one();
                std::future::pending().await
            }
            "server name" => self.name.to_owned(),
            "timeout" => {
                let timeout = request.metadata().get("grpc-timeout");
                timeout.map_or("none", |it| it.to_str().unwrap()).to_owned()
            }
            "unavailable" => {
                self.waiting.notify_one();
                return Err(Status::unavailable(self.name));
            }
            #[cfg(feature = "tls-ring")]
            "certificates" => match request.kcp_peer_certs() {
                Some(shown) => format!("{} of {}", shown.len(), shown[0].len()),
                None => "none".to_owned(),
            },
            "panic" => panic!("a handler that panics on request"),
            "wait" => {
                self.waiting.notify_one();
                std::future::pending().await
            }
            name => format!("Hello {name}!"),
        };
        Ok(Response::new(reply(message)))
    }

    type LotsOfRepliesStream = Replies;

    /// Ten thousand answers; "wait" sends one and then nothing, "flood" sends them without an end.
    async fn lots_of_replies(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<Replies>, Status> {
        let name = request.into_inner().name;
        let replies: Replies = if name == "wait" {
            Box::pin(stream::iter([Ok(reply(name))]).chain(stream::pending()))
        } else if name == "flood" {
            Box::pin(stream::repeat_with(|| Ok(reply("x".repeat(16 << 10)))))
        } else {
            let numbered = (0..10_000).map(move |i| Ok(reply(format!("{name} {i}"))));
            Box::pin(stream::iter(numbered))
        };
        Ok(Response::new(replies))
    }

    /// The answer is the length of all names together. After "hold" nothing is read.
    async fn lots_of_greetings(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<HelloReply>, Status> {
        let mut greetings = request.into_inner();
        let mut bytes = 0;
        while let Some(greeting) = greetings.message().await? {
            if greeting.name == "hold" {
                std::future::pending::<()>().await;
            }
            bytes += greeting.name.len();
        }
        Ok(Response::new(reply(bytes.to_string())))
    }

    type BidiHelloStream = Replies;

    async fn bidi_hello(
        &self,
        request: Request<Streaming<HelloRequest>>,
    ) -> Result<Response<Replies>, Status> {
        let replies = request
            .into_inner()
            .map(|greeting| greeting.map(|greeting| reply(greeting.name)));
        Ok(Response::new(Box::pin(replies)))
    }
}

/// A server in a runtime of its own, which can be killed like a process.
pub struct Process {
    runtime: Runtime,
}

impl Process {
    pub async fn start(setup: &Setup, addr: SocketAddr, greeter: Hello) -> (Self, SocketAddr) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let setup = setup.clone();
        let bound = runtime.spawn(async move {
            let incoming = setup.incoming(addr).await.unwrap();
            let addr = incoming.local_addr().unwrap();
            tokio::spawn(serve(incoming, greeter));
            addr
        });
        let addr = bound.await.unwrap();
        (Self { runtime }, addr)
    }

    /// Ends everything at once. When it returns, the socket is closed.
    pub async fn kill(self) {
        let runtime = self.runtime;
        tokio::task::spawn_blocking(move || drop(runtime))
            .await
            .unwrap();
    }
}

/// A line between one client and a server, which can be cut: then packets vanish both ways.
pub struct Line {
    pub addr: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Line {
    pub async fn to(server: SocketAddr) -> Self {
        let (near, far) = (udp().await, udp().await);
        far.connect(server).await.unwrap();
        let line = Self {
            addr: near.local_addr().unwrap(),
            cut: Arc::default(),
        };
        tokio::spawn(carry(near, far, Arc::clone(&line.cut)));
        line
    }

    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }
}

async fn carry(near: UdpSocket, far: UdpSocket, cut: Arc<AtomicBool>) {
    let (mut there, mut back) = ([0; 65536], [0; 65536]);
    let mut client = None;
    loop {
        tokio::select! {
            received = near.recv_from(&mut there) => {
                let (len, from) = received.unwrap();
                client = Some(from);
                if !cut.load(Ordering::Relaxed) {
                    far.send(&there[..len]).await.unwrap();
                }
            }
            received = far.recv(&mut back) => {
                let len = received.unwrap();
                if let Some(client) = client.filter(|_| !cut.load(Ordering::Relaxed)) {
                    near.send_to(&back[..len], client).await.unwrap();
                }
            }
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the line is the network, not the transport"
)]
async fn udp() -> UdpSocket {
    UdpSocket::bind(loopback()).await.unwrap()
}
