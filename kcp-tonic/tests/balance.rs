//! Channels over several servers.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use http::HeaderName;
use kcp_tonic::balance::{Change, Endpoint, Key, Selection};
use kcp_tonic::kcp_transport::net::{Path, Received};
use kcp_tonic::kcp_transport::packet::SegmentRun;
use kcp_tonic::{ChannelError, KcpChannel, Transport};
use support::helloworld::greeter_client::GreeterClient;
use support::network::{Host, Link, Network};
use support::{Hello, Setup, hello, serve};
use tokio::sync::mpsc;
use tonic::{Code, Request, Status};

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Servers by these names, and their addresses.
async fn servers(setup: &Setup) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for name in NAMES {
        addresses.push(setup.serve(Hello::named(name)).await);
    }
    addresses
}

fn uri(addr: &SocketAddr) -> String {
    format!("kcp://{addr}")
}

async fn answering_server(client: &mut GreeterClient<KcpChannel>) -> Result<String, Status> {
    let reply = client.say_hello(hello("server name")).await?;
    Ok(reply.into_inner().message)
}

/// How often each server answered.
async fn counts(client: &mut GreeterClient<KcpChannel>, calls: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..calls {
        *counts
            .entry(answering_server(client).await.unwrap())
            .or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn calls_take_turns_over_a_list() {
    let setup = Setup::sealed();
    let servers = servers(&setup).await;
    let channel = setup.connecting().connect_list(servers.iter().map(uri));
    let channel = channel.unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let counts = counts(&mut client, 30).await;
    assert_eq!(counts, NAMES.map(|name| (name.to_owned(), 10)).into());
    assert_eq!(channel.endpoints().len(), 3);
    assert_eq!(channel.connections().len(), 3);
    assert_eq!(channel.stats().started, 30);
    assert_eq!(channel.stats().open, 0);
}

#[tokio::test]
async fn weights_count() {
    let setup = Setup::plaintext();
    let servers = servers(&setup).await;
    let weighted = |(addr, weight)| Endpoint::parse(uri(addr)).unwrap().weight(weight);
    let list = servers.iter().zip([3, 0, 1]).map(weighted);
    let connecting = setup.connecting();
    let connecting = connecting.selection(Selection::WeightedRoundRobin);
    let mut client = GreeterClient::new(connecting.connect_list(list).unwrap());
    let counts = counts(&mut client, 40).await;
    let expected = [("one".to_owned(), 30), ("three".to_owned(), 10)];
    assert_eq!(counts, expected.into());
}

#[tokio::test]
async fn changes_of_the_set_are_followed_and_streams_of_removed_servers_go_on() {
    let setup = Setup::plaintext();
    let servers = servers(&setup).await;
    let (changes, mut changed) = mpsc::unbounded_channel::<Result<_, Infallible>>();
    let discover = stream::poll_fn(move |cx| changed.poll_recv(cx));
    let channel = setup.connecting().connect_discover(discover);
    let mut client = GreeterClient::new(channel.clone());
    let insert = |at: usize| {
        let endpoint = Endpoint::parse(uri(&servers[at])).unwrap();
        changes.send(Ok(Change::Insert(at, endpoint))).unwrap();
    };
    insert(0);
    assert_eq!(answering_server(&mut client).await.unwrap(), "one");
    let replies = client.lots_of_replies(hello("x")).await.unwrap();
    let mut replies = replies.into_inner();
    replies.next().await.unwrap().unwrap();

    insert(1);
    changes.send(Ok(Change::Remove(0))).unwrap();
    let changed = |channel: &KcpChannel| {
        let endpoints = channel.endpoints();
        endpoints.len() == 1 && *endpoints[0].uri() == *uri(&servers[1])
    };
    while !changed(&channel) {
        tokio::task::yield_now().await;
    }
    assert_eq!(counts(&mut client, 3).await.len(), 1);
    assert_eq!(channel.connections().len(), 2);
    assert_eq!(replies.count().await, 9_999);

    changes.send(Ok(Change::Remove(1))).unwrap();
    while !channel.endpoints().is_empty() {
        tokio::task::yield_now().await;
    }
    let status = answering_server(&mut client).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "the set of endpoints is empty");
}

#[tokio::test]
async fn streams_count_as_in_flight_until_they_end() {
    let setup = Setup::plaintext();
    let servers = servers(&setup).await;
    let connecting = setup.connecting().selection(Selection::LeastInFlight);
    let channel = connecting.connect_list(servers[..2].iter().map(uri));
    let mut client = GreeterClient::new(channel.unwrap());
    let replies = client.lots_of_replies(hello("wait")).await.unwrap();
    let mut replies = replies.into_inner();
    replies.next().await.unwrap().unwrap();
    let busy = counts(&mut client, 10).await;
    assert_eq!(busy, [("two".to_owned(), 10)].into());
    drop(replies);
    let idle = counts(&mut client, 10).await;
    assert_eq!(idle, [("one".to_owned(), 5), ("two".to_owned(), 5)].into());
}

#[tokio::test]
async fn key_of_the_metadata_or_the_extensions_selects_the_server() {
    let setup = Setup::plaintext();
    let servers = servers(&setup).await;
    let connecting = setup
        .connecting()
        .selection(Selection::consistent_hash())
        .selection_key(HeaderName::from_static("user"));
    let channel = connecting.connect_list(servers.iter().map(uri)).unwrap();
    let mut client = GreeterClient::new(channel);
    let mut used = BTreeMap::new();
    for user in (0..30).map(|it| format!("user-{it}")) {
        let mut request = Request::new(hello("server name"));
        request.metadata_mut().insert("user", user.parse().unwrap());
        let by_metadata = client.say_hello(request).await.unwrap().into_inner();
        let mut request = Request::new(hello("server name"));
        request.extensions_mut().insert(Key::of(&user));
        let by_extension = client.say_hello(request).await.unwrap().into_inner();
        assert_eq!(by_metadata, by_extension);
        used.insert(by_metadata.message, ());
    }
    assert_eq!(used.len(), 3);
    let status = answering_server(&mut client).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn more_connections_are_made_when_one_is_full() {
    let setup = Setup::plaintext();
    let greeter = Hello::default();
    let addr = setup.serve(greeter.clone()).await;
    let connecting = setup
        .connecting()
        .calls_per_connection(2)
        .connections_per_endpoint(3);
    let channel = connecting.connect_list([uri(&addr)]).unwrap();
    let client = GreeterClient::new(channel.clone());
    let mut calls = Vec::new();
    for call in 0..10 {
        let mut client = client.clone();
        calls.push(tokio::spawn(async move {
            client.say_hello(hello("wait")).await
        }));
        greeter.waiting.notified().await;
        assert_eq!(channel.connections().len(), (call / 2 + 1).min(3));
    }
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A host whose processor takes long for each datagram, but for no other task.
#[derive(Debug)]
struct Slow(Arc<Host>);

impl Transport for Slow {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_recv_ready(cx)
    }

    fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send_ready(cx)
    }

    fn try_recv(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        received: &mut [Received],
    ) -> io::Result<usize> {
        let filled = self.0.try_recv(buffers, received)?;
        std::thread::sleep(Duration::from_millis(1));
        Ok(filled)
    }

    fn try_send(&self, path: Path, run: SegmentRun<'_>) -> io::Result<()> {
        self.0.try_send(path, run)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn another_connection_is_made_where_the_packets_of_one_take_a_whole_core() {
    let (setup, network) = (Setup::plaintext(), Network::new(Link::LAN));
    let host = network.host();
    let addr = host.addr();
    tokio::spawn(serve(setup.incoming_on(host), Hello::default()));
    let slow = move |_| Ok(Arc::new(Slow(network.host())) as Arc<dyn Transport>);
    let connecting = setup.connecting().connector(|it| it.transport(slow));
    let channel = connecting.connect_list([uri(&addr)]).unwrap();
    let mut client = GreeterClient::new(channel.clone());
    let flood = client.lots_of_replies(hello("flood")).await.unwrap();
    let mut flood = flood.into_inner();
    let reading = tokio::spawn(async move { while let Ok(Some(_)) = flood.message().await {} });
    let calling = async {
        while channel.connections().len() < 2 {
            answering_server(&mut client).await.unwrap();
        }
    };
    let made = tokio::time::timeout(Duration::from_secs(30), calling).await;
    made.expect("another connection");
    reading.abort();
}

#[tokio::test]
async fn lists_that_can_never_work_are_errors() {
    let list = |list: &[&str]| {
        let error = Setup::plaintext().connecting().connect_list(list.to_vec());
        error.unwrap_err()
    };
    assert_eq!(list(&[]).to_string(), "the list of endpoints is empty");
    assert!(matches!(list(&["kcp://not a uri"]), ChannelError::Uri(_)));
    for (bad, problem) in [
        (
            "kcps://a.example:9",
            "requires TLS, but TLS is not configured",
        ),
        ("kcp://a.example", "the URI has no port"),
        ("ws://a.example:9", "unsupported scheme"),
    ] {
        let error = list(&["kcp://b.example:9", bad]);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(problem), "{error}: {cause}");
    }
}

#[tokio::test]
async fn calls_to_all_servers_have_all_answers_one_answer_or_the_errors() {
    let setup = Setup::plaintext();
    let stuck = Hello {
        stuck: true,
        ..Hello::default()
    };
    let mut addresses = servers(&setup).await;
    let channel = setup.connecting().connect_list(addresses.iter().map(uri));
    let channel = channel.unwrap();
    let say = |name: &'static str| {
        move |one| async move { GreeterClient::new(one).say_hello(hello(name)).await }
    };
    let mut answers = Vec::new();
    for receipt in channel.broadcast(say("server name")).await.unwrap() {
        let at = addresses
            .iter()
            .position(|it| *receipt.endpoint.uri() == *uri(it));
        answers.push((at.unwrap(), receipt.result.into_inner().message));
    }
    answers.sort();
    let expected = NAMES.iter().map(|name| (*name).to_owned()).enumerate();
    assert_eq!(answers, expected.collect::<Vec<_>>());
    let status: Status = channel
        .broadcast(say("unavailable"))
        .await
        .unwrap_err()
        .into();
    assert_eq!(status.code(), Code::Unavailable);
    let receipts = channel.inform(say("unavailable")).await.unwrap();
    assert_eq!(receipts.iter().filter(|it| it.result.is_err()).count(), 3);

    addresses[1] = setup.serve(stuck.clone()).await;
    let list = addresses[..2].iter().map(uri);
    let channel = setup.connecting().connect_list(list).unwrap();
    let first = channel.fork(say("server name")).await.unwrap();
    assert_eq!(first.result.into_inner().message, "one");
    assert_eq!(channel.stats().open, 0);

    let nothing = stream::empty::<Result<Change<u8, Endpoint>, Infallible>>();
    let channel = setup.connecting().connect_discover(nothing);
    let status: Status = channel.fork(say("server name")).await.unwrap_err().into();
    assert_eq!(status.message(), "the set of endpoints is empty");
}

#[tokio::test]
async fn servers_can_be_filtered_out_of_the_changes() {
    let setup = Setup::plaintext();
    let servers = servers(&setup).await;
    let changes = servers.into_iter().enumerate().map(|(key, addr)| {
        let zone = if key == 1 { "test" } else { "live" };
        let endpoint = Endpoint::parse(uri(&addr)).unwrap().zone(zone);
        Ok::<_, Infallible>(Change::Insert(key, endpoint))
    });
    let live = stream::iter(changes).filter(|change| {
        let is_live = match change {
            Ok(Change::Insert(_, endpoint)) => endpoint.get_zone() == Some("live"),
            Ok(Change::Remove(_)) | Err(_) => true,
        };
        std::future::ready(is_live)
    });
    let channel = setup.connecting().connect_discover(live);
    let mut client = GreeterClient::new(channel);
    let counts = counts(&mut client, 10).await;
    let expected = [("one", 5), ("three", 5)];
    assert_eq!(
        counts,
        expected.map(|(name, n)| (name.to_owned(), n)).into()
    );
}
