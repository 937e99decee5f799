//! A greeter on servers that come and go while it is called.
//!
//! cargo run -p kcp-tonic --example balanced

#[path = "common/mod.rs"]
mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, SAY_HELLO, Server, loopback};
use kcp_tonic::balance::{Change, Endpoint};
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
        let endpoint = Endpoint::parse(server.uri())?;
        changes.send(Ok::<_, Error>(Change::Insert(number, endpoint)))?;
        servers.push(server);
    }
    report("three servers", &greet(&mut client).await?);

    // Killed, while discovery still lists it: calls go to other servers.
    drop(servers.remove(0));
    report("one was killed", &greet(&mut client).await?);

    // Started again, at another address, which the discovery announces under the same key.
    let server = Server::start(loopback(), Duration::ZERO).await?;
    changes.send(Ok(Change::Insert(0, Endpoint::parse(server.uri())?)))?;
    servers.push(server);
    report("it is back", &greet(&mut client).await?);

    // Taken out of the set: calls in flight end, and there are no new ones.
    changes.send(Ok(Change::Remove(1)))?;
    while channel.endpoints().len() > 2 {
        tokio::task::yield_now().await;
    }
    report("one was removed", &greet(&mut client).await?);
    Ok(())
}

/// Sixty calls; counts the answers by what stands in them.
async fn greet(client: &mut GreeterClient<KcpChannel>) -> Result<BTreeMap<String, u32>, Error> {
    let mut answers = BTreeMap::new();
    for _ in 0..60 {
        let name = "world".to_owned();
        let reply = client.say_hello(HelloRequest { name }).await?.into_inner();
        *answers.entry(reply.message).or_default() += 1;
    }
    Ok(answers)
}

fn report(when: &str, answers: &BTreeMap<String, u32>) {
    println!("{when}:");
    for (answer, count) in answers {
        println!("  {count:2} times {answer}");
    }
}
