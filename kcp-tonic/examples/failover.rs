//! A call that goes to another server because the first one is down, and because it is slow.
//!
//! cargo run -p kcp-tonic --example failover

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, SAY_HELLO, Server, loopback};
use kcp_tonic::{Failure, KcpChannel, Security};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    let quick = Server::start(loopback(), Duration::ZERO).await?;
    let slow = Server::start(loopback(), Duration::from_secs(5)).await?;
    let gone = Server::start(loopback(), Duration::ZERO).await?.uri();

    // Failover: nothing listens at the first address, so the call goes to the next one.
    let channel = KcpChannel::builder(&Security::Plaintext)
        .failure(Failure::failover())
        .timeout(Duration::from_secs(30))
        .connect_list([gone, quick.uri()])?;
    call("failover", channel).await?;

    // Hedging: no answer within 50 ms, so the call goes to the second server as well. Both may
    // process it, so only methods that are declared idempotent are hedged.
    let channel = KcpChannel::builder(&Security::Plaintext)
        .failure(Failure::failbackup(Duration::from_millis(50)))
        .idempotent([SAY_HELLO])
        .connect_list([slow.uri(), quick.uri()])?;
    call("hedging", channel).await
}

async fn call(how: &str, channel: KcpChannel) -> Result<(), Error> {
    let mut client = GreeterClient::new(channel.clone());
    let name = "world".to_owned();
    let reply = client.say_hello(HelloRequest { name }).await?.into_inner();
    println!("{how}: {}", reply.message);
    let stats = channel.balance_stats().ok_or("there are several servers")?;
    println!("  {} retries, {} hedges", stats.retries, stats.hedges);
    for server in stats.endpoints {
        println!(
            "  {}: {} tries, {} succeeded",
            server.address, server.tries, server.succeeded
        );
    }
    Ok(())
}
