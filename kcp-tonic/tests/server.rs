//! What servers of tonic can be set to, over KCP.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use kcp_tonic::kcp_transport::Stats;
use kcp_tonic::{ConnectionLimits, Failure, KcpChannel, KcpIncoming};
use prost::bytes::{Buf, BufMut, Bytes};
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::network::{Link, Network};
use support::{Hello, Setup, hello, loopback};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Response, Status};
use tower::util::MapRequestLayer;

const SECOND: Duration = Duration::from_secs(1);

/// Calls once with a name that compresses well, and returns the client's counters.
async fn long_hello(encoding: Option<CompressionEncoding>) -> Stats {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let mut service = GreeterServer::new(Hello::default());
    let channel = setup.channel(addr).await;
    let mut client = GreeterClient::new(channel.clone());
    if let Some(encoding) = encoding {
        service = service
            .accept_compressed(encoding)
            .send_compressed(encoding);
        client = client.accept_compressed(encoding).send_compressed(encoding);
    }
    let router = incoming.server_builder().add_service(service);
    tokio::spawn(kcp_tonic::serve(incoming, router).into_future());
    let name = "x".repeat(1 << 20);
    let reply = client.say_hello(hello(name.clone())).await.unwrap();
    let reply = reply.into_inner().message;
    assert!(reply == format!("Hello {name}!"));
    channel.connections()[0].stats()
}

#[tokio::test]
async fn gzip_shrinks_messages_both_ways() {
    let plain = long_hello(None).await;
    assert!(plain.bytes_written > 1 << 20, "{plain:?}");
    assert!(plain.bytes_read > 1 << 20, "{plain:?}");
    let compressed = long_hello(Some(CompressionEncoding::Gzip)).await;
    assert!(compressed.bytes_written < 20_000, "{compressed:?}");
    assert!(compressed.bytes_read < 20_000, "{compressed:?}");
}

/// Messages of bytes, as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}

/// Sends the encoded request "x" to a path.
async fn call_raw(channel: KcpChannel, path: &'static str) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let request = Request::new(Bytes::from_static(b"\x0a\x01x"));
    let reply = client.unary(request, PathAndQuery::from_static(path), Raw);
    reply.await.map(Response::into_inner)
}

#[tokio::test]
async fn codec_of_the_callers_sends_and_receives_bytes_as_they_are() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let reply = call_raw(setup.channel(addr).await, "/helloworld.Greeter/SayHello");
    assert_eq!(reply.await.unwrap(), b"\x0a\x08Hello x!".as_slice());
}

#[tokio::test]
async fn layer_gives_a_service_another_name() {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let alias = MapRequestLayer::new(|mut request: http::Request<Body>| {
        if request.uri().path() == "/alias.Greeter/SayHello" {
            *request.uri_mut() = Uri::from_static("/helloworld.Greeter/SayHello");
        }
        request
    });
    let mut builder = incoming.server_builder().layer(alias);
    let router = builder.add_service(GreeterServer::new(Hello::default()));
    tokio::spawn(kcp_tonic::serve(incoming, router).into_future());
    let channel = setup.channel(addr).await;
    let reply = call_raw(channel.clone(), "/alias.Greeter/SayHello").await;
    assert_eq!(reply.unwrap(), b"\x0a\x08Hello x!".as_slice());
    let status = call_raw(channel, "/other.Greeter/SayHello").await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test(start_paused = true)]
async fn concurrency_limit_lets_calls_beyond_it_wait() {
    let setup = Setup::plaintext();
    let network = Network::new(Link::LAN);
    let host = network.host();
    let addr = host.addr();
    let incoming = setup.incoming_on(host);
    let greeter = Hello::default();
    let waiting = Arc::clone(&greeter.waiting);
    let mut builder = incoming
        .server_builder()
        .concurrency_limit_per_connection(1);
    let router = builder.add_service(GreeterServer::new(greeter));
    tokio::spawn(kcp_tonic::serve(incoming, router).into_future());
    let connecting = setup.connecting_in(&network);
    let channel = connecting.connect(format!("kcp://{addr}")).await.unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let first = tokio::spawn(async move { client.say_hello(hello("wait")).await.map(drop) });
    waiting.notified().await;
    let mut client = GreeterClient::new(channel);
    let second = client.say_hello(hello("x"));
    tokio::pin!(second);
    let early = timeout(5 * SECOND, &mut second).await;
    assert!(early.is_err(), "{early:?}");
    first.abort();
    second.await.unwrap();
}

/// A greeter with limits on a network in memory, and a channel to it.
async fn limited(limits: ConnectionLimits, greeter: Hello) -> KcpChannel {
    let setup = Setup::plaintext();
    let network = Network::new(Link::LAN);
    let host = network.host();
    let addr = host.addr();
    let incoming = setup.incoming_on(host);
    let router = incoming
        .server_builder()
        .add_service(GreeterServer::new(greeter));
    let serving = kcp_tonic::serve(incoming, router).connection_limits(limits);
    tokio::spawn(serving.into_future());
    // Calls that are begun while GOAWAY is on its way are sent again.
    let connecting = setup.connecting_in(&network).failure(Failure::failtry());
    connecting.connect_list([format!("kcp://{addr}")]).unwrap()
}

/// The ids of the channel's open connections.
fn conversations(channel: &KcpChannel) -> Vec<u32> {
    let connections = channel.connections();
    connections
        .iter()
        .map(|it| it.conversation().get())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn connections_of_greatest_age_are_replaced_without_a_failed_call() {
    let limits = ConnectionLimits::builder().max_age(100 * SECOND).build();
    let channel = limited(limits.unwrap(), Hello::default()).await;
    let mut client = GreeterClient::new(channel.clone());
    // A call that is older than any connection may become.
    let (names, sent) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut replies = client.bidi_hello(stream).await.unwrap().into_inner();
    let mut used = HashSet::new();
    let mut calls = 0;
    while used.len() < 3 {
        client.say_hello(hello("x")).await.unwrap();
        used.extend(conversations(&channel));
        sleep(SECOND).await;
        calls += 1;
    }
    assert!((150..250).contains(&calls), "{calls}");
    assert_eq!(conversations(&channel).len(), 2);
    names.send(hello("still")).await.unwrap();
    let reply = replies.message().await.unwrap().unwrap();
    assert_eq!(reply.message, "still");
    drop(names);
    assert!(replies.message().await.unwrap().is_none());
    sleep(SECOND).await;
    assert_eq!(conversations(&channel).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn call_beyond_age_and_grace_fails_as_unavailable() {
    let limits = ConnectionLimits::builder().max_age(100 * SECOND);
    let limits = limits.age_grace(10 * SECOND).build().unwrap();
    let mut client = GreeterClient::new(limited(limits, Hello::default()).await);
    let call = timeout(125 * SECOND, client.say_hello(hello("wait"))).await;
    let status = call.expect("closed after the grace").unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    client.say_hello(hello("x")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn idle_connection_ends_and_one_with_a_call_does_not() {
    let limits = ConnectionLimits::builder().max_idle(10 * SECOND).build();
    let channel = limited(limits.unwrap(), Hello::default()).await;
    let mut client = GreeterClient::new(channel.clone());
    let (names, sent) = tokio::sync::mpsc::channel(1);
    let stream = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut replies = client.bidi_hello(stream).await.unwrap().into_inner();
    let first = conversations(&channel);
    sleep(60 * SECOND).await;
    // Still the same, for new calls too.
    client.say_hello(hello("x")).await.unwrap();
    assert_eq!(conversations(&channel), first);
    drop(names);
    assert!(replies.message().await.unwrap().is_none());
    sleep(12 * SECOND).await;
    assert!(conversations(&channel).is_empty());
    client.say_hello(hello("x")).await.unwrap();
    assert_ne!(conversations(&channel), first);
}

#[tokio::test]
async fn headers_above_the_limit_are_refused_and_the_connection_goes_on() {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let mut server = incoming.server_builder().http2_max_header_list_size(4096);
    let router = server.add_service(GreeterServer::new(Hello::default()));
    tokio::spawn(kcp_tonic::serve(incoming, router).into_future());
    let channel = setup.channel(addr).await;
    let mut client = GreeterClient::new(channel.clone());
    let first = conversations(&channel);
    let mut request = Request::new(hello("x"));
    let long = "x".repeat(5000).parse().unwrap();
    request.metadata_mut().insert("long", long);
    client.say_hello(request).await.unwrap_err();
    client.say_hello(hello("x")).await.unwrap();
    assert_eq!(conversations(&channel), first);
}

/// A server that is told to stop by the drop of the sender.
fn shift(incoming: KcpIncoming, name: &'static str) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let router = incoming
        .server_builder()
        .add_service(GreeterServer::new(Hello::named(name)));
    let serving = kcp_tonic::serve(incoming, router)
        .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
    (stop, tokio::spawn(async { serving.await.unwrap() }))
}

#[tokio::test(start_paused = true)]
async fn server_is_replaced_on_its_port_while_calls_go_on() {
    let setup = Setup::plaintext();
    let network = Network::new(Link::LAN);
    let host = network.host();
    let addr = host.addr();
    let incoming = setup.incoming_on(host);
    let first = shift(incoming.clone(), "first");
    // Calls that a client has begun after GOAWAY are sent again.
    let channel = setup
        .connecting_in(&network)
        .failure(Failure::failtry())
        .connect_list([format!("kcp://{addr}")])
        .unwrap();
    let mut calls = JoinSet::new();
    for i in 0..500 {
        let mut client = GreeterClient::new(channel.clone());
        calls.spawn(async move {
            sleep(Duration::from_millis(2 * i)).await;
            let reply = client.say_hello(hello("server name")).await.unwrap();
            reply.into_inner().message
        });
    }
    sleep(Duration::from_millis(500)).await;
    let (stop, ended) = second_takes_over(&incoming, first).await;
    let answers = calls.join_all().await;
    for name in ["first", "second"] {
        let count = answers.iter().filter(|answer| *answer == name).count();
        assert!(count > 200, "{name}: {count}");
    }
    drop((stop, incoming));
    timeout(10 * SECOND, ended).await.unwrap().unwrap();
}

async fn second_takes_over(
    incoming: &KcpIncoming,
    (stop, ended): (oneshot::Sender<()>, JoinHandle<()>),
) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let second = shift(incoming.clone(), "second");
    drop(stop);
    timeout(10 * SECOND, ended).await.unwrap().unwrap();
    second
}

#[tokio::test]
async fn panic_of_a_handler_is_an_error_of_its_call_alone() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let channel = setup.channel(addr).await;
    let mut client = GreeterClient::new(channel.clone());
    let mut quiet = client.lots_of_replies(hello("wait")).await.unwrap();
    let panicked = timeout(10 * SECOND, client.say_hello(hello("panic"))).await;
    let status = panicked.expect("the call ends").unwrap_err();
    assert_eq!(status.code(), Code::Cancelled, "{status:?}");
    client.say_hello(hello("x")).await.unwrap();
    quiet.get_mut().message().await.unwrap().unwrap();
    assert_eq!(channel.connections().len(), 1);
}

#[tokio::test]
async fn calls_above_a_limit_can_be_shed() {
    let setup = Setup::plaintext();
    let incoming = setup.incoming(loopback()).await.unwrap();
    let addr = incoming.local_addr().unwrap();
    let greeter = Hello::default();
    let router = incoming
        .server_builder()
        .concurrency_limit_per_connection(1)
        .load_shed(true)
        .add_service(GreeterServer::new(greeter.clone()));
    tokio::spawn(kcp_tonic::serve(incoming, router).into_future());
    let mut client = setup.client(addr).await;
    let mut other = client.clone();
    let waiting = tokio::spawn(async move { other.say_hello(hello("wait")).await });
    greeter.waiting.notified().await;
    let status = client.say_hello(hello("x")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    waiting.abort();
}
