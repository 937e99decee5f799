//! Connections that come late, break, or never come.
#![allow(clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kcp_tonic::KcpServerIo;
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::network::{Link, Network};
use support::{Hello, Line, Process, Setup, deaf_addr, hello, loopback};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};

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
async fn connecting_to_a_closed_port_is_a_clear_error() {
    let addr = deaf_addr().await;
    let setup = Setup::impatient();
    let connecting = setup.connecting().connect(format!("kcp://{addr}"));
    let error = timeout(PATIENCE, connecting).await.unwrap().unwrap_err();
    let text = chain(&error);
    let reason = format!("no connection to {addr}");
    assert!(text.contains(&reason), "{text}");
    assert_eq!(text.matches(&addr.to_string()).count(), 1, "{text}");
}

#[tokio::test]
async fn lazy_channel_connects_once_there_is_a_server() {
    let setup = Setup::impatient();
    let addr = deaf_addr().await;
    let channel = setup.connecting().connect_lazy(format!("kcp://{addr}"));
    let mut client = GreeterClient::new(channel.unwrap());
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
    let mut client = setup.client(line.addr).await;
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
    let mut client = setup.client(line.addr).await;
    let replies = client.lots_of_replies(hello("wait")).await.unwrap();
    let mut replies = replies.into_inner();
    assert_eq!(replies.next().await.unwrap().unwrap().message, "wait");
    line.cut();
    let next = timeout(PATIENCE, replies.next()).await.unwrap();
    let status = next.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn status_of_the_server_is_kept() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let mut grpc = tonic::client::Grpc::new(setup.channel(addr).await);
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

#[tokio::test(start_paused = true)]
async fn channel_survives_a_restart_of_the_server() {
    let setup = Setup::impatient();
    let network = Network::new(Link::LAN);
    let addr = network.host().addr();
    let start = || {
        let incoming = setup.incoming_on(network.host_at(addr));
        tokio::spawn(support::serve(incoming, Hello::default()))
    };
    let first = start();
    let connecting = setup.connecting_in(&network);
    let connecting = connecting.connect(format!("kcp://{addr}"));
    let mut client = GreeterClient::new(connecting.await.unwrap());
    client.say_hello(hello("x")).await.unwrap();
    network.unplug(addr);
    first.abort();
    start();

    let answered = async {
        loop {
            if let Ok(reply) = client.say_hello(hello("x")).await {
                return reply.into_inner().message;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, answered).await.unwrap(), "Hello x!");
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
async fn first_call_after_a_graceful_stop_is_unavailable() {
    let setup = Setup::impatient();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let router = kcp_tonic::server_builder().add_service(GreeterServer::new(Hello::default()));
    let server = kcp_tonic::serve(incoming, router)
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    let server = tokio::spawn(server.into_future());
    let mut client = setup.client(addr).await;
    client.say_hello(hello("x")).await.unwrap();
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    for _ in 0..3 {
        let call = timeout(PATIENCE, client.say_hello(hello("x")));
        let status = call.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}

/// A call that begins a time after a server on a link of 100 ms was told to stop.
async fn call_after_stop(pause: Duration) -> Result<(), Status> {
    let setup = Setup::plaintext();
    let delay = Duration::from_millis(100);
    let network = Network::new(Link { delay, ..Link::LAN });
    let host = network.host();
    let destination = format!("kcp://{}", host.addr());
    let (stop, stopped) = oneshot::channel::<()>();
    let router = kcp_tonic::server_builder().add_service(GreeterServer::new(Hello::default()));
    let server = kcp_tonic::serve(setup.incoming_on(host), router)
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    tokio::spawn(server.into_future());
    let connecting = setup.connecting_in(&network).connect(destination);
    let mut client = GreeterClient::new(connecting.await.unwrap());
    client.say_hello(hello("x")).await.unwrap();
    stop.send(()).unwrap();
    sleep(pause).await;
    client.say_hello(hello("x")).await.map(drop)
}

/// While the connection closes, it takes calls that it does not send any more.
#[tokio::test(start_paused = true)]
async fn call_at_any_time_after_the_stop_is_answered_or_unavailable() {
    let mut unavailable = 0;
    for pause in (0..1_000).step_by(10).map(Duration::from_millis) {
        if let Err(status) = call_after_stop(pause).await {
            assert_eq!(status.code(), Code::Unavailable, "{pause:?}: {status:?}");
            unavailable += 1;
        }
    }
    assert!(unavailable > 0);
}

/// A call to a server that closes its first connection as soon as it has the call, with a GOAWAY
/// whose last processed stream is `last`. The call's stream is 1.
async fn call_before_goaway(last: u32, client_stream: bool) -> Result<String, Status> {
    let setup = Setup::impatient();
    let network = Network::new(Link::LAN);
    let host = network.host();
    let destination = format!("kcp://{}", host.addr());
    let mut incoming = setup.incoming_on(host);
    tokio::spawn(async move {
        let mut first = incoming.next().await.unwrap().unwrap();
        first.write_all(&frame(SETTINGS, &[])).await.unwrap();
        let mut preface = [0; 24];
        first.read_exact(&mut preface).await.unwrap();
        while read_frame(&mut first).await != HEADERS {}
        let [a, b, c, d] = last.to_be_bytes();
        let goaway = frame(GOAWAY, &[a, b, c, d, 0, 0, 0, 0]);
        first.write_all(&goaway).await.unwrap();
        first.shutdown().await.unwrap();
        support::serve(incoming, Hello::default()).await;
    });
    let connecting = setup.connecting_in(&network);
    let mut client = GreeterClient::new(connecting.connect_lazy(destination).unwrap());
    let reply = if client_stream {
        let greetings = stream::iter(["a", "bc"].map(hello));
        client.lots_of_greetings(greetings).await
    } else {
        client.say_hello(hello("x")).await
    };
    reply.map(|it| it.into_inner().message)
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// A frame of HTTP/2 on stream 0.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind];
    frame.extend([0; 5]);
    frame.extend(payload);
    frame
}

/// Reads a frame, and returns its type.
async fn read_frame(stream: &mut KcpServerIo) -> u8 {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    head[3]
}

#[tokio::test(start_paused = true)]
async fn call_that_the_server_has_certainly_not_processed_is_sent_again() {
    assert_eq!(call_before_goaway(0, false).await.unwrap(), "Hello x!");
    assert_eq!(call_before_goaway(0, true).await.unwrap(), "3");
}

#[tokio::test(start_paused = true)]
async fn call_that_the_server_may_have_processed_is_not_sent_again() {
    let status = call_before_goaway(1, false).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}

#[tokio::test]
async fn interceptors_work_over_a_channel() {
    let setup = Setup::plaintext();
    let channel = setup.channel(setup.serve(Hello::default()).await).await;
    let refuse = |_: Request<()>| Err::<Request<()>, _>(Status::permission_denied("no"));
    let mut refused = GreeterClient::with_interceptor(channel.clone(), refuse);
    let status = refused.say_hello(hello("x")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let mut passed = GreeterClient::with_interceptor(channel, Ok);
    passed.say_hello(hello("x")).await.unwrap();
}

#[tokio::test]
async fn timeout_of_the_channel_is_an_exceeded_deadline() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let connecting = setup.connecting().timeout(Duration::from_millis(50));
    let channel = connecting.connect(format!("kcp://{addr}")).await.unwrap();
    let status = GreeterClient::new(channel).say_hello(hello("wait")).await;
    assert_eq!(status.unwrap_err().code(), Code::DeadlineExceeded);
}
