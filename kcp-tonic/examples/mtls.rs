//! A server and a client that authenticate each other by certificates, and a handler that reads the client's.
//!
//! cargo run -p kcp-tonic --features tls-ring --example mtls

#[path = "common/mod.rs"]
mod common;

use std::time::Duration;

use common::certificates::{authority, identity};
use common::helloworld::greeter_client::GreeterClient;
use common::{Error, greet, greeter, loopback};
use kcp_tonic::{KcpChannel, KcpIncoming, KcpRequestExt, Security, serve, server_builder};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, ClientTlsConfig, ServerTlsConfig};
use tonic::{Request, Status};

/// Knows clients by their certificates, which the handshake has checked.
fn identify(request: Request<()>) -> Result<Request<()>, Status> {
    let certificates = request.kcp_peer_certs();
    let first = certificates.as_ref().and_then(|it| it.first());
    let first = first.ok_or_else(|| Status::unauthenticated("no certificate"))?;
    println!("the client's certificate has {} bytes", first.len());
    Ok(request)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Error> {
    let authority = authority()?;
    let trusted = Certificate::from_pem(authority.pem());

    // TLS is inside KCP, so KCP needs no cipher of its own.
    let incoming = KcpIncoming::bind(loopback(), &Security::Plaintext).await?;
    let addr = incoming.local_addr()?;
    let tls = ServerTlsConfig::new()
        .identity(identity(&authority, "server.example")?)
        .client_ca_root(trusted.clone());
    let service = InterceptedService::new(greeter(addr, Duration::ZERO), identify);
    let router = server_builder().tls_config(tls)?.add_service(service);
    tokio::spawn(serve(incoming, router).into_future());

    let tls = ClientTlsConfig::new()
        .ca_certificate(trusted)
        .domain_name("server.example")
        .identity(identity(&authority, "client.example")?);
    let channel = KcpChannel::builder(&Security::Plaintext)
        .tls_config(tls)
        .connect(format!("kcps://{addr}"))
        .await?;
    println!("{}", greet(&mut GreeterClient::new(channel)).await?);
    Ok(())
}
