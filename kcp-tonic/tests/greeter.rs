//! Calls of all four kinds over KCP.
#![allow(clippy::unwrap_used)]

mod support;

use futures_util::{StreamExt, TryStreamExt, future, stream};
use kcp_tonic::{KcpConnectInfo, KcpServerIo};
use support::helloworld::greeter_client::GreeterClient;
use support::{Hello, Setup, deaf_addr, hello, loopback};
use tokio::io::AsyncWrite;
use tonic::Code;

async fn calls_of_all_kinds(setup: Setup) {
    let addr = setup.serve(Hello::default()).await;
    let mut client = setup.client(addr).await;

    let reply = client.say_hello(hello("KCP")).await.unwrap().into_inner();
    assert_eq!(reply.message, "Hello KCP!");

    let replies = client.lots_of_replies(hello("n")).await.unwrap();
    let replies: Vec<_> = replies.into_inner().try_collect().await.unwrap();
    assert_eq!(replies.len(), 10_000);
    assert_eq!(replies[9_999].message, "n 9999");

    let greetings = stream::iter((0..1_000).map(|_| hello("x".repeat(1_000))));
    let reply = client.lots_of_greetings(greetings).await.unwrap();
    assert_eq!(reply.into_inner().message, "1000000");

    let greetings = stream::iter((0..1_000).map(|i| hello(i.to_string())));
    let replies = client.bidi_hello(greetings).await.unwrap().into_inner();
    let messages = replies.map_ok(|reply| reply.message);
    let messages: Vec<_> = messages.try_collect().await.unwrap();
    let expected: Vec<_> = (0..1_000).map(|i| i.to_string()).collect();
    assert_eq!(messages, expected);
}

#[tokio::test]
async fn calls_of_all_kinds_work() {
    calls_of_all_kinds(Setup::plaintext()).await;
}

#[tokio::test]
async fn calls_of_all_kinds_work_through_cipher_and_fec() {
    calls_of_all_kinds(Setup::sealed()).await;
}

#[tokio::test]
async fn bidirectional_stream_alternates() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let mut client = setup.client(addr).await;
    let (greetings, sent) = tokio::sync::mpsc::channel(1);
    let sent = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut replies = client.bidi_hello(sent).await.unwrap().into_inner();
    for i in 0..100 {
        greetings.send(hello(i.to_string())).await.unwrap();
        let reply = replies.next().await.unwrap().unwrap();
        assert_eq!(reply.message, i.to_string());
    }
    drop(greetings);
    assert!(replies.next().await.is_none());
}

#[tokio::test]
async fn stream_in_flight_goes_on_from_another_socket() {
    let setup = Setup::sealed();
    let addr = setup.serve(Hello::default()).await;
    let channel = setup.channel(addr).await;
    let mut client = GreeterClient::new(channel.clone());
    let (greetings, sent) = tokio::sync::mpsc::channel(1);
    let sent = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut replies = client.bidi_hello(sent).await.unwrap().into_inner();
    for i in 0..20 {
        greetings.send(hello(i.to_string())).await.unwrap();
        assert_eq!(channel.rebind(), 1);
        let reply = replies.next().await.unwrap().unwrap();
        assert_eq!(reply.message, i.to_string());
    }
}

#[tokio::test]
async fn hundreds_of_calls_at_a_time_complete() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let client = setup.client(addr).await;
    let calls = (0..300).map(|i| {
        let mut client = client.clone();
        async move {
            let name = i.to_string().repeat(1_000);
            let reply = client.say_hello(hello(name.clone())).await.unwrap();
            assert_eq!(reply.into_inner().message, format!("Hello {name}!"));
        }
    });
    future::join_all(calls).await;
}

#[tokio::test]
async fn large_messages_pass() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let mut client = setup.client(addr).await;
    let name = "x".repeat(3 << 20);
    let reply = client.say_hello(hello(name.clone())).await.unwrap();
    assert!(reply.into_inner().message == format!("Hello {name}!"));
}

#[tokio::test]
async fn handlers_see_the_address_of_the_client() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let (first, second) = (setup.client(addr).await, setup.client(addr).await);
    let mut addresses = Vec::new();
    for mut client in [first.clone(), first, second] {
        let reply = client.say_hello(hello("addr")).await.unwrap().into_inner();
        let seen: std::net::SocketAddr = reply.message.parse().unwrap();
        assert_eq!(seen.ip(), loopback().ip());
        addresses.push(seen);
    }
    assert_eq!(addresses[0], addresses[1]);
    assert_ne!(addresses[0], addresses[2], "each channel has its socket");
}

#[tokio::test]
async fn handlers_see_live_statistics() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let mut client = setup.client(addr).await;
    let mut read = Vec::new();
    for _ in 0..2 {
        let reply = client.say_hello(hello("stats")).await.unwrap().into_inner();
        read.push(reply.message.parse::<u64>().unwrap());
    }
    assert!(0 < read[0] && read[0] < read[1], "{read:?}");
}

#[tokio::test]
async fn vectored_writes_reach_the_stream() {
    use kcp_tower::KcpStream;
    let setup = Setup::plaintext();
    let peer = deaf_addr().await;
    let stream = KcpStream::builder(&setup.security)
        .config(&setup.config)
        .connect_lazy(peer)
        .await
        .unwrap();
    let io = KcpServerIo::from(kcp_tower::KcpIo::new(stream));
    assert!(io.is_write_vectored());
    let info: KcpConnectInfo = tonic::transport::server::Connected::connect_info(&io);
    assert_eq!(info.peer_addr(), peer);
}

#[tokio::test]
async fn deadlines_of_calls_are_kept() {
    let setup = Setup::plaintext();
    let addr = setup.serve(Hello::default()).await;
    let mut client = setup.client(addr).await;
    let mut request = tonic::Request::new(hello("wait"));
    request.set_timeout(std::time::Duration::from_millis(50));
    let status = client.say_hello(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let reply = client.say_hello(hello("again")).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello again!");
}
