//! A call to all servers: broadcast, fork, and inform.
//!
//! cargo run -p kcp-tonic --example broadcast

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, Server, loopback};
use kcp_tonic::{KcpChannel, Security};
use tonic::Request;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    let mut servers = Vec::new();
    for number in 0..3 {
        let delay = Duration::from_millis(20 * number);
        servers.push(Server::start(loopback(), delay).await?);
    }
    let channel =
        KcpChannel::builder(&Security::Plaintext).connect_list(servers.iter().map(Server::uri))?;

    // The call to one of the servers. A timeout belongs to each call.
    let call = |one: KcpChannel| async move {
        let name = "all".to_owned();
        let mut request = Request::new(HelloRequest { name });
        request.set_timeout(Duration::from_secs(10));
        GreeterClient::new(one).say_hello(request).await
    };

    println!("broadcast, all must succeed:");
    for receipt in channel.broadcast(call).await? {
        println!("  {}", receipt.result.into_inner().message);
    }

    println!("fork, the first one counts:");
    let first = channel.fork(call).await?;
    println!("  {}", first.result.into_inner().message);

    println!("inform, with one server stopped:");
    servers.pop();
    for receipt in channel.inform(call).await? {
        match receipt.result {
            Ok(reply) => println!("  {}", reply.into_inner().message),
            Err(status) => println!("  {}: {}", receipt.endpoint.uri(), status.message()),
        }
    }
    Ok(())
}
