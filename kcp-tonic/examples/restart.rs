//! A server that replaces another within a program, without a call that fails.
//!
//! cargo run -p kcp-tonic --example restart

use std::sync::Arc;

use helloworld::greeter_client::GreeterClient;
use helloworld::greeter_server::{Greeter, GreeterServer};
use helloworld::{HelloReply, HelloRequest};
use kcp_tonic::{Failure, KcpChannel, KcpIncoming, Security, serve, server_builder};
use tokio::sync::{Barrier, oneshot};
use tonic::{Request, Response, Result};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod helloworld {
    include!("generated/helloworld.rs");
}

/// The name of a version, and where slow calls wait twice: when they have begun, and before they end.
struct Hello(&'static str, Arc<Barrier>);

#[tonic::async_trait]
impl Greeter for Hello {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>> {
        if request.into_inner().name == "slow" {
            self.1.wait().await;
            self.1.wait().await;
        }
        let message = format!("answered by the {} version", self.0);
        Ok(Response::new(HelloReply { message }))
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let incoming = KcpIncoming::bind("127.0.0.1:0", &Security::Plaintext).await?;
    let uri = format!("kcp://{}", incoming.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let calls = Arc::new(Barrier::new(2));
    let router = |version| {
        let service = GreeterServer::new(Hello(version, Arc::clone(&calls)));
        server_builder().add_service(service)
    };
    let old = serve(incoming.clone(), router("old"))
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let old = tokio::spawn(old.into_future());
    // A call that no server has begun is sent again.
    let channel = KcpChannel::builder(&Security::Plaintext).failure(Failure::failtry());
    let mut client = GreeterClient::new(channel.connect_list([uri])?);
    let mut other = client.clone();
    let request = |name: &str| HelloRequest { name: name.into() };
    let slow = request("slow");
    let slow = tokio::spawn(async move { other.say_hello(slow).await });
    calls.wait().await;

    // The new server accepts from the same socket before the old one stops: no client is refused.
    tokio::spawn(serve(incoming, router("new")).into_future());
    drop(stop);
    // A call that has begun is answered by the old server.
    calls.wait().await;
    println!("{}", slow.await??.into_inner().message);
    old.await??;
    let reply = client.say_hello(request("fast")).await?;
    println!("{}", reply.into_inner().message);
    Ok(())
}
