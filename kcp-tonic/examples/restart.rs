//! A server that replaces another within a program, without a call that fails.
//!
//! cargo run -p kcp-tonic --example restart

use helloworld::greeter_server::{Greeter, GreeterServer};
use helloworld::{HelloReply, HelloRequest, greeter_client::GreeterClient};
use kcp_tonic::{Failure, KcpChannel, KcpIncoming, Security, serve, server_builder};
use std::sync::Arc;
use tokio::sync::{Barrier, oneshot};
use tonic::{Request, Response, Result};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod helloworld {
    include!("generated/helloworld.rs");
}

/// The name of a version, and where slow calls wait when they have begun and before they end.
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

async fn call(mut client: GreeterClient<KcpChannel>, name: &'static str) -> Result<String> {
    let request = HelloRequest { name: name.into() };
    Ok(client.say_hello(request).await?.into_inner().message)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let incoming = KcpIncoming::bind("127.0.0.1:0", &Security::Plaintext).await?;
    let uri = format!("kcp://{}", incoming.local_addr()?);
    let (stop, stopped) = oneshot::channel();
    let calls = Arc::new(Barrier::new(2));
    let hello = |version| GreeterServer::new(Hello(version, Arc::clone(&calls)));
    let old = serve(incoming.clone(), server_builder().add_service(hello("old")))
        .with_graceful_shutdown(async { stopped.await.unwrap_or(()) });
    let old = tokio::spawn(old.into_future());
    let channel = KcpChannel::builder(&Security::Plaintext).failure(Failure::failtry());
    let client = GreeterClient::new(channel.connect_list([uri])?);
    let slow = tokio::spawn(call(client.clone(), "slow"));
    calls.wait().await;
    // No client is refused: the new server accepts from the same socket before the old one stops.
    let new = server_builder().add_service(hello("new"));
    tokio::spawn(serve(incoming, new).into_future());
    drop(stop);
    println!("{}", tokio::join!(slow, calls.wait()).0??);
    old.await??;
    println!("{}", call(client, "fast").await?);
    Ok(())
}
