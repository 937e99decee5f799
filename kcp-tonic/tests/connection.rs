//! Connections that come late, break, or never come.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::time::Duration;

use futures_util::StreamExt;
use kcp_tonic::UnavailableLayer;
use kcp_tonic::kcp_transport::net::KcpStream;
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::{Hello, Line, Process, Setup, deaf_addr, hello, loopback};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::Code;
use tower::Layer;

/// Far longer than the time-outs of [`Setup::impatient`], far shorter than a hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[tokio::test]
async fn connecting_to_nobody_is_a_clear_error() {
    let addr = deaf_addr().await;
    let endpoint = kcp_tonic::endpoint(format!("http://{addr}")).unwrap();
    let connecting = kcp_tonic::connect(&endpoint, Setup::impatient().connector());
    let error = timeout(PATIENCE, connecting).await.unwrap().unwrap_err();
    let text = chain(&error);
    assert!(
        text.contains(&format!("no KCP connection to {addr}")),
        "{text}"
    );
}

#[tokio::test]
async fn lazy_channel_connects_once_there_is_a_server() {
    let setup = Setup::impatient();
    let addr = deaf_addr().await;
    let endpoint = kcp_tonic::endpoint(format!("kcp://{addr}")).unwrap();
    let channel = kcp_tonic::connect_lazy(&endpoint, setup.connector());
    let mut client = GreeterClient::new(channel);
    let early = timeout(PATIENCE, client.say_hello(hello("x"))).await;
    assert_eq!(early.unwrap().unwrap_err().code(), Code::Unavailable);

    let incoming = setup.incoming(addr).await.unwrap();
    tokio::spawn(support::serve(incoming, Hello::default()));
    let reply = timeout(PATIENCE, client.say_hello(hello("x"))).await;
    assert_eq!(reply.unwrap().unwrap().into_inner().message, "Hello x!");
}

#[tokio::test]
async fn call_to_a_vanished_peer_fails_as_unavailable() {
    let setup = Setup::impatient();
    let greeter = Hello::default();
    let line = Line::to(setup.serve(greeter.clone()).await).await;
    let channel = UnavailableLayer::new().layer(setup.channel(line.addr).await);
    let mut client = GreeterClient::new(channel);
    let call = tokio::spawn(async move { client.say_hello(hello("wait")).await });
    greeter.waiting.notified().await;
    line.cut();
    let status = timeout(PATIENCE, call).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(
        status.message().starts_with("connection lost"),
        "{status:?}"
    );
}

#[tokio::test]
async fn stream_of_a_vanished_peer_fails_as_unavailable() {
    let setup = Setup::impatient();
    let line = Line::to(setup.serve(Hello::default()).await).await;
    let channel = UnavailableLayer::new().layer(setup.channel(line.addr).await);
    let mut client = GreeterClient::new(channel);
    let replies = client.lots_of_replies(hello("wait")).await.unwrap();
    let mut replies = replies.into_inner();
    assert_eq!(replies.next().await.unwrap().unwrap().message, "wait");
    line.cut();
    let next = timeout(PATIENCE, replies.next()).await.unwrap();
    let status = next.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn calls_that_fail_keep_their_status_under_the_layer() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let channel = UnavailableLayer::new().layer(setup.channel(addr).await);
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<
        support::helloworld::HelloRequest,
        support::helloworld::HelloReply,
    >::default();
    let path = http::uri::PathAndQuery::from_static("/helloworld.Greeter/NoSuchMethod");
    let request = tonic::Request::new(hello("x"));
    let status = grpc.unary(request, path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn channel_survives_a_restart_of_the_server() {
    let setup = Setup::impatient();
    let (first, addr) = Process::start(&setup, loopback(), Hello::default()).await;
    let mut client = setup.client(addr).await;
    client.say_hello(hello("x")).await.unwrap();
    first.kill().await;
    let (second, _) = Process::start(&setup, addr, Hello::default()).await;

    let answered = async {
        loop {
            if let Ok(reply) = client.say_hello(hello("x")).await {
                return reply.into_inner().message;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, answered).await.unwrap(), "Hello x!");
    second.kill().await;
}

#[tokio::test]
async fn killed_server_fails_the_call_in_flight() {
    let setup = Setup::impatient();
    let greeter = Hello::default();
    let (server, addr) = Process::start(&setup, loopback(), greeter.clone()).await;
    let mut client = setup.client(addr).await;
    let call = tokio::spawn(async move { client.say_hello(hello("wait")).await });
    greeter.waiting.notified().await;
    server.kill().await;
    let answer = timeout(PATIENCE, call).await.unwrap().unwrap();
    assert!(answer.is_err());
}

#[tokio::test]
async fn peer_that_never_speaks_is_let_go_of_and_holds_up_no_shutdown() {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let incoming = incoming.with_first_byte_timeout(Duration::from_millis(50));
    let addr = incoming.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = kcp_tonic::server_builder()
        .add_service(GreeterServer::new(Hello::default()))
        .serve_with_incoming_shutdown(incoming, async { stopped.await.unwrap_or_default() });
    let server = tokio::spawn(server);
    let mut silent = KcpStream::connect_with(addr, &setup.security, &setup.config)
        .await
        .unwrap();
    // The server's settings: it has the connection.
    silent.read_u8().await.unwrap();
    stop.send(()).unwrap();
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, silent.read_to_end(&mut rest)).await;
    end.unwrap().unwrap();
}
