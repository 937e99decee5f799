//! TLS inside KCP, by tonic's own configuration.
#![allow(clippy::unwrap_used)]

#[path = "../../kcp-tower/tests/support/pki.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the tests of kcp-tower"
)]
mod pki;
mod support;

use std::net::SocketAddr;

use kcp_tonic::{ChannelError, KcpChannel};
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::{Hello, Setup, hello, loopback};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use pki::Authority;

fn identity(authority: &Authority, name: &str) -> Identity {
    let identity = authority.issue(name);
    Identity::from_pem(identity.certificate_pem, identity.key_pem)
}

fn certificate(authority: &Authority) -> Certificate {
    Certificate::from_pem(authority.pem())
}

/// A server that has a certificate, and demands one of its clients or not.
async fn serve(authority: &Authority, demand: bool) -> SocketAddr {
    let incoming = Setup::plaintext().incoming(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let tls = ServerTlsConfig::new().identity(identity(authority, "server.example"));
    let tls = if demand {
        tls.client_ca_root(certificate(authority))
    } else {
        tls
    };
    let server = kcp_tonic::server_builder().tls_config(tls).unwrap();
    let router = server
        .clone()
        .add_service(GreeterServer::new(Hello::default()));
    tokio::spawn(kcp_tonic::serve(incoming, router).into_future());
    addr
}

/// Trusts an authority, for the name of the server.
fn trusting(authority: &Authority) -> ClientTlsConfig {
    ClientTlsConfig::new()
        .domain_name("server.example")
        .ca_certificate(certificate(authority))
}

async fn connect(addr: SocketAddr, tls: ClientTlsConfig) -> Result<KcpChannel, ChannelError> {
    let connecting = Setup::plaintext().connecting().tls_config(tls);
    connecting.connect(format!("kcps://{addr}")).await
}

#[tokio::test]
async fn calls_over_tls_work_and_carry_information_on_their_connection() {
    let authority = Authority::new("ours");
    let addr = serve(&authority, false).await;
    let channel = connect(addr, trusting(&authority)).await.unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let reply = client.say_hello(hello("addr")).await.unwrap().into_inner();
    let local = channel.connections()[0].local_addr().unwrap();
    assert_eq!(reply.message, local.to_string());
}

#[tokio::test]
async fn server_of_another_authority_is_refused() {
    let addr = serve(&Authority::new("ours"), false).await;
    let error = connect(addr, trusting(&Authority::new("another")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

#[tokio::test]
async fn client_certificates_are_demanded_and_checked() {
    let authority = Authority::new("ours");
    let addr = serve(&authority, true).await;
    let known = trusting(&authority).identity(identity(&authority, "client.example"));
    let channel = connect(addr, known).await.unwrap();
    let mut client = GreeterClient::new(channel);
    client.say_hello(hello("x")).await.unwrap();

    let stranger =
        trusting(&authority).identity(identity(&Authority::new("another"), "client.example"));
    for tls in [trusting(&authority), stranger] {
        // With TLS 1.3 the client's handshake is over before the server has judged its certificate.
        let Ok(channel) = connect(addr, tls).await else {
            continue;
        };
        let status = GreeterClient::new(channel).say_hello(hello("x")).await;
        assert_ne!(status.unwrap_err().code(), Code::Ok);
    }
}

#[tokio::test]
async fn handlers_see_the_certificate_of_the_client() {
    let authority = Authority::new("ours");
    let known = authority.issue("client.example");
    let shown = format!("1 of {}", known.certificate_der().len());
    let known = Identity::from_pem(known.certificate_pem, known.key_pem);
    for (demand, tls, expected) in [
        (true, trusting(&authority).identity(known), shown.as_str()),
        (false, trusting(&authority), "none"),
    ] {
        let addr = serve(&authority, demand).await;
        let channel = connect(addr, tls).await.unwrap();
        let mut client = GreeterClient::new(channel);
        let reply = client.say_hello(hello("certificates")).await.unwrap();
        assert_eq!(reply.into_inner().message, expected);
    }
    // Without TLS.
    let addr = Setup::plaintext().serve(Hello::default()).await;
    let mut client = Setup::plaintext().client(addr).await;
    let reply = client.say_hello(hello("certificates")).await.unwrap();
    assert_eq!(reply.into_inner().message, "none");
}

#[tokio::test]
async fn tls_that_would_not_be_used_is_an_error() {
    let authority = Authority::new("ours");
    for destination in ["kcp://a.example:9", "http://a.example:9", "a.example:9"] {
        let connecting = Setup::plaintext().connecting();
        let connecting = connecting.tls_config(trusting(&authority));
        let error = connecting.connect_lazy(destination).unwrap_err();
        assert!(matches!(error, ChannelError::TlsUnused { .. }), "{error}");
    }
}

#[tokio::test]
async fn scheme_of_tls_without_its_configuration_is_an_error() {
    for destination in ["kcps://a.example:9", "https://a.example:9"] {
        let connecting = Setup::plaintext().connecting();
        let error = connecting.connect_lazy(destination).unwrap_err();
        assert!(matches!(error, ChannelError::TlsMissing { .. }), "{error}");
    }
}

#[tokio::test]
async fn tls_works_over_a_set_and_is_left_out_for_none_of_it() {
    let authority = Authority::new("ours");
    let addresses = [
        serve(&authority, false).await,
        serve(&authority, false).await,
    ];
    let connecting = || {
        Setup::plaintext()
            .connecting()
            .tls_config(trusting(&authority))
    };
    let secure = addresses.map(|addr| format!("kcps://{addr}"));
    let channel = connecting().connect_list(secure.clone()).unwrap();
    let mut client = GreeterClient::new(channel.clone());
    for _ in 0..4 {
        client.say_hello(hello("x")).await.unwrap();
    }
    assert_eq!(channel.connections().len(), 2);

    let mixed = [secure[0].clone(), format!("kcp://{}", addresses[1])];
    let error = connecting().connect_list(mixed).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("TLS is configured"), "{error}: {cause}");
}
