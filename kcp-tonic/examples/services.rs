//! A server that reports its health and describes its services, by tonic's own crates.
//!
//! cargo run -p kcp-tonic --example services

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Error, Hello, Service, greeter, loopback};
use kcp_tonic::{KcpChannel, KcpIncoming, Security, serve, server_builder};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    let incoming = KcpIncoming::bind(loopback(), &Security::Plaintext).await?;
    let addr = incoming.local_addr()?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<Service<Hello>>().await;
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let descriptors = protox::compile(["helloworld.proto"], [proto])?;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_file_descriptor_set(descriptors)
        .build_v1()?;
    let router = server_builder()
        .add_service(greeter(addr, Duration::ZERO))
        .add_service(health_service)
        .add_service(reflection);
    tokio::spawn(serve(incoming, router).into_future());

    let channel = KcpChannel::connect(format!("kcp://{addr}"), &Security::Plaintext).await?;
    let service = "helloworld.Greeter".to_owned();
    let check = HealthCheckRequest { service };
    let health = HealthClient::new(channel.clone()).check(check).await?;
    println!("{:?}", health.into_inner().status());
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let mut reflection = ServerReflectionClient::new(channel);
    let answers = reflection.server_reflection_info(tokio_stream::once(list));
    let answer = answers.await?.into_inner().message().await?;
    let services = answer.and_then(|it| it.message_response);
    println!("{:?}", services.ok_or("no list of services")?);
    Ok(())
}
