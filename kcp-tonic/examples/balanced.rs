//! A greeter on servers that come and go while it is called.
//!
//! cargo run -p kcp-tonic --example balanced

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::helloworld::greeter_client::GreeterClient;
use common::{Error, SAY_HELLO, Server, loopback, tally};
use kcp_tonic::balance::Change;
use kcp_tonic::{Failure, KcpChannel, Security, Selection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    // Anything that produces changes is a discovery. Here it is this function.
    let (changes, changed) = mpsc::unbounded_channel();
    let channel = KcpChannel::builder(&Security::Plaintext)
        .selection(Selection::LeastInFlight)
        .failure(Failure::failover())
        .idempotent([SAY_HELLO])
        .connect_discover(UnboundedReceiverStream::new(changed));
    let mut client = GreeterClient::new(channel.clone());

    let mut servers = Vec::new();
    for number in 0..3 {
        let server = Server::start(loopback(), Duration::ZERO).await?;
        changes.send(Ok::<_, Error>(Change::Insert(number, server.endpoint()?)))?;
        servers.push(server);
    }
    println!("three servers: {:#?}", tally(&mut client).await?);

    // Killed, while discovery still lists it: calls go to other servers.
    drop(servers.remove(0));
    println!("one was killed: {:#?}", tally(&mut client).await?);

    // Started again, at another address, which the discovery announces under the same key.
    let server = Server::start(loopback(), Duration::ZERO).await?;
    changes.send(Ok(Change::Insert(0, server.endpoint()?)))?;
    servers.push(server);
    println!("it is back: {:#?}", tally(&mut client).await?);

    // Taken out of the set: calls in flight end, and there are no new ones.
    changes.send(Ok(Change::Remove(1)))?;
    while channel.endpoints().len() > 2 {
        tokio::task::yield_now().await;
    }
    println!("one was removed: {:#?}", tally(&mut client).await?);
    Ok(())
}
