//! Counts of calls, by their codes, of channels and of servers.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use kcp_tonic::{CodeCounts, KcpChannel, ServerStatsLayer};
use support::helloworld::greeter_client::GreeterClient;
use support::helloworld::greeter_server::GreeterServer;
use support::network::{Link, Network};
use support::{Hello, Setup, hello};
use tokio::time::{sleep, timeout};
use tonic::{Code, Request};

const SECOND: Duration = Duration::from_secs(1);

/// A server that counts its calls, and a channel to it.
async fn counted(
    network: &Network,
    setup: &Setup,
    over_set: bool,
) -> (KcpChannel, ServerStatsLayer) {
    let host = network.host();
    let destination = format!("kcp://{}", host.addr());
    let calls = ServerStatsLayer::new();
    let router = kcp_tonic::server_builder()
        .layer(calls.clone())
        .add_service(GreeterServer::new(Hello::default()));
    tokio::spawn(kcp_tonic::serve(setup.incoming_on(host), router).into_future());
    let connecting = setup.connecting_in(network);
    let channel = match over_set {
        true => connecting.connect_list([destination]).unwrap(),
        false => connecting.connect(destination).await.unwrap(),
    };
    (channel, calls)
}

fn counts(codes: &CodeCounts) -> Vec<(Code, u64)> {
    codes.iter().collect()
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_channel_and_a_server_are_counted_by_their_codes() {
    for over_set in [false, true] {
        let network = Network::new(Link::LAN);
        let (channel, calls) = counted(&network, &Setup::plaintext(), over_set).await;
        let mut client = GreeterClient::new(channel.clone());
        for _ in 0..3 {
            client.say_hello(hello("x")).await.unwrap();
        }
        client.say_hello(hello("unavailable")).await.unwrap_err();
        let mut replies = client.lots_of_replies(hello("x")).await.unwrap();
        while replies.get_mut().message().await.unwrap().is_some() {}
        let quiet = client.lots_of_replies(hello("wait")).await.unwrap();
        let (ours, theirs) = (channel.stats(), calls.stats());
        assert_eq!((ours.started, ours.open, ours.failed), (6, 1, 0));
        assert_eq!((theirs.started, theirs.open), (6, 1));
        let expected = [(Code::Ok, 4), (Code::Unavailable, 1)];
        assert_eq!(counts(&ours.codes), expected);
        assert_eq!(counts(&theirs.codes), expected);

        // A stream that is dropped before its end, and a call that is late.
        drop(quiet);
        let mut late = Request::new(hello("wait"));
        late.set_timeout(SECOND);
        client.say_hello(late).await.unwrap_err();
        sleep(SECOND).await;
        let (ours, theirs) = (channel.stats(), calls.stats());
        assert_eq!((ours.open, theirs.open), (0, 0));
        assert_eq!(ours.codes.get(Code::Cancelled), 1);
        assert_eq!(ours.codes.get(Code::DeadlineExceeded), 1);
        assert_eq!(theirs.codes.get(Code::Cancelled), 2);
        assert_eq!((ours.codes.total(), theirs.codes.total()), (7, 7));
    }
}

#[tokio::test(start_paused = true)]
async fn duration_counts_from_the_beginning_to_the_end() {
    let network = Network::new(Link::LAN);
    let (channel, calls) = counted(&network, &Setup::plaintext(), false).await;
    let mut client = GreeterClient::new(channel.clone());
    let open = client.lots_of_replies(hello("wait")).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(channel.stats().duration, Duration::ZERO);
    drop(open);
    sleep(SECOND).await;
    for duration in [channel.stats().duration, calls.stats().duration] {
        let expected = 10 * SECOND..10 * SECOND + Duration::from_millis(500);
        assert!(expected.contains(&duration), "{duration:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_on_a_lost_connection_count_as_failed_and_by_the_code_that_the_caller_gets() {
    let network = Network::new(Link::LAN);
    let (channel, calls) = counted(&network, &Setup::impatient(), false).await;
    let mut client = GreeterClient::new(channel.clone());
    let mut quiet = client.lots_of_replies(hello("wait")).await.unwrap();
    quiet.get_mut().message().await.unwrap();
    network.cut();
    let status = timeout(10 * SECOND, quiet.get_mut().message()).await;
    assert_eq!(status.unwrap().unwrap_err().code(), Code::Unavailable);
    let stats = channel.stats();
    assert_eq!((stats.open, stats.failed), (0, 1));
    assert_eq!(counts(&stats.codes), [(Code::Unavailable, 1)]);
    sleep(10 * SECOND).await;
    assert_eq!(counts(&calls.stats().codes), [(Code::Cancelled, 1)]);
}
