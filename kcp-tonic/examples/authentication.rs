//! A server that authenticates its callers and compresses, by tonic's own means.
//!
//! cargo run -p kcp-tonic --example authentication

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::helloworld::{HelloRequest, greeter_client::GreeterClient};
use common::{Error, greeter, loopback};
use kcp_tonic::{KcpChannel, KcpIncoming, Security, serve, server_builder};
use tonic::codec::CompressionEncoding::Gzip;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

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
    let router = server_builder().add_service(InterceptedService::new(service, authenticate));
    tokio::spawn(serve(incoming, router).into_future());

    let channel = KcpChannel::connect(format!("kcp://{addr}"), &Security::Plaintext).await?;
    let client = GreeterClient::new(channel);
    let mut client = client.accept_compressed(Gzip).send_compressed(Gzip);
    let name = "world".to_owned();
    let mut request = Request::new(HelloRequest { name });
    let refused = client.say_hello(request.get_ref().clone()).await;
    println!("{}", refused.err().ok_or("not refused")?.message());
    request
        .metadata_mut()
        .insert("authorization", TOKEN.parse()?);
    println!("{}", client.say_hello(request).await?.into_inner().message);
    Ok(())
}
