//! Servers that register in etcd, and a client that finds them there.
//!
//! cargo run -p kcp-tonic --features etcd --example etcd -- http://127.0.0.1:2379

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, SAY_HELLO, Server, loopback};
use kcp_tonic::balance::Endpoint;
use kcp_tonic::etcd::{Etcd, RegistrationStatus};
use kcp_tonic::{Failure, KcpChannel, Security, Selection};

/// A server that vanishes is removed after this time.
const LEASE: Duration = Duration::from_secs(5);

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    let default = "http://127.0.0.1:2379".to_owned();
    run(std::env::args().nth(1).unwrap_or(default)).await
}

pub(crate) async fn run(etcd: String) -> Result<(), Error> {
    let etcd = tonic::transport::Endpoint::from_shared(etcd)?
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    let greeters = Etcd::new(etcd.connect_lazy(), "/examples/greeter/");

    // Two servers, of which the second gets three times as many calls.
    let mut registered = Vec::new();
    for weight in [1, 3] {
        let server = Server::start(loopback(), Duration::ZERO).await?;
        let endpoint = Endpoint::parse(server.uri())?.weight(weight);
        let registration = greeters.register(endpoint, LEASE);
        let mut status = registration.status();
        let known = status.wait_for(|it| *it != RegistrationStatus::Pending);
        if let RegistrationStatus::Failed(problem) = &*known.await? {
            return Err(problem.to_string().into());
        }
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
    greet(&mut client, 8).await?;

    // Out of service: it gets no new calls, and is stopped once its calls have ended.
    let (server, registration) = registered.remove(0);
    registration.update(|endpoint| endpoint.active(false));
    while channel.endpoints().iter().all(Endpoint::is_active) {
        tokio::task::yield_now().await;
    }
    registration.deregister().await?;
    drop(server);
    greet(&mut client, 4).await
}

async fn greet(client: &mut GreeterClient<KcpChannel>, calls: usize) -> Result<(), Error> {
    for _ in 0..calls {
        let name = "world".to_owned();
        let reply = client.say_hello(HelloRequest { name }).await?;
        println!("{}", reply.into_inner().message);
    }
    Ok(())
}
