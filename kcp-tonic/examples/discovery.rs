//! Servers that are listed in a file, which is read again when it changes.
//!
//! cargo run -p kcp-tonic --example discovery

#[path = "common/mod.rs"]
mod common;

use std::fs;
use std::time::Duration;

use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, Server, loopback};
use kcp_tonic::balance::Discovery;
use kcp_tonic::{KcpChannel, Security, Selection};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    let first = Server::start(loopback(), Duration::ZERO).await?;
    let second = Server::start(loopback(), Duration::ZERO).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("servers");
    fs::write(&file, format!("# a server on each line\n{}\n", first.uri()))?;

    // DNS and etcd are other discoveries; any stream of changes is one too.
    let discovery = Discovery::file(&file, Duration::from_millis(20));
    let channel = KcpChannel::builder(&Security::Plaintext)
        .selection(Selection::WeightedRoundRobin)
        .connect_discover(discovery);
    call(&channel, 1).await?;

    // Of four calls, three go to the server with the weight 3. The file is replaced, not overwritten:
    // one that is half written would be an error, which leaves the servers as they are.
    let next = folder.path().join("next");
    let servers = format!("{} weight=3\n{} weight=1\n", first.uri(), second.uri());
    fs::write(&next, servers)?;
    fs::rename(&next, &file)?;
    call(&channel, 2).await
}

/// Waits for so many servers and makes some calls.
async fn call(channel: &KcpChannel, servers: usize) -> Result<(), Error> {
    while channel.endpoints().len() < servers {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut client = GreeterClient::new(channel.clone());
    for _ in 0..4 {
        let name = "world".to_owned();
        let reply = client.say_hello(HelloRequest { name }).await?;
        println!("{}", reply.into_inner().message);
    }
    Ok(())
}
