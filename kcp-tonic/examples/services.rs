//! What a gRPC server usually offers beside its own service: authentication, compression, health and
//! reflection. All of it is tonic's, and works over KCP as over TCP.
//!
//! cargo run -p kcp-tonic --example services

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, Hello, greeter, loopback};
use kcp_tonic::{KcpChannel, KcpIncoming, Security, serve, server_builder};
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

const TOKEN: &str = "Bearer of the example";

fn authenticate(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get("authorization") {
        Some(token) if token == TOKEN => Ok(request),
        _ => Err(Status::unauthenticated("no valid token")),
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    let incoming = KcpIncoming::bind(loopback(), &Security::Plaintext).await?;
    let addr = incoming.local_addr()?;
    let service = greeter(addr, Duration::ZERO);
    let service = service.accept_compressed(Gzip).send_compressed(Gzip);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<common::Service<Hello>>().await;
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let descriptors = protox::compile(["helloworld.proto"], [proto])?;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_file_descriptor_set(descriptors)
        .build_v1()?;
    let router = server_builder()
        .add_service(InterceptedService::new(service, authenticate))
        .add_service(health_service)
        .add_service(reflection);
    tokio::spawn(serve(incoming, router).into_future());

    let channel = KcpChannel::connect(format!("kcp://{addr}"), &Security::Plaintext).await?;
    let client = GreeterClient::new(channel.clone());
    let mut client = client.accept_compressed(Gzip).send_compressed(Gzip);
    let name = "world".to_owned();
    let mut request = Request::new(HelloRequest { name });
    let refused = client.say_hello(request.get_ref().clone()).await;
    println!("{}", refused.err().ok_or("not refused")?.message());
    request
        .metadata_mut()
        .insert("authorization", TOKEN.parse()?);
    println!("{}", client.say_hello(request).await?.into_inner().message);

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
