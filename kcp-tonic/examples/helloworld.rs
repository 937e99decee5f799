//! The greeter of tonic's examples, over KCP.
//!
//! cargo run -p kcp-tonic --example helloworld

use helloworld::greeter_client::GreeterClient;
use helloworld::greeter_server::{Greeter, GreeterServer};
use helloworld::{HelloReply, HelloRequest};
use kcp_tonic::{KcpChannel, KcpIncoming, Security, serve, server_builder};
use tonic::{Request, Response, Status};

/// Generated from `proto/helloworld.proto`. A program of your own has
/// `tonic_prost_build::compile_protos("proto/helloworld.proto")` in its build script, and here
/// `tonic::include_proto!("helloworld")`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod helloworld {
    include!("generated/helloworld.rs");
}

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn say_hello(
        &self,
        request: Request<HelloRequest>,
    ) -> Result<Response<HelloReply>, Status> {
        let message = format!("Hello {}!", request.into_inner().name);
        Ok(Response::new(HelloReply { message }))
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let security = Security::from_password("aes-128-gcm", "a password", Security::KCPTUN_SALT)?;
    let incoming = KcpIncoming::bind("127.0.0.1:0", &security).await?;
    let server = incoming.local_addr()?;
    let router = server_builder().add_service(GreeterServer::new(Hello));
    tokio::spawn(serve(incoming, router).into_future());

    let channel = KcpChannel::connect(format!("kcp://{server}"), &security).await?;
    let name = "world".to_owned();
    let reply = GreeterClient::new(channel)
        .say_hello(HelloRequest { name })
        .await?;
    println!("{}", reply.into_inner().message);
    Ok(())
}
