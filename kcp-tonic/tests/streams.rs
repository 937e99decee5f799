//! Streams that are not read, links that are slow, more calls than the server allows.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use futures_util::{StreamExt, stream};
use kcp_tonic::KcpChannel;
use kcp_tower::http2::MAX_CONCURRENT_STREAMS;
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::network::{Link, Network};
use support::{Hello, Setup, hello};
use tokio::time::{sleep, timeout};

/// Far longer than anything here takes, in paused time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A greeter and a channel to it, in a network in memory.
async fn connected(link: Link) -> KcpChannel {
    let network = Network::new(link);
    let setup = Setup::plaintext();
    let host = network.host();
    let destination = format!("kcp://{}", host.addr());
    tokio::spawn(support::serve(setup.incoming_on(host), Hello::default()));
    let connecting = setup.connecting_in(&network).connect(destination);
    connecting.await.unwrap()
}

async fn check_call(channel: KcpChannel) {
    let mut client = GreeterClient::new(channel);
    let name = "x".repeat(100_000);
    let call = timeout(PATIENCE, client.say_hello(hello(name)));
    call.await.expect("the channel is frozen").unwrap();
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_not_read_leave_the_channel_usable() {
    for held in 1..=3 {
        let channel = connected(Link::LAN).await;
        let mut unread = Vec::new();
        for _ in 0..held {
            let mut client = GreeterClient::new(channel.clone());
            unread.push(client.lots_of_replies(hello("flood")).await.unwrap());
        }
        // Long enough to fill every window.
        sleep(Duration::from_secs(10)).await;
        check_call(channel).await;
        drop(unread);
    }
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_not_read_leave_the_channel_usable() {
    for held in 1..=3 {
        let channel = connected(Link::LAN).await;
        for _ in 0..held {
            let mut client = GreeterClient::new(channel.clone());
            let flood = stream::repeat_with(|| hello("x".repeat(16 << 10)));
            let greetings = stream::iter([hello("hold")]).chain(flood);
            tokio::spawn(async move { client.lots_of_greetings(greetings).await });
        }
        sleep(Duration::from_secs(10)).await;
        check_call(channel).await;
    }
}

#[tokio::test(start_paused = true)]
async fn call_of_megabytes_over_a_slow_link_finishes() {
    // The queue of Linux' netem, which holds half a minute of data.
    let link = Link {
        bits_per_second: 256_000,
        delay: Duration::from_millis(50),
        queue: 1_000,
    };
    let mut client = GreeterClient::new(connected(link).await);
    let name = "x".repeat(3_000_000);
    let reply = client.say_hello(hello(name.clone())).await.unwrap();
    assert!(reply.into_inner().message == format!("Hello {name}!"));
}

#[tokio::test(start_paused = true)]
async fn calls_above_the_limit_of_the_server_are_counted_as_waiting() {
    let network = Network::new(Link::LAN);
    let setup = Setup::plaintext();
    let host = network.host();
    let destination = format!("kcp://{}", host.addr());
    let server = kcp_tonic::server_builder().max_concurrent_streams(5);
    let router = server
        .clone()
        .add_service(GreeterServer::new(Hello::default()));
    tokio::spawn(kcp_tonic::serve(setup.incoming_on(host), router).into_future());
    let connecting = setup.connecting_in(&network).connect(destination);
    let channel = connecting.await.unwrap();
    check_call(channel.clone()).await;
    assert_eq!(channel.stats().open, 0);

    let mut quiet = Vec::new();
    for _ in 0..5 {
        let mut client = GreeterClient::new(channel.clone());
        quiet.push(client.lots_of_replies(hello("wait")).await.unwrap());
    }
    let stats = channel.stats();
    assert_eq!((stats.open, stats.waiting, stats.started), (5, 0, 6));

    let mut client = GreeterClient::new(channel.clone());
    let sixth = tokio::spawn(async move { client.say_hello(hello("x")).await });
    sleep(Duration::from_secs(10)).await;
    let stats = channel.stats();
    assert_eq!((stats.open, stats.waiting), (6, 1));

    drop(quiet.pop());
    sixth.await.unwrap().unwrap();
    let stats = channel.stats();
    assert_eq!((stats.open, stats.waiting, stats.failed), (4, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn channel_holds_as_many_quiet_streams_as_the_server_allows_by_default() {
    let channel = connected(Link::LAN).await;
    let mut quiet = Vec::new();
    for _ in 1..MAX_CONCURRENT_STREAMS {
        let mut client = GreeterClient::new(channel.clone());
        let stream = timeout(PATIENCE, client.lots_of_replies(hello("wait"))).await;
        quiet.push(stream.expect("the channel is full").unwrap());
    }
    check_call(channel.clone()).await;
    assert_eq!(channel.stats().open, quiet.len() as u64);
}
