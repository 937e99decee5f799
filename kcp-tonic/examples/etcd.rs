//! Servers that register in etcd, and a client that finds them there.
//!
//! cargo run -p kcp-tonic --features etcd --example etcd -- http://127.0.0.1:2379

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::helloworld::greeter_client::GreeterClient;
use common::{Error, SAY_HELLO, Server, greet, loopback};
use kcp_tonic::balance::Endpoint;
use kcp_tonic::etcd::Etcd;
use kcp_tonic::{Failure, KcpChannel, Security, Selection};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    run(std::env::args().nth(1).ok_or("usage: etcd URI")?).await
}

pub(crate) async fn run(etcd: String) -> Result<(), Error> {
    let etcd = tonic::transport::Endpoint::from_shared(etcd)?
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    let greeters = Etcd::new(etcd.connect_lazy(), "/examples/greeter/");

    // One that vanishes is removed after five seconds.
    let lease = Duration::from_secs(5);
    // Two servers, of which the second gets three times as many calls.
    let mut registered = Vec::new();
    for weight in [1, 3] {
        let server = Server::start(loopback(), Duration::ZERO).await?;
        let registration = greeters.register(server.endpoint()?.weight(weight), lease);
        registration.registered().await?;
        registered.push((server, registration));
    }
    let channel = KcpChannel::builder(&Security::Plaintext)
        .selection(Selection::WeightedRoundRobin)
        .failure(Failure::failover())
        .idempotent([SAY_HELLO])
        .connect_discover(greeters.discover());
    let mut client = GreeterClient::new(channel.clone());
    while channel.endpoints().len() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..8 {
        println!("{}", greet(&mut client).await?);
    }
    // Out of service: it gets no new calls, and is stopped once its calls have ended.
    let (server, registration) = registered.remove(0);
    registration.update(|endpoint| endpoint.active(false));
    while channel.endpoints().iter().all(Endpoint::is_active) {
        tokio::task::yield_now().await;
    }
    registration.deregister().await?;
    drop(server);
    println!("{}", greet(&mut client).await?);
    Ok(())
}
